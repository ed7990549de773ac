"""A log in memory as a source: several partitions in one poll, offsets with gaps, a time of each record."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headrace.definitions.types import TIMESTAMP
from headrace.errors import SourceError
from headrace.ingest.sources.base import (
    Batch,
    Position,
    PositionsOf,
    ReaderStatus,
    Records,
    SourcePartition,
    TimeType,
)
from headrace.ingest.sources.holes import Hole, HoleKind
from headrace.ingest.sources.kafka_start import Mark

_EPOCH = datetime(2019, 11, 24, tzinfo=UTC)


class Entry(NamedTuple):
    """One record of a log."""

    offset: int
    value: bytes

    @property
    def time(self) -> datetime:
        return _EPOCH + timedelta(seconds=self.offset)


@dataclass(frozen=True, kw_only=True)
class Log:
    """One partition; `end` may lie beyond the last record, as behind a transaction marker."""

    entries: Sequence[Entry]
    end: int


class LogSource:
    """The partitions of one topic; grows by assignment to `logs`."""

    is_log = True

    def __init__(
        self, logs: Mapping[int, Log], *, topic: str = "things", topic_id: str = ""
    ) -> None:
        self.logs, self.topic, self.topic_id = dict(logs), topic, topic_id
        self.open_readers = 0
        self.newest: LogReader | None = None
        self.unreachable: SourceError | None = None  # what readers are told when they ask

    def missing(self) -> str | None:
        return None if self.logs else f"topic `{self.topic}` has no partition"

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> "LogReader":
        _ = rows_per_commit
        partitions = [SourcePartition(self.topic, number) for number in sorted(self.logs)]
        taken = positions(partitions)
        self.open_readers += 1
        starts = {each: taken.get(each, Position()).offset for each in partitions}
        self.newest = LogReader(self, starts, follow=follow)
        return self.newest

    def behind(self) -> int:
        """How many offsets the newest reader has not read yet."""
        return 0 if self.newest is None else sum(self.newest.status().lag.values())

    def grow(self, partition: int, values: Sequence[bytes]) -> None:
        """Append records to a partition, which may be a new one."""
        log = self.logs.get(partition, Log(entries=(), end=0))
        more = [Entry(log.end + at, value) for at, value in enumerate(values)]
        self.logs[partition] = Log(entries=[*log.entries, *more], end=log.end + len(more))


class LogReader:
    """Reads all partitions in turn; ends are those of the moment it was opened, unless it follows."""

    def __init__(
        self, source: LogSource, positions: dict[SourcePartition, int], *, follow: bool = False
    ) -> None:
        self._source, self._positions, self._follow = source, positions, follow
        self._ends = {each: source.logs[each.partition].end for each in positions}
        self._closed = False

    @property
    def drained(self) -> bool:
        return not self.active

    @property
    def active(self) -> Collection[SourcePartition]:
        return [each for each, at in self._positions.items() if at < self._ends[each]]

    def _look_again(self) -> None:
        for number, log in list(self._source.logs.items()):
            partition = SourcePartition(self._source.topic, number)
            self._positions.setdefault(partition, 0)
            self._ends[partition] = log.end

    def status(self) -> ReaderStatus:
        lag = {each: max(0, self._ends[each] - at) for each, at in self._positions.items()}
        return ReaderStatus(
            waiting=tuple(each for each, behind in lag.items() if behind),
            lag=lag,
            missing=self._source.missing(),
            next=dict(self._positions),
            unreachable=self._source.unreachable,
            topic_id=self._source.topic_id,
        )

    def poll(self, max_rows: int, *, max_s: float) -> Batch | None:
        if self._closed:
            msg = "the reader is closed"
            raise ValueError(msg)
        if self._follow:
            self._look_again()
        parts: list[Records] = []
        left = max_rows
        for partition in self.active:
            share = max(1, max_rows // len(self._positions))
            if left:
                parts.append(self._read(partition, min(share, left)))
                left -= parts[-1].count
        if self._follow and not parts:
            time.sleep(min(max_s, 0.02))
        return Batch(parts=tuple(parts)) if parts else None

    def _read(self, partition: SourcePartition, count: int) -> Records:
        log, at = self._source.logs[partition.partition], self._positions[partition]
        due = [entry for entry in log.entries if at <= entry.offset < self._ends[partition]]
        found = due[:count]
        # the last record is followed by the end, wherever that is: a consumer's position tells
        end = found[-1].offset + 1 if len(found) < len(due) else self._ends[partition]
        holes = _holes(at, [entry.offset for entry in found], end)
        self._positions[partition] = end
        return Records(
            partition=partition,
            offsets=np.array([entry.offset for entry in found], dtype=np.int64),
            end=Position(end, fingerprint=self._mark(partition, found)),
            times=pa.array([entry.time for entry in found], TIMESTAMP),
            time_type=TimeType.CREATED,
            lines=[entry.value for entry in found],
            holes=holes,
        )

    def _mark(self, partition: SourcePartition, found: Sequence[Entry]) -> str:
        """Return by which a partition of Kafka is recognized, if the topic has an id."""
        if not self._source.topic_id:
            return ""
        mark = Mark(topic_id=self._source.topic_id, partition=partition.partition)
        if found:
            mark = mark.earlier(found[-1].offset, time_ms=int(found[-1].time.timestamp()) * 1000)
        return mark.text

    def confirm(self) -> None:
        pass

    def close(self) -> None:
        if not self._closed:
            self._source.open_readers -= 1
        self._closed = True


def _holes(first: int, offsets: Sequence[int], end: int) -> tuple[Hole, ...]:
    """The gaps between consecutive offsets, from `first` on and up to `end`."""
    bounds = [first - 1, *offsets, end]
    return tuple(
        Hole(before + 1, after, HoleKind.EMPTY)
        for before, after in pairwise(bounds)
        if after > before + 1
    )
