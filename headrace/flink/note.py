"""Takes note of what Flink wrote: positions, holes and the watermark, each proven by the topic itself.

The topic is read again from the recorded positions, undecoded, and each record is looked for among rows and
dead letters. So a position moves only over records that are there, whatever Flink's commits did, and offsets
without a record become holes as they do when headrace reads. Rows are not touched.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from headrace import clock
from headrace.definitions.properties import (
    CONTRACT_VERSION,
    GAPS_PREFIX,
    LATE_ROWS,
    LATE_ROWS_TOTAL,
    STREAM_PROPERTY,
)
from headrace.definitions.stream import Stream
from headrace.errors import OffsetGapError, RecordsMissingError, SourceStalledError
from headrace.flink.deleted import NOTHING, Wanted, without_written
from headrace.flink.limits import source_of
from headrace.flink.starts import refuse_replaced
from headrace.flink.written import Written, written_beyond
from headrace.ingest.absent import Absent, Offsets, with_lost
from headrace.ingest.field_use import FieldUse
from headrace.ingest.owner import Owner, OwnerGuard
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import Position, Reader, Records, Source, SourcePartition
from headrace.ingest.sources.holes import AcceptedGap, Hole
from headrace.ingest.sources.open import open_source
from headrace.ingest.watermark import Watermark
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion

_ROWS_PER_POLL = 100_000
_POLL_S = 1.0
_STALLED_POLLS_MAX = 30


@dataclass(kw_only=True)
class Proven:
    """How far one partition is proven: every record before `end` is there."""

    end: Position
    records: int = 0
    holes: list[Hole] = field(default_factory=list[Hole])
    missing: int | None = None


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What was taken note of.

    Args:
        records: How many records it moved over.
        ends: The next offset of each partition that Flink wrote.
        is_ahead: Whether records were written beyond one that is not.

    """

    records: int
    ends: Mapping[SourcePartition, int]
    is_ahead: bool


def take_note(
    lake: OpenLake,
    stream: Stream,
    *,
    complete: bool,
    accepted: Sequence[AcceptedGap] = (),
    source: Source | None = None,
) -> Noted:
    """Move positions and watermark over what was written since the last note; idempotent.

    Args:
        lake: The lake.
        stream: The contract.
        complete: Refuse records that are missing although later ones are there. While a job runs they
            may be in a commit that is under way, of rows or of dead letters.
        accepted: Lost offsets that the user accepts, of a job that commits nothing more: what it has not
            committed yet of them would be there beside them.
        source: Where records come from; by default what the contract declares.

    Raises:
        RecordsMissingError: See `complete`; nothing was changed.
        OffsetGapError: If the topic deleted what is neither written nor accepted; nothing was changed.
        SourceError: If the topic cannot be read, or no longer has what was not taken note of.
        StreamOwnedError: If the owner changed meanwhile.

    """
    table = lake.table(stream.table)
    head = table.head()
    owner = Owner.read(head.properties, stream=stream.name)
    positions = Positions.read(table, head.properties, stream=stream.name, is_log=True)
    written = written_beyond(lake, stream, head, positions)
    topic = source_of(stream).kafka.topic
    wanted = Wanted(topic=topic, positions=positions, written=written, accepted=tuple(accepted))
    source = source or open_source(stream, lake.settings, accepted=tuple(wanted.passable()))
    try:
        with closing(source.open(positions.of, rows_per_commit=_ROWS_PER_POLL)) as reader:
            refuse_replaced(owner, topic, reader.status().topic_id)
            found, unwritten = _prove(stream, reader, wanted)
            waits = {*reader.active, *unwritten}
    except OffsetGapError as error:
        raise error.of_note(stream.name, first=wanted.first_lacking(error)) from None
    missing = tuple(
        f"{partition.key}:{each.missing}"
        for partition, each in found.items()
        if each.missing is not None and each.missing < wanted.last(partition)
    )
    if missing and complete:
        raise RecordsMissingError(stream.name, ranges=missing)
    ends = {each: proven.end.offset for each, proven in found.items()}
    moved = {each: proven for each, proven in found.items() if proven.end != _at(positions, each)}
    if moved:
        waits |= {each for each, proven in found.items() if proven.missing is not None}
        _commit(table, stream, head, positions, moved, written, active=waits, owner=owner)
    return Noted(
        records=sum(each.records for each in found.values()), ends=ends, is_ahead=bool(missing)
    )


def _at(positions: Positions, partition: SourcePartition) -> Position:
    return positions.open.get(partition, Position())


def _prove(
    stream: Stream, reader: Reader, wanted: Wanted
) -> tuple[dict[SourcePartition, Proven], set[SourcePartition]]:
    """Read the topic until each partition is past its last written or accepted offset, or misses a record.

    Also returns the partitions that have records of which none is written.
    """
    lasts = wanted.lasts()
    found = {each: Proven(end=_at(wanted.positions, each)) for each in lasts}
    unwritten: set[SourcePartition] = set()
    offsets = {each: wanted.written.get(each, NOTHING).offsets for each in lasts}
    quiet = 0
    while not reader.drained and any(
        each.missing is None and each.end.offset <= lasts[partition]
        for partition, each in found.items()
    ):
        batch = reader.poll(_ROWS_PER_POLL, max_s=_POLL_S)
        quiet = 0 if batch is not None else quiet + 1
        if quiet > _STALLED_POLLS_MAX:
            raise SourceStalledError(stream.name, stalled_s=_STALLED_POLLS_MAX * _POLL_S)
        for records in batch.parts if batch is not None else ():
            each = found.get(records.partition)
            if each is None:
                unwritten |= {records.partition} if records.count else set()
            elif each.missing is None:
                _advance(each, records, offsets[records.partition], wanted.accepted)
    return found, unwritten


def _advance(
    proven: Proven, records: Records, written: np.ndarray, accepted: Sequence[AcceptedGap]
) -> None:
    """Move past records that are written; stop at the first that is not."""
    kept = without_written(records, written, accepted)
    proven.records += _length(records.holes) - _length(kept)
    absent = np.flatnonzero(~np.isin(records.offsets, written))
    if not len(absent):
        proven.records += records.count
        proven.end = records.end
        proven.holes += kept
        return
    first = int(records.offsets[absent[0]])
    proven.records += int(absent[0])
    proven.missing = first
    proven.holes += [hole for hole in kept if hole.end <= first]
    taken = int(records.offsets[absent[0] - 1]) + 1 if absent[0] else 0
    passed = (hole.end for hole in records.holes if hole.end <= first)
    end = max(proven.end.offset, taken, *passed)
    if end > proven.end.offset:
        mark = _mark(records, int(absent[0]), proven.end)
        proven.end = Position(end, fingerprint=mark)


def _length(holes: Sequence[Hole]) -> int:
    return sum(each.end - each.first for each in holes)


def _mark(records: Records, taken: int, before: Position) -> str:
    """Return by which a partition is recognized once the first of some records are taken.

    Records that are not written yet follow at nearly every note. Without a mark, a topic that is created
    again would be read on from the old offsets.
    """
    if not records.end.fingerprint or (before.fingerprint and not taken):
        return before.fingerprint
    from headrace.ingest.sources.kafka_start import Mark  # its library is an extra

    last = Mark.of(records.end.fingerprint)
    if last is None:
        return before.fingerprint
    time_us = records.times_of([taken - 1]).cast(pa.int64())[0].as_py() if taken else None
    if time_us is None:
        return last.of_topic().text
    return last.earlier(int(records.offsets[taken - 1]), time_ms=time_us // 1000).text


def _commit(
    table: LakeTable,
    stream: Stream,
    head: TableVersion,
    positions: Positions,
    moved: Mapping[SourcePartition, Proven],
    written: Mapping[SourcePartition, Written],
    *,
    active: set[SourcePartition],
    owner: Owner,
) -> None:
    ends = {each: proven.end for each, proven in moved.items()}
    before = Watermark.read(head.properties)
    newest, late = _times(ends, written, reached_us=before.reached_us)
    reached = before.advanced(
        newest,
        active={*moved, *active},  # as of what headrace takes itself: letters alone hold it too
        now_ms=clock.now_ms(),
        allowed_lateness=stream.allowed_lateness,
        idle_after=stream.idle_after,
    )
    now = positions.moved(ends)
    kept = reached.kept(now.open.keys())
    holes = [(each, hole) for each, proven in moved.items() for hole in proven.holes]
    absent = Absent.read(head.properties, stream=stream.name).plus(
        (each, hole.kind.value, Offsets.between(hole.first, hole.end)) for each, hole in holes
    )
    records = sum(each.records for each in moved.values())
    use = FieldUse(records=records, present=frozenset(stream.fields), undeclared={})
    total = int(head.properties.get(LATE_ROWS_TOTAL, "0")) + late
    said = now.files() | kept.note() | kept.note_times() | absent.note()
    said |= _gaps(head, holes, stream=stream.name)
    said |= (FieldUse.read(head, stream) + use).note() | {LATE_ROWS_TOTAL: str(total)}
    notes = {STREAM_PROPERTY: stream.name, CONTRACT_VERSION: str(stream.version)} | reached.note()
    if late:
        notes[LATE_ROWS] = str(late)
    append(
        table,
        [],
        provenance=Provenance(
            code=stream.definition_hash(), run_id=f"flink-{uuid.uuid4().hex[:8]}", notes=notes
        ),
        fence=positions.fence(moved=now),
        properties=said,
        guard=OwnerGuard(stream, epoch=owner.epoch),
    )


def _gaps(
    head: TableVersion, holes: Sequence[tuple[SourcePartition, Hole]], *, stream: str
) -> dict[str, str]:
    """Return the ranges of offsets whose loss was accepted, as an entry of table properties."""
    before: dict[str, int] = json.loads(head.properties.get(GAPS_PREFIX + stream, "{}"))
    gaps = with_lost(before, holes, now_ms=clock.now_ms())
    return {} if gaps == before else {GAPS_PREFIX + stream: json.dumps(gaps, sort_keys=True)}


def _times(
    ends: Mapping[SourcePartition, Position],
    written: Mapping[SourcePartition, Written],
    *,
    reached_us: int | None,
) -> tuple[dict[SourcePartition, int], int]:
    """Return the newest event time of each partition up to its end, and how many rows are late."""
    newest: dict[SourcePartition, int] = {}
    late = 0
    for partition, end in ends.items():
        each = written.get(partition, NOTHING)
        times = each.times_us[each.rows < end.offset]
        if len(times):
            newest[partition] = int(times.max())
            late += 0 if reached_us is None else int((times < reached_us).sum())
    return newest, late
