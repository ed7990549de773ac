"""The rows and dead letters of the next commit: on disk, but not yet visible."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.crash_points import crash_point
from headrace.definitions.properties import STREAM_PROPERTY
from headrace.definitions.stream import EVENT_TIME, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.errors import SourceOrderError, UnknownFieldsError
from headrace.ingest import dead_letters
from headrace.ingest.contract import check, latest
from headrace.ingest.coordinates import with_coordinates, without_known_dead
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.field_use import FieldUse, named, refused
from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.status import Taken
from headrace.ingest.stream_tables import StreamTables
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import TableWriter


@dataclass(kw_only=True)
class _Part:
    """What the batch holds of one partition."""

    end: Position
    known_dead: Collection[int]
    rows: int = 0
    late_rows: int = 0
    newest_us: int | None = None
    reasons: Counter[str] = field(default_factory=Counter[str])


class OpenBatch:
    """Takes records of any number of partitions, and commits them all at once.

    As a context manager it discards its files if it is left without a commit.
    """

    def __init__(self, tables: StreamTables) -> None:
        self._tables = tables
        self._rows = TableWriter(tables.table)
        self._dead: TableWriter | None = None
        self._parts: dict[SourcePartition, _Part] = {}
        self._use = FieldUse.none()
        self._handed_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def partitions(self) -> Collection[SourcePartition]:
        """The partitions that records were added of."""
        return self._parts.keys()

    @property
    def rows(self) -> int:
        """The number of rows added, without dead letters."""
        return sum(part.rows for part in self._parts.values())

    def add(self, records: Records) -> None:
        """Decode records, check them against the contract, and write rows and dead letters.

        Raises:
            SourceOrderError: If their offsets do not follow those taken before.
            UnknownFieldsError: If the contract refuses their fields.
            StorageError: If a file cannot be written.

        """
        stream = self._tables.stream
        part = self._part_of(records)
        not_after = datetime.now(UTC) + stream.allowed_clock_skew
        decoded = decode(records, stream)
        use = FieldUse.of(records, decoded, stream)
        unknown = refused(use, decoded, stream)
        if unknown:
            raise UnknownFieldsError(
                stream.name,
                path=records.partition.source,
                fields=unknown,
                named=named(unknown, stream),
            )
        self._use += use
        checked = check(decoded, stream, not_after=not_after)
        checked = without_known_dead(checked, records, part.known_dead)
        if checked.violations:
            self._dead = self._dead or TableWriter(self._tables.dead)
            self._dead.write(dead_letters.rows_of(records, checked.violations, stream=stream))
        if len(checked.index):
            rows = with_coordinates(checked, records, stream)
            for each in rows.combine_chunks().to_batches():
                self._rows.write(each)
            self._note_times(part, rows)
        part.rows += len(checked.index)
        part.reasons.update(_reason_of(each, stream) for each in checked.violations.values())
        part.end = records.end

    def _part_of(self, records: Records) -> _Part:
        """Return what the batch holds of a partition, and refuse offsets that it does not continue."""
        partition = records.partition
        part = self._parts.get(partition)
        if part is None:
            start = self._tables.position(partition)
            known_dead = self._tables.known_dead(partition, since=start.offset)
            part = self._parts[partition] = _Part(end=start, known_dead=known_dead)
        expected = part.end.offset
        ends = np.concatenate(([expected - 1], records.offsets, [records.end.offset]))
        wrong = np.flatnonzero(np.diff(ends) <= 0)
        if len(wrong):
            raise SourceOrderError(
                partition.source,
                partition=partition.partition,
                expected=int(ends[wrong[0]]) + 1,
                found=int(ends[wrong[0] + 1]),
            )
        return part

    def _note_times(self, part: _Part, rows: pa.Table) -> None:
        reached_us = self._tables.watermark.reached_us
        if reached_us is not None:
            before = pa.scalar(reached_us, pa.int64()).cast(TIMESTAMP)
            part.late_rows += pc.sum(pc.less(rows.column(EVENT_TIME), before)).as_py() or 0
        newest_us = latest(rows, EVENT_TIME)
        if newest_us is not None:
            part.newest_us = newest_us if part.newest_us is None else max(newest_us, part.newest_us)

    def commit(self, *, active: Collection[SourcePartition]) -> dict[SourcePartition, Taken]:
        """Commit the dead letters, then the rows; one commit a table for all partitions.

        Args:
            active: Partitions that hold the watermark back, besides those of this batch.

        Raises:
            FencedError: If another ingester of the stream was faster; nothing of it is visible.

        """
        self._rows.close()
        if self._dead is not None:
            self._dead.close()
        self._handed_over = True
        crash_point("ingest.after_decode")
        if self._dead is not None:
            self._commit_dead(self._dead)
        crash_point("ingest.after_dead_letters")
        self._commit_rows({*self._parts, *active})
        return {
            partition: Taken(
                source=partition.source,
                partition=partition.partition,
                rows=part.rows,
                dead_letters=part.reasons.total(),
                late_rows=part.late_rows,
                commits=1,
                reasons=dict(part.reasons),
            )
            for partition, part in self._parts.items()
        }

    def _commit_dead(self, dead: TableWriter) -> None:
        tables = self._tables
        ends = {
            partition: Position(max(part.end.offset, tables.dead_offset(partition)))
            for partition, part in self._parts.items()
            if part.reasons
        }
        with fresh(tables.dead, dead.files), fresh(tables.table, self._rows.files):
            moved = tables.dead_positions.moved(ends)
            fence = tables.dead_positions.fence(moved=moved)
            append(tables.dead, dead.files, provenance=self._provenance({}), fence=fence)
        tables.dead_positions = moved

    def _commit_rows(self, active: Collection[SourcePartition]) -> None:
        tables = self._tables
        parts = self._parts.items()
        reached = tables.watermark.advanced(
            {each: part.newest_us for each, part in parts if part.newest_us is not None},
            active=active,
            allowed_lateness=tables.stream.allowed_lateness,
        )
        field_use = tables.field_use + self._use
        ends = {partition: part.end for partition, part in parts}
        with fresh(tables.table, self._rows.files):
            moved = tables.positions.moved(ends)
            append(
                tables.table,
                self._rows.files,
                provenance=self._provenance(reached.note()),
                fence=tables.positions.fence(moved=moved),
                properties=moved.files() | reached.note() | field_use.note(),
            )
        tables.positions, tables.watermark = moved, reached
        tables.field_use, tables.new_use = field_use, tables.new_use + self._use
        tables.ends |= ends

    def _provenance(self, notes: Mapping[str, str]) -> Provenance:
        stream = self._tables.stream
        return Provenance(
            code=stream.definition_hash(),
            run_id=self._tables.run_id,
            notes={STREAM_PROPERTY: stream.name, **notes},
        )

    def discard(self) -> None:
        """Remove the files, unless a commit may have taken them; idempotent."""
        if self._handed_over:
            return
        for writer in (self._rows, self._dead):
            if writer is not None:
                writer.discard()


def _reason_of(violation: Violation, stream: Stream) -> str:
    """Name a kind of refusal. There are few kinds: undeclared fields are not told apart."""
    is_declared = violation.field in stream.fields
    return f"{violation.code} `{violation.field}`" if is_declared else violation.code
