"""The watermark: the time up to which a stream is complete.

It is the newest event time less the allowed lateness, the least of all partitions that count, and never
goes back. A partition counts while it has something to read, and for the stream's `idle_after` beyond its
last record; an empty one that is read to its end never does. If none counts, the newest event of all
does, so the watermark is never beyond the latest event.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.properties import EVENT_TIMES, WATERMARK
from headrace.ingest.sources.base import SourcePartition

_ONE_MS = timedelta(milliseconds=1)
_STALE_AFTER = timedelta(hours=1)


def lag_max(allowed_lateness: timedelta) -> timedelta:
    """How far behind the clock the watermark of a followed stream may be; beyond that, events stopped.

    Streams that no service follows are not judged: the watermark of loaded history is old.
    """
    return allowed_lateness + _STALE_AFTER


class Times(NamedTuple):
    """The newest event time of a partition, and when its last record was taken, by this host's clock."""

    newest_us: int
    taken_ms: int


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """The watermark of a stream, and what it is computed from.

    Args:
        reached_us: The watermark in microseconds since 1970; None before the first event.
        times: The times of each partition that goes on; a file that was read is not kept.

    """

    reached_us: int | None
    times: Mapping[SourcePartition, Times] = field(default_factory=dict[SourcePartition, Times])

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> Self:
        """Read the watermark from table properties."""
        told: dict[str, list[int]] = json.loads(properties.get(EVENT_TIMES, "{}"))
        times = {SourcePartition.of_key(key): Times(*pair) for key, pair in told.items()}
        return cls(reached_us=read(properties), times=times)

    def advanced(
        self,
        newest_us: Mapping[SourcePartition, int],
        *,
        active: Collection[SourcePartition],
        now_ms: int,
        allowed_lateness: timedelta,
        idle_after: timedelta = timedelta(0),
    ) -> "Watermark":
        """Move past a batch.

        Args:
            newest_us: The newest event time in the batch for each partition that has events in it.
            active: Partitions that may still bring events, also those that are only paused. One
                without any event so far keeps the watermark where it is.
            now_ms: The time now.
            allowed_lateness: How much older than the newest event an event may be.
            idle_after: How long a partition counts after its last record.

        """
        times = dict(self.times)
        for each, newest in newest_us.items():
            before = times.get(each)
            times[each] = Times(newest if before is None else max(newest, before[0]), now_ms)
        idle_before_ms = now_ms - idle_after // _ONE_MS
        waits = {*active, *newest_us}
        waits |= {each for each, at in times.items() if at.taken_ms > idle_before_ms}
        reached = self._reached(times, waits, allowed_lateness)
        return Watermark(reached_us=reached, times=times)

    def _reached(
        self,
        times: Mapping[SourcePartition, Times],
        waits: Collection[SourcePartition],
        allowed_lateness: timedelta,
    ) -> int | None:
        if not times or any(each not in times for each in waits):
            return self.reached_us
        late_us = allowed_lateness // ONE_US
        if waits:
            reached = min(times[each].newest_us for each in waits) - late_us
        else:
            reached = max(at.newest_us for at in times.values()) - late_us
        return reached if self.reached_us is None else max(reached, self.reached_us)

    def begun(self, waiting: Collection[SourcePartition]) -> frozenset[SourcePartition]:
        """Return which of the files that are to be read were left in the middle: they have times."""
        return frozenset(self.times.keys() & {*waiting})

    def kept(self, partitions: Collection[SourcePartition]) -> "Watermark":
        """Forget the times of all other partitions, such as files that were read."""
        times = {each: at for each, at in self.times.items() if each in partitions}
        return Watermark(reached_us=self.reached_us, times=times)

    def note(self) -> dict[str, str]:
        """Return the watermark as an entry of table properties or of a snapshot summary."""
        return {} if self.reached_us is None else {WATERMARK: str(self.reached_us)}

    def note_times(self) -> dict[str, str]:
        """Return the times of partitions as an entry of table properties."""
        told = {each.key: at for each, at in self.times.items()}
        return {EVENT_TIMES: json.dumps(told, sort_keys=True)}


def read(properties: Mapping[str, str]) -> int | None:
    """Read the watermark, in microseconds since 1970, from table properties or a snapshot summary."""
    text = properties.get(WATERMARK)
    return None if text is None else int(text)


def as_time(watermark_us: int | None) -> datetime | None:
    """Convert a watermark to a time; None if Python has no such time."""
    if watermark_us is None:
        return None
    try:
        return EPOCH + timedelta(microseconds=watermark_us)
    except OverflowError:
        return None
