"""What a topic deleted before it was taken note of: proven by what is written, where all of it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.errors import OffsetGapError
from headrace.flink.written import Written
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind, accepts

_NONE = np.empty(0, dtype=np.int64)
NOTHING = Written(rows=_NONE, times_us=_NONE, letters=_NONE)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a note is to find in a topic: from each position on what is written, or accepted as lost."""

    topic: str
    positions: Positions
    written: Mapping[SourcePartition, Written]
    accepted: tuple[AcceptedGap, ...]

    def last(self, partition: SourcePartition) -> int:
        """Return the last offset of a partition that is written; -1 if none is."""
        return int(self._written(partition).max(initial=-1))

    def lasts(self) -> dict[SourcePartition, int]:
        """Return the last offset of each partition that the note may move over."""
        found = {each: self.last(each) for each in self.written}
        for gap in self.accepted:
            partition = SourcePartition(self.topic, gap.partition)
            found[partition] = max(found.get(partition, -1), gap.end - 1)
        return found

    def passable(self) -> Iterator[AcceptedGap]:
        """Yield the offsets that the topic may lack: from each position on those written or accepted."""
        for partition in self.lasts():
            first = self.positions.open.get(partition, Position()).offset
            end = self._passed(first, partition, self.accepted)
            if end > first and first and partition.source == self.topic:
                yield AcceptedGap(partition.partition, first, end)

    def first_lacking(self, error: OffsetGapError) -> int:
        """Return the first offset of a gap that is not written."""
        return self._passed(error.first, SourcePartition(error.topic, error.partition), ())

    def _passed(self, end: int, partition: SourcePartition, accepted: Sequence[AcceptedGap]) -> int:
        """Return the first offset from `end` on that is neither written nor accepted."""
        written, before = self._written(partition), -1
        while end > before:
            before = end
            offsets = written[written >= end]
            end += int(np.count_nonzero(offsets == np.arange(end, end + len(offsets))))
            for gap in accepted:
                if gap.partition == partition.partition and gap.first <= end < gap.end:
                    end = gap.end
        return end

    def _written(self, partition: SourcePartition) -> np.ndarray:
        return self.written.get(partition, NOTHING).offsets


def without_written(
    records: Records, written: np.ndarray, accepted: Sequence[AcceptedGap] = ()
) -> tuple[Hole, ...]:
    """Return the holes without what is written: the topic deleted it later.

    Raises:
        OffsetGapError: If a record may be missing: the topic cannot tell any more.

    """
    source, partition = records.partition
    kept: list[Hole] = []
    for hole in records.holes:
        if hole.kind not in (HoleKind.BEFORE, HoleKind.LOST):
            kept.append(hole)
            continue
        there = written[(written >= hole.first) & (written < hole.end)]
        # what comes before all that is written was there before the job began
        begins = hole.first if hole.kind is HoleKind.LOST else int(there.min(initial=hole.end))
        absent = np.setdiff1d(np.arange(begins, hole.end), there)
        lost = [
            Hole(int(each[0]), int(each[-1]) + 1, HoleKind.LOST)
            for each in np.split(absent, np.flatnonzero(np.diff(absent) > 1) + 1)
            if len(each)
        ]
        for each in lost:
            if not accepts(accepted, partition, each):
                raise OffsetGapError(source, partition=partition, first=each.first, end=hole.end)
        kept += [hole._replace(end=begins)] if begins > hole.first else []
        kept += lost
    return tuple(kept)
