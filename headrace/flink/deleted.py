"""What a topic deleted before it was taken note of: proven by what is written, where all of it is."""

from collections.abc import Iterator, Mapping

import numpy as np

from headrace.errors import OffsetGapError
from headrace.flink.written import Written
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind


def written_gaps(
    topic: str, positions: Positions, written: Mapping[SourcePartition, Written]
) -> Iterator[AcceptedGap]:
    """Yield the offsets that a topic may lack: those of each partition that are all written, from its position on."""
    for partition, each in written.items():
        first, offsets = positions.open.get(partition, Position()).offset, each.offsets
        run = int(np.count_nonzero(offsets == np.arange(first, first + len(offsets))))
        if run and first and partition.source == topic:
            yield AcceptedGap(partition.partition, first, first + run)


def without_written(records: Records, written: np.ndarray) -> tuple[Hole, ...]:
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
        if len(absent):
            first = int(absent[0])
            raise OffsetGapError(source, partition=partition, first=first, end=hole.end)
        kept += [hole._replace(end=begins)] if begins > hole.first else []
    return tuple(kept)
