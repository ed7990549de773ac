"""The rows and dead letters of the next commit: on disk, but not yet visible."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pyiceberg.manifest import DataFile

from headrace import clock
from headrace.crash_points import crash_point
from headrace.definitions.properties import (
    CONTRACT_VERSION,
    GAPS_PREFIX,
    LATE_ROWS_TOTAL,
    STREAM_PROPERTY,
)
from headrace.errors import UnknownFieldsError
from headrace.ingest import dead_letters, evolution
from headrace.ingest.absent import with_lost
from headrace.ingest.contract import Checked, check
from headrace.ingest.coordinates import with_coordinates, without_known_dead
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import Decoded
from headrace.ingest.field_use import FieldUse, named, refused
from headrace.ingest.owner import OwnerGuard
from headrace.ingest.parts import Part, holes_of, lateness_note
from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.status import Taken
from headrace.ingest.stream_tables import StreamTables, schemas_note
from headrace.ingest.watermark import Watermark
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Commit, Provenance, append
from headrace.tables.writer import TableWriter

_GROWTHS_MAX = 4  # of the contract by one batch


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What became visible: the commit of the rows, that of the dead letters, and what each partition gave."""

    rows: Commit
    dead: Commit | None
    taken: Mapping[SourcePartition, Taken]


class OpenBatch:
    """Takes records of any number of partitions, and commits them all at once.

    As a context manager it discards its files if it is left without a commit.
    """

    def __init__(self, tables: StreamTables) -> None:
        self._tables = tables
        self._rows = TableWriter(tables.table, beside=True)
        self._before: list[TableWriter] = []  # complete, in the schema before the contract grew
        self._dead: TableWriter | None = None
        self._parts: dict[SourcePartition, Part] = {}
        self._watermark = tables.watermark  # past files that the batch holds whole
        self._use = FieldUse.none()
        self._note: dict[str, str] = {}  # further properties of the table
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

    @property
    def records(self) -> int:
        """The number of records added."""
        return sum(part.records for part in self._parts.values())

    @property
    def bytes(self) -> int:
        """The size of the records added, as they came."""
        return sum(part.bytes for part in self._parts.values())

    @property
    def may_be_committed(self) -> bool:
        """Whether what was added may be committed now: nothing read later can refuse it."""
        return not self._parts or self._tables.commits_within_a_file

    def add(self, records: Records) -> None:
        """Decode records, check them against the contract, and write rows and dead letters.

        Raises:
            SourceOrderError: If their offsets do not follow those taken before.
            UnexplainedGapError: If offsets are left out of which the source does not say why.
            UnknownFieldsError: If the contract refuses their fields.
            StorageError: If a file cannot be written.

        """
        part = self._part_of(records)
        decoded, checked = self._check(records)
        stream = self._tables.stream
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
        checked = without_known_dead(checked, records, part.known_dead)
        if checked.violations:
            self._dead = self._dead or TableWriter(self._tables.dead)
            self._dead.write(dead_letters.rows_of(records, checked.violations, stream=stream))
        if len(checked.index):
            rows = with_coordinates(checked, records, stream)
            for each in rows.combine_chunks().to_batches():
                self._rows.write(each)
            part.note_times(rows, reached_us=self._watermark.reached_us)
        part.note(records, checked, stream)

    def _check(self, records: Records) -> tuple[Decoded, Checked]:
        """Decode and check records; a contract that evolves grows by what they bring first."""
        tables = self._tables
        not_after = datetime.now(UTC) + tables.stream.allowed_clock_skew
        tables.expect_schemas(records)
        decoded = decode(records, tables.stream)
        checked = check(decoded, tables.stream, not_after=not_after)
        for _ in range(_GROWTHS_MAX if tables.stream.unknown_fields == "evolve" else 0):
            room = evolution.EVOLVED_MAX - tables.evolved
            types = evolution.growth(records, decoded, checked.violations, tables.stream, room=room)
            if not types or not tables.evolve(types):
                break
            self._rows.close()
            self._before.append(self._rows)
            self._rows = TableWriter(tables.table, beside=True)
            decoded = decode(records, tables.stream)
            checked = check(decoded, tables.stream, not_after=not_after)
        return decoded, checked

    @property
    def _files(self) -> list[DataFile]:
        """The data files of all rows."""
        return [file for writer in (*self._before, self._rows) for file in writer.files]

    def _part_of(self, records: Records) -> Part:
        """Return what the batch holds of a partition, and refuse offsets that it does not continue."""
        partition = records.partition
        part = self._parts.get(partition)
        if part is None:
            if not self._tables.is_log:  # the files before it have ended, and count no longer
                begun = self._tables.half_read
                if self._parts:
                    self._watermark = self._advanced(list(self._parts)[-1:], active=begun)
                self._watermark = self._watermark.kept({partition, *begun})
                self._tables.half_read = begun - {partition}
            start = self._tables.position(partition)
            known_dead = self._tables.known_dead(partition, since=start.offset)
            part = self._parts[partition] = Part(end=start, known_dead=known_dead)
        part.refuse_disorder(records)
        return part

    def leave_out(self, partitions: Collection[SourcePartition]) -> None:
        """Let files that the contract leaves out no longer hold the watermark."""
        self._tables.half_read -= {*partitions}
        self._watermark = self._watermark.kept(self._watermark.times.keys() - {*partitions})

    def commit(self, *, active: Collection[SourcePartition]) -> Committed:
        """Commit the dead letters, then the rows, once a table; without records only the watermark moves.

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
        dead = None if self._dead is None else self._commit_dead(self._dead)
        crash_point("ingest.after_dead_letters")
        taken = {
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
        return Committed(rows=self._commit_rows(active), dead=dead, taken=taken)

    def _commit_dead(self, dead: TableWriter) -> Commit:
        tables = self._tables
        ends = {
            partition: Position(max(part.end.offset, tables.dead_offset(partition)))
            for partition, part in self._parts.items()
            if part.reasons
        }
        with fresh(tables.dead, dead.files), fresh(tables.table, self._files):
            moved = tables.dead_positions.moved(ends)
            note, fence = self._provenance({}), tables.dead_positions.fence(moved=moved)
            guard = OwnerGuard(tables.stream, table=tables.table, begun=tables.begun)
            commit = append(tables.dead, dead.files, provenance=note, fence=fence, guard=guard)
        tables.dead_positions = moved
        return commit

    def _commit_rows(self, active: Collection[SourcePartition]) -> Commit:
        tables, active = self._tables, {*active, *self._tables.half_read}
        parts, now_ms = self._parts.items(), clock.now_ms()
        reached = self._advanced(list(self._parts)[0 if tables.is_log else -1 :], active=active)
        field_use = tables.field_use + self._use
        ends = {partition: part.end for partition, part in parts}
        absent = tables.absent.plus(holes_of(self._parts))
        window = tables.refused.moved(
            records=self.records, refused=self.records - self.rows, at_ms=now_ms
        )
        late_rows = tables.late_rows + sum(part.late_rows for _, part in parts)
        with fresh(tables.table, self._files):
            moved = tables.positions.moved(ends)
            # a file that was read to its end is older than those that come, and no longer counts
            kept = reached.kept(moved.open.keys() if tables.is_log else active)
            said = moved.files() | kept.note() | kept.note_times() | field_use.note()
            said |= absent.note() | window.note() | {LATE_ROWS_TOTAL: str(late_rows)}
            said |= self._gaps(now_ms)
            said |= schemas_note(tables.stream, tables.schemas) | self._note
            commit = append(
                tables.table,
                self._files,
                provenance=self._provenance(reached.note() | lateness_note(self._parts.values())),
                fence=tables.positions.fence(moved=moved),
                properties=said,
                guard=tables.guard,
            )
        tables.positions, tables.watermark = moved, kept
        tables.field_use, tables.new_use = field_use, tables.new_use + self._use
        tables.absent, tables.refused, tables.late_rows = absent, window, late_rows
        tables.ends |= ends
        return commit

    def _advanced(
        self, partitions: Collection[SourcePartition], *, active: Collection[SourcePartition] = ()
    ) -> Watermark:
        """Return the watermark past what the batch holds of partitions."""
        found = ((each, self._parts[each].newest_us) for each in partitions)
        stream = self._tables.stream
        return self._watermark.advanced(
            {each: newest_us for each, newest_us in found if newest_us is not None},
            active={*partitions, *active},
            now_ms=clock.now_ms(),
            allowed_lateness=stream.allowed_lateness,
            idle_after=stream.idle_after,
        )

    def _gaps(self, now_ms: int) -> dict[str, str]:
        """Return the ranges of offsets whose loss was accepted, as an entry of table properties."""
        holes = ((each, hole) for each, part in self._parts.items() for hole in part.holes)
        gaps = with_lost(self._tables.gaps, holes, now_ms=now_ms)
        if gaps == self._tables.gaps:
            return {}
        self._tables.gaps = gaps
        return {GAPS_PREFIX + self._tables.stream.name: json.dumps(gaps, sort_keys=True)}

    def _provenance(self, notes: Mapping[str, str]) -> Provenance:
        stream = self._tables.stream
        return Provenance(
            code=stream.definition_hash(),
            run_id=self._tables.run_id,
            notes={
                STREAM_PROPERTY: stream.name,
                CONTRACT_VERSION: self._tables.contract_version,
                **notes,
            },
        )

    def discard(self) -> None:
        """Remove the files, unless a commit may have taken them; idempotent."""
        if self._handed_over:
            return
        for writer in (*self._before, self._rows, self._dead):
            if writer is not None:
                writer.discard()
