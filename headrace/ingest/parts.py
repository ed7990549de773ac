"""What a batch holds of one partition, and the checks that its records follow on one another."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.properties import DIRTY_DAYS, LATE_ROWS
from headrace.definitions.stream import EVENT_TIME, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.errors import SourceOrderError, UnexplainedGapError
from headrace.ingest.absent import Offsets
from headrace.ingest.contract import Checked, latest
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.sources.base import Hole, Position, Records, SourcePartition
from headrace.ingest.sources.line_block import LineBlock

_DIRTY_DAYS_MAX = 400  # in one summary; a flood of late rows may touch any number


@dataclass(kw_only=True)
class Part:
    """What the batch holds of one partition.

    `end` is where reading goes on, `known_dead` are offsets that an earlier run left as dead letters.
    """

    end: Position
    known_dead: Collection[int]
    records: int = 0
    rows: int = 0
    bytes: int = 0
    late_rows: int = 0
    late_days: set[date] = field(default_factory=set[date])
    newest_us: int | None = None
    holes: list[Hole] = field(default_factory=list[Hole])
    reasons: Counter[str] = field(default_factory=Counter[str])

    def refuse_disorder(self, records: Records) -> None:
        """Refuse records that do not follow those before, or leave out offsets without a reason.

        Raises:
            SourceOrderError: If an offset is there already, or goes back.
            UnexplainedGapError: If offsets have neither a record nor a hole, or both.

        """
        source, partition = records.partition
        first = self.end.offset
        bounds = np.concatenate(([first - 1], records.offsets, [records.end.offset]))
        steps = np.diff(bounds)
        wrong = np.flatnonzero(steps <= 0)
        if len(wrong):
            raise SourceOrderError(
                source,
                partition=partition,
                expected=int(bounds[wrong[0]]) + 1,
                found=int(bounds[wrong[0] + 1]),
            )
        gaps = [(int(bounds[at]) + 1, int(bounds[at + 1])) for at in np.flatnonzero(steps > 1)]
        told = _merged(records.holes)
        if gaps != told:
            start, end = min(set(gaps) ^ set(told))
            raise UnexplainedGapError(source, partition=partition, first=start, end=end)

    def note(self, records: Records, checked: Checked, stream: Stream) -> None:
        """Count records that were checked, and go on behind them."""
        self.records += records.count
        self.rows += len(checked.index)
        self.bytes += _bytes_of(records)
        self.holes += records.holes
        self.reasons.update(_reason_of(each, stream) for each in checked.violations.values())
        self.end = records.end

    def note_times(self, rows: pa.Table, *, reached_us: int | None) -> None:
        """Note the newest event time of rows, and which are older than the watermark."""
        times = rows.column(EVENT_TIME)
        if reached_us is not None:
            late = times.filter(pc.less(times, pa.scalar(reached_us, pa.int64()).cast(TIMESTAMP)))
            self.late_rows += len(late)
            if len(late):
                self.late_days.update(pc.unique(late.cast(pa.date32())).to_pylist())
        newest_us = latest(rows, EVENT_TIME)
        if newest_us is not None:
            self.newest_us = newest_us if self.newest_us is None else max(newest_us, self.newest_us)


def holes_of(
    parts: Mapping[SourcePartition, Part],
) -> Iterator[tuple[SourcePartition, str, Offsets]]:
    """Return the offsets without a record, with the kind of each hole."""
    for partition, part in parts.items():
        for hole in part.holes:
            yield partition, hole.kind.value, Offsets.between(hole.first, hole.end)


def lateness_note(parts: Collection[Part]) -> dict[str, str]:
    """Return the late rows and the days that they changed, as entries of a summary."""
    late = sum(part.late_rows for part in parts)
    if not late:
        return {}
    days = {day.isoformat() for part in parts for day in part.late_days}
    return {LATE_ROWS: str(late), DIRTY_DAYS: json.dumps(sorted(days)[-_DIRTY_DAYS_MAX:])}


def _merged(holes: Collection[Hole]) -> list[tuple[int, int]]:
    """Join holes that touch: neighbours may differ in kind."""
    found: list[tuple[int, int]] = []
    for hole in holes:
        if found and found[-1][1] == hole.first:
            found[-1] = (found[-1][0], hole.end)
        else:
            found.append((hole.first, hole.end))
    return found


def _bytes_of(records: Records) -> int:
    if records.rows is not None:
        return records.rows.nbytes
    if isinstance(records.lines, LineBlock):
        return int(records.lines.lengths.sum())
    return sum(map(len, records.lines))


def _reason_of(violation: Violation, stream: Stream) -> str:
    """Name a kind of refusal. There are few kinds: undeclared fields are not told apart."""
    is_declared = violation.field in stream.fields
    return f"{violation.code} `{violation.field}`" if is_declared else violation.code
