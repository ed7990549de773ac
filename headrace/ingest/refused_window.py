"""The share of the newest records that was refused, kept with the commits: a restart does not forget it.

It counts records, not minutes: a stream that refuses everything stops at the same count whether it
was restarted in between or not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from headrace.definitions.properties import REFUSED_WINDOW

WINDOW_RECORDS = 10_000
_BUCKETS_MAX = 20


class Bucket(NamedTuple):
    """What some consecutive commits took; `at_ms` is when the last one was made."""

    records: int
    refused: int
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class RefusedWindow:
    """The newest commits that together hold at least `WINDOW_RECORDS` records, the oldest first."""

    buckets: tuple[Bucket, ...] = ()

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> Self:
        """Read what a table says."""
        told: dict[str, tuple[int, int]] = json.loads(properties.get(REFUSED_WINDOW, "{}"))
        return cls(buckets=tuple(Bucket(*told[at], int(at)) for at in sorted(told, key=int)))

    def moved(self, *, records: int, refused: int, at_ms: int) -> "RefusedWindow":
        """Add what a commit took, and drop what is no longer needed."""
        buckets = [*self.buckets]
        if buckets and buckets[-1].at_ms >= at_ms:  # of the same moment, or a clock that went back
            last = buckets.pop()
            records, refused, at_ms = records + last.records, refused + last.refused, last.at_ms
        buckets.append(Bucket(records, refused, at_ms))
        while sum(each.records for each in buckets[1:]) >= WINDOW_RECORDS:
            del buckets[0]
        while len(buckets) > _BUCKETS_MAX:  # the two smallest neighbours become one
            at = min(range(len(buckets) - 1), key=lambda i: buckets[i].records + buckets[i + 1][0])
            one, two = buckets[at : at + 2]
            merged = Bucket(one.records + two.records, one.refused + two.refused, two.at_ms)
            buckets[at : at + 2] = [merged]
        return RefusedWindow(buckets=tuple(buckets))

    def since(self, at_ms: int) -> "RefusedWindow":
        """Return what was taken after a moment, as after the letters were acknowledged."""
        return RefusedWindow(buckets=tuple(each for each in self.buckets if each.at_ms > at_ms))

    @property
    def records(self) -> int:
        """How many records it holds."""
        return sum(each.records for each in self.buckets)

    @property
    def refused(self) -> int:
        """How many of them are dead letters."""
        return sum(each.refused for each in self.buckets)

    def exceeds(self, share: float) -> bool:
        """Whether at least this share of a whole window was refused."""
        full = self.records >= WINDOW_RECORDS
        return full and self.refused >= share * self.records

    def note(self) -> dict[str, str]:
        """Return it as an entry of table properties.

        An object by time, since a summary repeats the changed entries of an object and the whole of
        anything else, before and after.
        """
        told = {str(each.at_ms): [each.records, each.refused] for each in self.buckets}
        return {REFUSED_WINDOW: json.dumps(told)}
