"""What must hold of a table whatever happened to the programs that change it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType

from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from tests.proofs.jobs import STREAM, stream_count
from tests.proofs.operations import Rows, rows_of
from tests.tables.factories import START


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a user sees of a table, by which the states before and after a job are told apart."""

    rows: Rows
    columns: tuple[str, ...]
    offsets: Mapping[str, int]
    tables: tuple[str, ...]
    refs: Mapping[str, str]  # the kind of each tag and branch
    files: int

    @property
    def seen(self) -> tuple[object, ...]:
        """What must never be seen half done; refs and files may be, by jobs of several commits."""
        return self.rows, self.columns, self.offsets, self.tables


def facts_of(table: LakeTable) -> Facts:
    """Read the facts."""
    version = table.head()
    refs = table.iceberg().metadata.refs
    return Facts(
        rows=rows_of(table),
        columns=tuple(version.schema.names),
        offsets=operations.offsets(version, STREAM),
        refs={
            "lease" if "lease" in name else name: ref.snapshot_ref_type.value
            for name, ref in refs.items()
        },
        files=len(version.files()),
        tables=tuple(str(name) for name in table.lake.names()),
    )


def check(table: LakeTable, *, since: int) -> Facts:
    """Check that a table is whole, and return what it says.

    Every file that some snapshot names is there with its recorded size; stock pyiceberg reads the
    same rows; offsets and rows agree; what changed since snapshot `since` is known; every tag and
    branch can be read.
    """
    facts = facts_of(table)
    assert stream_count(facts.rows) == facts.offsets.get("a", 0)
    loaded = table.iceberg()
    check_files(loaded.metadata, loaded.io)
    assert stock_rows(table.lake.settings, str(table.name)) == facts.rows
    changes(table, since=since)
    for name, ref in loaded.metadata.refs.items():
        kind = {"tag": name} if ref.snapshot_ref_type == SnapshotRefType.TAG else {"branch": name}
        table.at(**kind).to_arrow(columns=["id"])  # pyright: ignore[reportArgumentType]
    return facts


def check_files(metadata: TableMetadata, io: FileIO) -> None:
    """Check that everything the snapshots name is there, as long as it was said to be."""
    # snapshots share most of their manifests
    listed = {each for snapshot in metadata.snapshots for each in snapshot.manifests(io)}
    for manifest in listed:
        assert size_of(manifest.manifest_path, io) == manifest.manifest_length
        for entry in manifest.fetch_manifest_entry(io):
            file = entry.data_file
            assert size_of(file.file_path, io) == file.file_size_in_bytes


def size_of(location: str, io: FileIO) -> int:
    """Return the size of a file that must be there."""
    if location.startswith("s3://"):
        return len(io.new_input(location))
    return Path(local_path(location)).stat().st_size


def stock_rows(settings: Settings, name: str) -> Rows:
    """Read a table as a program without headrace does."""
    store = {} if settings.s3 is None else settings.s3.file_io()
    store.pop("py-io-impl", None)  # of headrace
    catalog = SqlCatalog(
        "lake", uri=settings.catalog_uri, warehouse=settings.warehouse_uri, **store
    )
    try:
        read = catalog.load_table(name).scan(selected_fields=("id", "name", "event_time"))
        rows = read.to_arrow().to_pylist()
    finally:
        catalog.close()
    return {row["id"]: (row["name"], (row["event_time"] - START).days) for row in rows}


def engine_rows(table: LakeTable) -> Rows:
    """Read a table through DuckDB's Iceberg reader."""
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("t", table.head())
        read = engine.query("select id, name, event_time from t").read_all().to_pylist()
    found = {row["id"]: (row["name"], (row["event_time"] - START).days) for row in read}
    assert len(found) == len(read)
    return found
