"""The lake as people use it from Python: tables and published dataset versions in one handle."""

from typing import TYPE_CHECKING

from headrace.datasets.versions import load_dataset
from headrace.tables.lake import Lake as TableLake

if TYPE_CHECKING:
    from headrace.datasets.versions import Dataset


class Lake(TableLake):
    """One lakehouse. `Lake.open()` finds it the way the command line does."""

    def dataset(self, name: str, *, version: int | None = None) -> "Dataset":
        """Open a published version, by default the newest, ready for `SampleLoader`.

        Checks that its snapshot is alive and its file plan complete; `headrace datasets verify`
        reads every row.

        Raises:
            DatasetNotFoundError: Listing what is published.
            DatasetChangedError: If what it pins is no longer what was locked.

        """
        return load_dataset(self, name, version)
