"""The lake as people use it from Python: tables and published dataset versions in one handle."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headrace.datasets.versions import load_dataset
from headrace.definitions.load import declared_as, load_sample_sets, load_streams
from headrace.rows import Rows
from headrace.tables.declare import declare_table
from headrace.tables.lake import OpenLake

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.datasets.publish import Publication
    from headrace.datasets.versions import Dataset
    from headrace.identifiers import TableName
    from headrace.ingest.status import IngestResult
    from headrace.samples.build import BuildResult
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

    def read(
        self,
        name: "TableName | str",
        *,
        columns: Sequence[str] | None = None,
        at: "int | str | dt.datetime | None" = None,
    ) -> Rows:
        """Read a table into memory, with times in UTC.

        The rows are in Arrow; `to_pandas`, `to_polars` and `to_duckdb` of the result hand them on.

        Args:
            name: As in `samples.feed`.
            columns: Those to read; all by default.
            at: The newest snapshot by default; else a snapshot id, a tag, or a time.

        Raises:
            TableNotFoundError: If there is no such table.
            SnapshotNotFoundError: If there is no such snapshot, or it has expired.
            ValueError: If it has no such column, or the time has no zone.

        """
        table = self.table(name)
        if at is None:
            version = table.head()
        elif isinstance(at, int):
            version = table.at(snapshot_id=at)
        else:
            version = table.at(tag=at) if isinstance(at, str) else table.at(time=at)
        return Rows(version.to_arrow(columns=columns))

    def ingest(self, stream: str) -> "IngestResult":
        """Take everything new of a declared stream; see `headrace.ingest.run.ingest`.

        Raises:
            DefinitionError: If no such stream is declared, or a declaration is broken.
            LakeError: See there.

        """
        from headrace.ingest.run import ingest

        return ingest(self, declared_as(stream, load_streams(self.settings), what="stream"))

    def build(self, sample_set: str) -> "BuildResult":
        """Bring the samples of a declared set up to date; see `headrace.samples.build.build`.

        Raises:
            DefinitionError: If no such sample set is declared, or a declaration is broken.
            LakeError: See there.

        """
        from headrace.samples.build import build

        declared = load_sample_sets(self.settings)
        return build(self, declared_as(sample_set, declared, what="sample set"))

    def publish(self, sample_set: str, *, allow_pending: bool = False) -> "Publication":
        """Publish the samples of a declared set as a version; see `headrace.datasets.publish.publish`.

        Raises:
            DefinitionError: If no such sample set is declared, or a declaration is broken.
            LakeError: See there.

        """
        from headrace.datasets.publish import publish

        declared = declared_as(sample_set, load_sample_sets(self.settings), what="sample set")
        return publish(self, declared, allow_pending=allow_pending)

    def dataset(self, name: str, *, version: int | None = None) -> "Dataset":
        """Open a published version, by default the newest, ready for `SampleLoader`.

        Checks that its snapshot is alive and its file plan complete; `headrace datasets verify`
        reads every row.

        Raises:
            DatasetNotFoundError: Listing what is published.
            DatasetChangedError: If what it pins is no longer what was locked.

        """
        return load_dataset(self, name, version)


def build(sample_set: str, *, lake: Lake | None = None) -> "BuildResult":
    """Bring the samples of a declared set up to date, as `Lake.build`.

    Args:
        sample_set: Its name.
        lake: The one that the command line would take by default.

    Raises:
        LakeError: See `Lake.open` and `Lake.build`.

    """
    if lake is not None:
        return lake.build(sample_set)
    with Lake.open() as opened:
        return opened.build(sample_set)


def publish(
    sample_set: str, *, allow_pending: bool = False, lake: Lake | None = None
) -> "Publication":
    """Publish the samples of a declared set as a version, as `Lake.publish`.

    Args:
        sample_set: Its name.
        allow_pending: Whether days whose labels may still change are taken too.
        lake: The one that the command line would take by default.

    Raises:
        LakeError: See `Lake.open` and `Lake.publish`.

    """
    if lake is not None:
        return lake.publish(sample_set, allow_pending=allow_pending)
    with Lake.open() as opened:
        return opened.publish(sample_set, allow_pending=allow_pending)
