"""Replays dead letters under the current contract, and drops them: each exactly once.

A replay changes two tables, so it is three commits: the rows with a property that says a replay is
open; the removal of their letters; the property again. Whoever comes after a crash closes the open replay
first: letters whose coordinates the table has are removed. The property also counts replays, and a
commit of rows is refused if the count moved since the letters were read.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from headrace.config import Settings
from headrace.crash_points import crash_point
from headrace.definitions.properties import REPLAY_PREFIX
from headrace.definitions.stream import COORDINATES, Stream
from headrace.dml.copy_on_write import until_it_lands
from headrace.engines.open import open_engine
from headrace.errors import CommitConflictError, ConflictReason
from headrace.identifiers import quote_text
from headrace.ingest import letters, watermark
from headrace.ingest.contract import check
from headrace.ingest.coordinates import with_coordinates
from headrace.ingest.decoding.decode import decode
from headrace.ingest.field_use import FieldUse
from headrace.ingest.letter_removal import provenance_of, remove, taken_by
from headrace.ingest.letters import EVERY, Choice, Coordinates
from headrace.ingest.parts import Part, lateness_note
from headrace.ingest.sources.base import Position, SourcePartition
from headrace.ingest.sources.open import schemas_of
from headrace.ingest.stream_tables import known_schemas, open_tables
from headrace.tables.commits.operations import append, move_properties
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion
from headrace.tables.writer import TableWriter

ROWS_PER_COMMIT = 100_000


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What a replay did.

    Args:
        stream: The stream.
        rows: How many letters became rows.
        refused: How many stay, by the reason.
        commits: How many commits it made.
        undeclared_fields: Fields of the letters that the contract does not declare.
        absent_fields: Declared fields that no letter has.

    """

    stream: str
    rows: int
    refused: Mapping[str, int]
    commits: int
    undeclared_fields: tuple[str, ...]
    absent_fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Replays:
    """What a stream's table says of replays: how many were begun, and whether the last one is open."""

    begun: int = 0
    is_open: bool = False

    @classmethod
    def read(cls, properties: Mapping[str, str], stream: Stream) -> "_Replays":
        told = json.loads(properties.get(REPLAY_PREFIX + stream.name, "{}"))
        return cls(begun=told.get("begun", 0), is_open=told.get("open", False))

    def note(self, stream: Stream) -> dict[str, str]:
        text = json.dumps({"begun": self.begun, "open": self.is_open})
        return {REPLAY_PREFIX + stream.name: text}


def begun_anew(properties: Mapping[str, str], stream: Stream) -> dict[str, str]:
    """Count one more replay as begun and ended: one that is at work is refused then."""
    return _Replays(begun=_Replays.read(properties, stream).begun + 1).note(stream)


@dataclass(kw_only=True)
class _Chunk:
    """Rows of one commit, and what is counted of them."""

    settings: Settings
    writer: TableWriter
    part: Part
    taken: set[Coordinates] = field(default_factory=set[Coordinates])
    use: FieldUse = field(default_factory=FieldUse.none)


def is_open(properties: Mapping[str, str], stream: Stream) -> bool:
    """Whether a replay was begun whose letters may still be there: they are rows too."""
    return _Replays.read(properties, stream).is_open


def replay(
    lake: OpenLake, stream: Stream, *, choice: Choice = EVERY, run_id: str | None = None
) -> Replayed:
    """Take dead letters again under the current contract; those that it accepts become rows.

    A row is the one that direct ingestion would have given, with the coordinates and the source time
    of the record; `known_at: ingested` is the time of the replay, for nobody knew the row before.
    Letters of commits that are not complete are left to the next run. Safe to kill and to repeat.

    Raises:
        CommitConflictError: If other replays came first at every attempt.
        ContractError: If a table cannot be brought in line with the contract.
        TableNotFoundError: If no record was ever refused.

    """
    letters.head(lake)
    stream, table, dead = open_tables(lake, stream)
    settle(lake, stream)
    run_id = run_id or uuid.uuid4().hex
    refused: dict[str, int] = {}
    rows = commits = 0
    use = FieldUse.none()
    while True:
        chunk = until_it_lands(
            table, lambda _: _one_commit(table, dead, stream, choice, run_id, refused)
        )
        use += chunk.use
        if not chunk.taken:
            return Replayed(
                stream=stream.name,
                rows=rows,
                refused=refused,
                commits=commits,
                undeclared_fields=tuple(use.unknown(stream)),
                absent_fields=use.absent(stream),
            )
        rows, commits = rows + len(chunk.taken), commits + 1


def _one_commit(
    table: LakeTable,
    dead: LakeTable,
    stream: Stream,
    choice: Choice,
    run_id: str,
    refused: dict[str, int],
) -> _Chunk:
    """Move as many letters as fit one commit; return what was taken, nothing at the end."""
    refused.clear()
    head = table.head()
    before = _Replays.read(head.properties, stream)
    if before.is_open:  # another replay, which is at work or was killed
        settle(table.lake, stream)
        detail, reason = "another replay was open", ConflictReason.OTHER_REPLAY
        raise CommitConflictError(str(table.name), detail, reason=reason)
    taken = taken_by(table, head.properties, stream)
    with TableWriter(table) as writer:
        part = Part(end=Position(), known_dead=())
        chunk = _Chunk(settings=table.lake.settings, writer=writer, part=part)
        _fill(chunk, dead.head(), head, stream, choice=choice, is_taken=taken, refused=refused)
        if not chunk.taken:
            return chunk
    now = _Replays(begun=before.begun + 1, is_open=True)

    def guard(base: Table) -> None:
        if _Replays.read(base.properties, stream) != before:
            detail, reason = "another replay came first", ConflictReason.OTHER_REPLAY
            raise CommitConflictError(str(table.name), detail, reason=reason)
        still = taken_by(table, base.properties, stream)
        if not all(still(SourcePartition(*each[:2]), each.offset) for each in chunk.taken):
            detail, reason = "the table was rolled back", ConflictReason.ROLLED_BACK
            raise CommitConflictError(str(table.name), detail, reason=reason)

    try:
        append(
            table,
            writer.files,
            provenance=provenance_of(stream, run_id=run_id, notes=lateness_note([chunk.part])),
            properties=now.note(stream),
            guard=guard,
        )
    except CommitConflictError:
        writer.discard()
        raise
    crash_point("replay.after_rows")
    remove(dead, stream, chunk.taken, run_id=run_id)
    crash_point("replay.after_letters")
    _close(table, stream, begun=now.begun)
    return chunk


def _fill(
    chunk: _Chunk,
    dead: TableVersion,
    head: TableVersion,
    stream: Stream,
    *,
    choice: Choice,
    is_taken: Callable[[SourcePartition, int], bool],
    refused: dict[str, int],
) -> None:
    not_after = datetime.now(UTC) + stream.allowed_clock_skew
    reached_us = watermark.read(head.properties)
    schemas = schemas_of(stream, chunk.settings)
    if schemas is not None:
        schemas.expect(known_schemas(stream, head.properties))
    for kept in letters.records(dead, stream, choice=choice, is_taken=is_taken):
        records = replace(kept, schemas=schemas)
        decoded = decode(records, stream)
        chunk.use += FieldUse.of(records, decoded, stream)
        checked = check(decoded, stream, not_after=not_after)
        for violation in checked.violations.values():
            refused[violation.code] = refused.get(violation.code, 0) + 1
        if len(checked.index):
            rows = with_coordinates(checked, records, stream)
            for each in rows.combine_chunks().to_batches():
                chunk.writer.write(each)
            chunk.part.note_times(rows, reached_us=reached_us)
            offsets = records.offsets[checked.index].tolist()
            chunk.taken.update(Coordinates(*records.partition, offset) for offset in offsets)
        if len(chunk.taken) >= ROWS_PER_COMMIT:
            return


def settle(lake: OpenLake, stream: Stream) -> int:
    """Close a replay that was killed: remove the letters that are rows; return how many. Idempotent.

    Beside a replay that is still at work it does what that is about to do.
    """
    if not lake.exists(stream.table):
        return 0
    table = lake.table(stream.table)
    found = _Replays.read(table.head().properties, stream)
    if not found.is_open:
        return 0
    doubled = _letters_that_are_rows(lake, stream)
    if doubled:
        remove(letters.dead_table(lake), stream, doubled, run_id="settle")
    _close(table, stream, begun=found.begun)
    return len(doubled)


def _close(table: LakeTable, stream: Stream, *, begun: int) -> None:
    def changes_of(metadata: TableMetadata) -> Mapping[str, str | None]:
        found = _Replays.read(metadata.properties, stream)
        if found != _Replays(begun=begun, is_open=True):
            return {}
        return _Replays(begun=begun, is_open=False).note(stream)

    move_properties(table, changes_of)


def _letters_that_are_rows(lake: OpenLake, stream: Stream) -> set[Coordinates]:
    source, partition, offset = COORDINATES.names[:3]
    columns = ", ".join(f"d.{name}" for name in (source, partition, offset))
    same = " and ".join(f"d.{name} = r.{name}" for name in (source, partition, offset))
    with open_engine(lake.settings) as engine:
        engine.bind("ingested", lake.table(stream.table).head())
        engine.bind("refused", letters.head(lake))
        found = engine.query(
            f"select distinct {columns} from refused as d inner join ingested as r on {same} "
            f"where d.stream = {quote_text(stream.name)}"
        ).read_all()
    return {Coordinates(*row.values()) for row in found.to_pylist()}
