"""The lake as people use it from Python: tables and published dataset versions in one handle."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headrace.datasets.versions import load_dataset
from headrace.tables.declare import declare_table
from headrace.tables.lake import OpenLake

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.datasets.versions import Dataset
    from headrace.identifiers import TableName
    from headrace.tables.lake import LakeTable


class Lake(OpenLake):
    """One lakehouse. `Lake.open()` finds it the way the command line does."""

    def create(
        self,
        name: "TableName",
        schema: "pa.Schema",
        *,
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        defaults: Mapping[str, str] | None = None,
    ) -> "LakeTable":
        """Create a table, or bring an existing one in line; idempotent.

        An existing table gains new optional columns, wider types and changed properties; of
        `defaults` only the properties that it does not have.

        Raises:
            ContractError: If the change is not additive or widening; nothing is changed then.
            LakeError: See `declare_table`.

        """
        return declare_table(
            self,
            name,
            schema,
            partition_by=partition_by,
            properties=properties,
            defaults=defaults,
        )

    def dataset(self, name: str, *, version: int | None = None) -> "Dataset":
        """Open a published version, by default the newest, ready for `SampleLoader`.

        Checks that its snapshot is alive and its file plan complete; `headrace datasets verify`
        reads every row.

        Raises:
            DatasetNotFoundError: Listing what is published.
            DatasetChangedError: If what it pins is no longer what was locked.

        """
        return load_dataset(self, name, version)
