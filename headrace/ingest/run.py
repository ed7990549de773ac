"""Ingest a stream: resume from the table, take what is new, commit rows and offsets as one.

For each commit the dead letters go first, under a fence of their own. A crash between the two leaves
dead letters without their rows: the next run knows them by their offsets and does not write them
again, so every record ends exactly once in exactly one of the two tables.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from headrace.crash_points import crash_point
from headrace.definitions.properties import (
    CLUSTER_BY,
    CONTRACT_VERSION,
    FEATURE_VIEW_PROPERTY,
    KEY,
    LATENESS_S,
    STREAM_PROPERTY,
)
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.errors import RecordsRefusedError, UnknownFieldsError
from headrace.ingest import dead_letters, watermark
from headrace.ingest.contract import Checked, check, latest
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.field_use import FieldUse, named, refused
from headrace.ingest.positions import Positions, seal_former
from headrace.ingest.sources.base import Position, Records, Source, Split
from headrace.ingest.sources.files import FileSource
from headrace.ingest.status import IngestResult, Taken, most_first
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.writer import TableWriter

ROWS_PER_COMMIT = 1_000_000


def ingest(
    lake: OpenLake,
    stream: Stream,
    *,
    rows_per_commit: int = ROWS_PER_COMMIT,
    source: Source | None = None,
    progress: Callable[[Taken], None] | None = None,
    run_id: str | None = None,
) -> IngestResult:
    """Take everything new from a stream's sources into its table and the dead letters.

    Safe to kill at any moment and to run again, from several processes too: a run resumes from the
    offsets in the table, and of two that took the same records one is refused. Without anything
    new it commits nothing. A commit holds one split, or `rows_per_commit` rows of it (rounded up to
    whole micro-batches); memory holds one micro-batch and the open row groups.

    Args:
        lake: The lake that holds the table; both tables are created or evolved first.
        stream: The contract.
        rows_per_commit: When to commit within a long split.
        source: Where records come from; by default the files the contract names.
        progress: Called after each split, with what was taken from it.
        run_id: What the commits name as their run, as an orchestrator calls it; a new one if None.

    Raises:
        SourceFileError, SourceChangedError: If a file is refused; splits before it are committed.
        UnknownFieldsError: If the contract refuses the fields of a file; splits before it are
            committed.
        SourceLedgerError: If the registry lost which sources were taken; nothing was changed.
        FencedError: If another ingester of the same stream was faster.
        ContractError: If the table cannot be brought in line with the contract.

    """
    source = source or FileSource(stream, data_dir=lake.settings.data_dir)
    run = _Run.start(lake, stream, run_id=run_id or uuid.uuid4().hex)
    done: list[Taken] = []
    look = source.look(run.positions.of)
    run.positions = run.positions.noting(look.unchanged)
    run.dead_before = run.dead_positions.of([split.source for split in look.splits])
    for split in look.splits:
        done.append(run.take(source, split, rows_per_commit=rows_per_commit))
        if progress is not None:
            progress(done[-1])
    return IngestResult(
        stream=stream.name,
        table=stream.table,
        splits=tuple(done),
        watermark=watermark.as_time(run.watermark_us),
        same_content=run.positions.alike(run.ends),
        undeclared_fields=run.new_use.unknown(stream),
        absent_fields=run.field_use.absent(stream),
        missing=look.missing,
        refusal=_refusal(stream, done),
    )


def _refusal(stream: Stream, done: Sequence[Taken]) -> RecordsRefusedError | None:
    reasons = most_first(split.reasons for split in done)
    refused_count = sum(reasons.values())
    records = refused_count + sum(split.rows for split in done)
    if not refused_count or refused_count < stream.refused_share_limit * records:
        return None
    return RecordsRefusedError(stream.name, records=records, reasons=reasons)


def table_properties(stream: Stream) -> dict[str, str]:
    """What a stream's table says about itself."""
    said = {
        STREAM_PROPERTY: stream.name,
        CONTRACT_VERSION: str(stream.version),
        LATENESS_S: f"{stream.allowed_lateness.total_seconds():g}",
    }
    if stream.key:
        said[KEY] = json.dumps([stream.column_of(stream.key)])
    if stream.cluster_by:
        said[CLUSTER_BY] = json.dumps([stream.column_of(name) for name in stream.cluster_by])
    view = stream.view()
    if view is not None:
        said[FEATURE_VIEW_PROPERTY] = view.to_property()
    return said


@dataclass(kw_only=True)
class _Run:
    """One run's view of the two tables; moves on only with a commit."""

    stream: Stream
    table: LakeTable
    dead: LakeTable
    positions: Positions
    dead_positions: Positions
    watermark_us: int | None
    run_id: str
    field_use: FieldUse
    new_use: FieldUse = field(default_factory=FieldUse.none)
    dead_before: Mapping[str, Position] = field(default_factory=dict)
    ends: dict[str, Position] = field(default_factory=dict)

    @classmethod
    def start(cls, lake: OpenLake, stream: Stream, *, run_id: str) -> "_Run":
        table = declare_table(
            lake,
            stream.table,
            stream.table_schema(),
            partition_by=stream.partition_by,
            properties=table_properties(stream),
        )
        dead = dead_letters.open_table(lake)
        for each in (dead, table):
            seal_former(each, stream=stream.name)
        # the dead letters first: they may be ahead of the table, never behind what it was read at
        dead_head, head = dead.head(), table.head()
        return cls(
            stream=stream,
            table=table,
            dead=dead,
            positions=Positions.read(table, head.properties, stream=stream.name),
            dead_positions=Positions.read(dead, dead_head.properties, stream=stream.name),
            watermark_us=watermark.read(head.properties),
            run_id=run_id,
            field_use=FieldUse.read(head, stream),
        )

    @property
    def commits_within_a_source(self) -> bool:
        """Whether a part of a source may be committed before all of it was read.

        Not if a field of a later JSON line can still refuse it.
        """
        return self.stream.unknown_fields != "refuse" or self.stream.format != "json"

    def take(self, source: Source, split: Split, *, rows_per_commit: int) -> Taken:
        total = Taken(source=split.source)
        batch: _Batch | None = None
        with ExitStack() as cleanup:
            for records in source.read(split, rows_per_commit=rows_per_commit):
                if batch is None:
                    batch = _Batch(self, split)
                    cleanup.push(batch.discard_on_error)
                batch.add(records)
                if batch.rows >= rows_per_commit and self.commits_within_a_source:
                    total += batch.commit()
                    batch = None
            if batch is not None:
                total += batch.commit()
        if total.commits:
            self.ends[split.source] = self.positions.open[split.source]
        return total

    def known_dead(self, split: Split) -> set[int]:
        """Offsets of this split that a run before left in the dead letters, but not in the table."""
        since = self.positions.open.get(split.source, split.start).records
        if self.dead_records(split.source) <= since:
            return set()
        return dead_letters.committed_offsets(
            self.dead, self.stream, source=split.source, since=since
        )

    def dead_records(self, source: str) -> int:
        """How far a source's records are in the dead letters."""
        before = self.dead_before.get(source, Position())
        return self.dead_positions.open.get(source, before).records


class _Batch:
    """The rows and dead letters of one commit, on disk but not yet visible."""

    def __init__(self, run: _Run, split: Split) -> None:
        self._run, self._split = run, split
        self._known_dead = run.known_dead(split)
        self._rows = TableWriter(run.table)
        self._dead: TableWriter | None = None
        self._open = True
        self._end = split.start
        self._latest_us: int | None = None
        self._use = FieldUse.none()
        self._reasons: Counter[str] = Counter()
        self.rows = self.late = 0

    def add(self, records: Records) -> None:
        stream = self._run.stream
        not_after = datetime.now(UTC) + stream.allowed_clock_skew
        decoded = decode(records, stream)
        use = FieldUse.of(records, decoded, stream)
        unknown = refused(use, decoded, stream)
        if unknown:
            raise UnknownFieldsError(
                stream.name, path=self._split.source, fields=unknown, named=named(unknown, stream)
            )
        self._use += use
        checked = check(decoded, stream, not_after=not_after)
        checked = _without_known_dead(checked, records, self._known_dead)
        violations = checked.violations
        if violations:
            self._dead = self._dead or TableWriter(self._run.dead)
            self._dead.write(
                dead_letters.rows_of(
                    records, violations, stream=self._run.stream, split=self._split
                )
            )
        if len(checked.index):
            rows = _with_coordinates(checked, records, stream=self._run.stream, split=self._split)
            for part in rows.combine_chunks().to_batches():
                self._rows.write(part)
            self._count_late(rows)
        self.rows += len(checked.index)
        self._reasons.update(_reason_of(each, stream) for each in violations.values())
        self._end = records.end

    def _count_late(self, rows: pa.Table) -> None:
        if self._run.watermark_us is not None:
            before = pa.scalar(self._run.watermark_us, pa.int64()).cast(TIMESTAMP)
            self.late += pc.sum(pc.less(rows.column(EVENT_TIME), before)).as_py() or 0
        newest = latest(rows, EVENT_TIME)
        if newest is not None:
            self._latest_us = max(newest, self._latest_us or newest)

    def commit(self) -> Taken:
        run, source = self._run, self._split.source
        self._close()
        crash_point("ingest.after_decode")
        if self._dead is not None:
            dead, ahead = self._dead.files, max(self._end.records, run.dead_records(source))
            with fresh(run.dead, dead), fresh(run.table, self._rows.files):
                dead_moved = run.dead_positions.moved(source, Position(ahead))
                fence = run.dead_positions.fence(moved=dead_moved)
                append(run.dead, dead, provenance=self._provenance({}), fence=fence)
            run.dead_positions = dead_moved
        crash_point("ingest.after_dead_letters")
        reached = watermark.advance(
            run.watermark_us,
            latest_event_us=self._latest_us,
            allowed_lateness=run.stream.allowed_lateness,
        )
        field_use = run.field_use + self._use
        with fresh(run.table, self._rows.files):
            moved = run.positions.moved(source, self._end)
            append(
                run.table,
                self._rows.files,
                provenance=self._provenance(watermark.note(reached)),
                fence=run.positions.fence(moved=moved),
                properties=moved.files() | watermark.note(reached) | field_use.note(),
            )
        run.positions, run.watermark_us = moved, reached
        run.field_use, run.new_use = field_use, run.new_use + self._use
        return Taken(
            source=source,
            rows=self.rows,
            dead_letters=self._reasons.total(),
            late_rows=self.late,
            commits=1,
            reasons=dict(self._reasons),
        )

    def _provenance(self, notes: Mapping[str, str]) -> Provenance:
        stream = self._run.stream
        return Provenance(
            code=stream.definition_hash(),
            run_id=self._run.run_id,
            notes={STREAM_PROPERTY: stream.name, **notes},
        )

    def _close(self) -> None:
        self._open = False
        self._rows.close()
        if self._dead is not None:
            self._dead.close()

    def discard_on_error(self, kind: object, error: object, trace: object) -> None:
        """Remove half-written files if the split failed; leave what a commit may have adopted."""
        if self._open and isinstance(error, BaseException):
            for writer in (self._rows, self._dead):
                if writer is not None:
                    writer.discard()


def _reason_of(violation: Violation, stream: Stream) -> str:
    """Name a kind of refusal; there are few, for undeclared fields are not told apart."""
    is_declared = violation.field in stream.fields
    return f"{violation.code} `{violation.field}`" if is_declared else violation.code


def _without_known_dead(checked: Checked, records: Records, known: set[int]) -> Checked:
    if not known:
        return checked
    again = {offset - records.first_offset for offset in known}
    violations: dict[int, Violation] = {
        at: violation for at, violation in checked.violations.items() if at not in again
    }
    # a contract changed since may accept now what is a dead letter already: it stays one
    keep = [at for at, row in enumerate(checked.index.tolist()) if row not in again]
    if len(keep) == len(checked.index):
        return Checked(index=checked.index, rows=checked.rows, violations=violations)
    return Checked(
        index=checked.index[keep],
        rows=checked.rows.take(pa.array(keep, pa.int64())),
        violations=violations,
    )


def _with_coordinates(
    checked: Checked, records: Records, *, stream: Stream, split: Split
) -> pa.Table:
    rows, count = checked.rows, len(checked.index)
    if stream.known_at.ingested:
        known = pa.array([datetime.now(UTC)] * count, TIMESTAMP)
        rows = rows.append_column(KNOWN_AT, known)
    elif stream.known_at.after_event is not None:
        delay = pa.scalar(stream.known_at.after_event, pa.duration("us"))
        rows = rows.append_column(KNOWN_AT, pc.add(rows.column(EVENT_TIME), delay))
    values = {
        "_source": pa.repeat(split.source, count),
        "_source_partition": pa.repeat(pa.scalar(split.partition, pa.int32()), count),
        "_source_offset": pa.array(checked.index + records.first_offset, pa.int64()),
        "_source_time": pa.repeat(pa.scalar(split.source_time, TIMESTAMP), count),
    }
    for coordinate in COORDINATES:
        rows = rows.append_column(coordinate, values[coordinate.name])
    return rows
