"""Removes dead letters by the coordinates of their records, and tells which may be removed."""

from collections.abc import Callable, Collection, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from headrace.definitions.properties import CONTRACT_VERSION, STREAM_PROPERTY
from headrace.definitions.stream import COORDINATES, Stream
from headrace.dml.copy_on_write import rewrite, until_it_lands, wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.ingest.letters import Coordinates
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import Position, SourcePartition
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry, TableVersion


def taken_by(
    table: LakeTable, properties: Mapping[str, str], stream: Stream
) -> Callable[[SourcePartition, int], bool]:
    """Return a test whether the table is beyond an offset: only then is its letter complete."""
    positions = Positions.read(table, properties, stream=stream.name)
    known: dict[SourcePartition, int] = {}

    def is_taken(partition: SourcePartition, offset: int) -> bool:
        if partition not in known:
            found = positions.of([partition]).get(partition, Position())
            known[partition] = found.offset
        return offset < known[partition]

    return is_taken


def provenance_of(
    stream: Stream, *, run_id: str, notes: Mapping[str, str] | None = None
) -> Provenance:
    """Return what commits on behalf of a stream say of themselves."""
    said = {STREAM_PROPERTY: stream.name, CONTRACT_VERSION: str(stream.version)}
    return Provenance(code=stream.definition_hash(), run_id=run_id, notes=said | dict(notes or {}))


def remove(dead: LakeTable, stream: Stream, gone: Collection[Coordinates], *, run_id: str) -> None:
    """Remove letters by their coordinates; idempotent.

    Raises:
        CommitConflictError: If other commits rewrote the letters at every attempt.

    """
    until_it_lands(dead, lambda _: remove_from(dead, dead.head(), stream, gone, run_id=run_id))


def remove_from(
    dead: LakeTable,
    version: TableVersion,
    stream: Stream,
    gone: Collection[Coordinates],
    *,
    run_id: str,
    properties: Mapping[str, str] | None = None,
    guard: Callable[[Table], None] | None = None,
) -> bool:
    """Remove letters that a version has, and set properties, in one commit; False if it has none.

    Raises:
        CommitConflictError: If another commit rewrote the letters since; nothing was changed.

    """
    files = [
        entry
        for entry in version.files(partitions=[(stream.name,)])
        if any(_mask(batch, gone).true_count for batch in _coordinates(version, entry))
    ]
    if not files:
        return False

    def kept(entry: FileEntry) -> Iterator[pa.RecordBatch]:
        for batch in live_rows(version, entry, wanted_columns(version)):
            yield batch.filter(pc.invert(_mask(batch, gone)))

    rewrite(
        dead,
        version,
        files=files,
        kept_rows=kept,
        provenance=provenance_of(stream, run_id=run_id),
        properties=properties,
        guard=guard,
    )
    return True


def _coordinates(version: TableVersion, entry: FileEntry) -> Iterator[pa.RecordBatch]:
    return live_rows(version, entry, wanted_columns(version, COORDINATES.names[:3]))


def _mask(batch: pa.RecordBatch, wanted: Collection[Coordinates]) -> pa.Array:
    columns = (batch.column(name).to_pylist() for name in COORDINATES.names[:3])
    return pa.array([each in wanted for each in zip(*columns, strict=True)], pa.bool_())
