"""Leaves a file of a stream out, or takes it again from its beginning: rows, dead letters and position.

A retry is like a reset, of one file: a property that says it is open; the rows and the position, in one
commit that is refused if an ingester moved the offsets; the dead letters; the property again. In between
nothing is ingested, so that the file's records are each there once.
"""

import difflib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import EqualTo, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.table.metadata import TableMetadata

from headrace.crash_points import crash_point
from headrace.definitions.properties import ABSENT_PREFIX, RETRY_PREFIX, SKIPPED_PREFIX
from headrace.definitions.sources import FileSource
from headrace.definitions.stream import COORDINATES, Stream
from headrace.dml.condition import Condition
from headrace.dml.copy_on_write import rewrite, until_it_lands, wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    FencedError,
    NoSuchSourceFileError,
    RetryUnfinishedError,
    UnknownSourceError,
    WholeSnapshotRetryError,
)
from headrace.ingest import dead_letters
from headrace.ingest.absent import Absent
from headrace.ingest.letter_removal import provenance_of
from headrace.ingest.owner import OwnerGuard, begun_again, refuse_other
from headrace.ingest.positions import Positions, skipped_files
from headrace.ingest.replay import begun_anew
from headrace.ingest.sources.base import Position, SourcePartition
from headrace.ingest.sources.open import open_source
from headrace.ingest.status import status
from headrace.ingest.stream_tables import open_tables
from headrace.tables.commits.kept_rows import refuse_removal
from headrace.tables.commits.operations import Fence, move_properties, start_over
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import FileEntry, TableVersion

_SOURCE = COORDINATES.names[0]


@dataclass(frozen=True, kw_only=True)
class FilePlan:
    """What a table has of one file: rows, dead letters, and how many records were taken."""

    stream: str
    file: str
    rows: int
    dead_letters: int
    records: int
    is_skipped: bool
    is_unfinished: bool


def plan_file(lake: OpenLake, stream: Stream, file: str) -> FilePlan:
    """Count what was taken of a file; changes nothing.

    Raises:
        UnknownSourceError: If the stream reads no files.
        NoSuchSourceFileError: If there is no such file, and nothing was taken of it.
        StreamOwnedError: If Flink writes the stream.

    """
    if not isinstance(stream.source, FileSource):
        raise UnknownSourceError(stream.name, kind=type(stream.source).__name__)
    partition = SourcePartition(file)
    if not lake.exists(stream.table):
        _refuse_unknown(lake, stream, file, taken={})
        return FilePlan(
            stream=stream.name,
            file=file,
            rows=0,
            dead_letters=0,
            records=0,
            is_skipped=False,
            is_unfinished=False,
        )
    table = lake.table(stream.table)
    head = table.head()
    refuse_other(stream, head.properties)
    positions = Positions.read(table, head.properties, stream=stream.name)
    taken = positions.of([partition]).get(partition)
    if taken is None:
        _refuse_unknown(lake, stream, file, taken=positions.every())
    dead = lake.head_of(dead_letters.TABLE)
    letters = () if dead is None else _holding(dead, file, only=[(stream.name,)])
    return FilePlan(
        stream=stream.name,
        file=file,
        rows=sum(rows for _, rows in _holding(head, file)),
        dead_letters=sum(rows for _, rows in letters),
        records=0 if taken is None else taken.offset,
        is_skipped=file in positions.skipped,
        is_unfinished=head.properties.get(RETRY_PREFIX + stream.name) == file,
    )


def apply_skip(lake: OpenLake, stream: Stream, file: str) -> None:
    """Leave a file out from now on, also if its content changes; what was taken of it stays. Idempotent.

    Raises:
        UnknownSourceError, NoSuchSourceFileError, StreamOwnedError: As `plan_file`.
        ContractError: If the stream's table cannot be brought in line with the contract.
        ResetUnfinishedError, RetryUnfinishedError: If one is not complete.

    """
    plan_file(lake, stream, file)
    _, table, _ = open_tables(lake, stream)
    move_properties(table, lambda found: _skipping(found.properties, stream, add=file))


def apply_retry(lake: OpenLake, stream: Stream, file: str) -> None:
    """Remove what was taken of a file and take its position back; it is no longer left out. Idempotent.

    The next run takes it from its beginning. Safe to kill at any moment and to run again, and beside
    ingesters: what one of them would commit after is refused.

    Raises:
        UnknownSourceError, NoSuchSourceFileError, StreamOwnedError: As `plan_file`.
        WholeSnapshotRetryError: If the file is a whole snapshot that was taken.
        KeyedRowsError: If a job of Flink keeps its rows in a Paimon table too.
        RetryUnfinishedError: If a retry of another file is not complete.
        CommitConflictError: If ingesters were faster at every attempt; run it again.

    """
    refuse_retry(lake, stream, plan_file(lake, stream, file))
    if not lake.exists(stream.table):
        return
    table, run_id, mark = lake.table(stream.table), uuid.uuid4().hex, RETRY_PREFIX + stream.name

    def marked(found: TableMetadata) -> dict[str, str | None]:
        refuse_other(stream, found.properties)
        refuse_removal(str(table.name), found.properties)
        open_ = found.properties.get(mark, file)
        if open_ != file:
            raise RetryUnfinishedError(stream.name, path=open_)
        return {**begun_again(found.properties, stream), mark: file}

    move_properties(table, marked)
    crash_point("retry.after_mark")
    until_it_lands(table, lambda _: _take_back(table, stream, file, run_id=run_id))
    crash_point("retry.after_rows")
    if lake.exists(dead_letters.TABLE):
        dead = lake.table(dead_letters.TABLE)
        until_it_lands(dead, lambda _: _take_back(dead, stream, file, run_id=run_id, owned=table))
    crash_point("retry.after_letters")

    def unmarked(found: TableMetadata) -> dict[str, str | None]:
        gone: dict[str, str | None] = {mark: None} if mark in found.properties else {}
        return gone | _skipping(found.properties, stream, remove=file)

    move_properties(table, unmarked)


def refuse_retry(lake: OpenLake, stream: Stream, plan: FilePlan) -> None:
    """Refuse to take back what others rest on: whole snapshots on each other, keyed tables on all rows.

    Raises:
        WholeSnapshotRetryError: If the file is a whole snapshot, and was taken.
        KeyedRowsError: If a job of Flink keeps its rows in a Paimon table too.

    """
    head = lake.head_of(stream.table)
    if head is not None:
        refuse_removal(str(stream.table), head.properties)
    if stream.full_snapshot and plan.records:
        raise WholeSnapshotRetryError(stream.name, path=plan.file)


def _take_back(
    table: LakeTable, stream: Stream, file: str, *, run_id: str, owned: LakeTable | None = None
) -> None:
    """Remove the rows of a file and its position, in one commit; `owned` for the dead letters."""
    head, partition = table.head(), SourcePartition(file)
    positions = Positions.read(table, head.properties, stream=stream.name)
    only = None if owned is None else [(stream.name,)]
    files = [entry for entry, _ in _holding(head, file, only=only)]
    if not files and positions.of([partition]).get(partition, Position()) == Position():
        return
    moved = positions.moved({partition: Position()})
    fence = Fence(key=stream.name, expected=positions.offsets(), offsets=moved.offsets())
    said: dict[str, str] = dict(moved.files())
    if owned is None:
        said |= begun_anew(head.properties, stream)
    else:
        absent = Absent.read(head.properties, stream=stream.name).without(partition)
        said |= {ABSENT_PREFIX + stream.name: json.dumps(absent.by_key, sort_keys=True)}
    guard = OwnerGuard(stream) if owned is None else OwnerGuard(stream, table=owned)
    provenance = provenance_of(stream, run_id=run_id)

    def kept(entry: FileEntry) -> Iterator[pa.RecordBatch]:
        for batch in live_rows(head, entry, wanted_columns(head)):
            yield batch.filter(pc.not_equal(batch.column(_SOURCE), file))

    try:
        if files:
            rewrite(
                table,
                head,
                files=files,
                kept_rows=kept,
                provenance=provenance,
                properties=said,
                guard=guard,
                fence=fence,
            )
        else:
            start_over(
                table,
                fence=fence,
                provenance=provenance,
                properties=said,
                partitions=(),
                guard=guard,
            )
    except FencedError as error:  # an ingester was faster: what it committed of the file goes too
        raise CommitConflictError(
            str(table.name), "an ingester moved its offsets", reason=ConflictReason.ROWS_ADDED
        ) from error


def _holding(
    head: TableVersion, file: str, *, only: list[tuple[str]] | None = None
) -> Iterator[tuple[FileEntry, int]]:
    """Yield the data files with rows of a source file, and how many; opens only those that bounds leave."""
    test = Condition(
        EqualTo(term=Reference(_SOURCE), value=literal(file)),
        head.metadata,
        table=str(head.name),
        inspector=head.inspector,
    )
    for entry in head.files(partitions=only):
        if not test.may_match(entry.data_file):
            continue
        if test.must_match(entry.data_file) and not entry.deletes:
            yield entry, entry.rows
            continue
        batches = live_rows(head, entry, wanted_columns(head, [_SOURCE]))
        rows = sum(pc.sum(pc.equal(each.column(0), file)).as_py() or 0 for each in batches)
        if rows:
            yield entry, rows


def _skipping(
    properties: Mapping[str, str], stream: Stream, *, add: str = "", remove: str = ""
) -> dict[str, str | None]:
    before = skipped_files(properties, stream=stream.name)
    after = sorted((before | {add}) - {remove, ""})
    if after == sorted(before):
        return {}
    return {SKIPPED_PREFIX + stream.name: json.dumps(after) if after else None}


def _refuse_unknown(
    lake: OpenLake, stream: Stream, file: str, *, taken: Mapping[SourcePartition, int]
) -> None:
    """Refuse a name that is neither a file of the stream, nor one of which something was taken."""
    source = open_source(stream, lake.settings)
    found = status(lake, stream, source=source)
    names = {*found.sources_waiting, *found.sources_unfinished, *(each.key for each in taken)}
    if file not in names:
        near = difflib.get_close_matches(file, sorted(names), n=1)
        raise NoSuchSourceFileError(stream.name, path=file, near=near[0] if near else None)
