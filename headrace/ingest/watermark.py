"""The watermark: the time up to which a stream is complete.

It is the newest event time less the allowed lateness, the least of all active partitions, and never goes
back. A partition that may still bring older events holds it back; one that is read to its end does not.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.properties import WATERMARK
from headrace.ingest.sources.base import SourcePartition


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """The watermark of a stream, and what it is computed from.

    Args:
        reached_us: The watermark in microseconds since 1970; None before the first event.
        newest_us: The newest event time of each active partition, as far as this run saw events.

    """

    reached_us: int | None
    newest_us: Mapping[SourcePartition, int] = field(default_factory=dict[SourcePartition, int])

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> Self:
        """Read the watermark from table properties or a snapshot summary."""
        return cls(reached_us=read(properties))

    def advanced(
        self,
        newest_us: Mapping[SourcePartition, int],
        *,
        active: Collection[SourcePartition],
        allowed_lateness: timedelta,
    ) -> "Watermark":
        """Move past a batch.

        Args:
            newest_us: The newest event time in the batch for each partition that has events in it.
            active: Partitions that hold the watermark back: those of the batch, and those that may
                still bring events. One without any event so far keeps the watermark where it is.
            allowed_lateness: How much older than the newest event an event may be.

        """
        newest = {
            each: max(times)
            for each in active
            if (times := [at[each] for at in (self.newest_us, newest_us) if each in at])
        }
        if not newest or len(newest) < len(set(active)):
            return Watermark(reached_us=self.reached_us, newest_us=newest)
        reached = min(newest.values()) - allowed_lateness // ONE_US
        if self.reached_us is not None:
            reached = max(reached, self.reached_us)
        return Watermark(reached_us=reached, newest_us=newest)

    def note(self) -> dict[str, str]:
        """Return the watermark as an entry of table properties or of a snapshot summary."""
        return {} if self.reached_us is None else {WATERMARK: str(self.reached_us)}


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
