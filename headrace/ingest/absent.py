"""Counts the offsets that have neither a row nor a dead letter, and must not: what makes an audit exact.

A log has a hole for every transaction marker and every record it compacted away, so their number grows
without bound. A table property holds, for each partition and kind, only how many offsets there are and
their sum. With rows and dead letters they must give the count and the sum of all offsets consumed: one
lost record changes both, and a lost one and a doubled one together change the sum.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from headrace.definitions.properties import ABSENT_PREFIX
from headrace.ingest.sources.base import SourcePartition
from headrace.ingest.sources.holes import Hole, HoleKind

DROPPED = (
    "dropped"  # its dead letter was dropped by a person; other reasons are those of `HoleKind`
)


class Offsets(NamedTuple):
    """A number of different offsets and their sum."""

    number: int = 0
    total: int = 0

    def plus(self, more: "Offsets") -> "Offsets":
        """Add other offsets."""
        return Offsets(self.number + more.number, self.total + more.total)

    @classmethod
    def between(cls, first: int, end: int) -> Self:
        """All offsets from `first` up to and without `end`."""
        return cls(end - first, (first + end - 1) * (end - first) // 2)

    @classmethod
    def of(cls, offsets: Iterable[int]) -> Self:
        """These offsets, each of which comes once."""
        found = list(offsets)
        return cls(len(found), sum(found))


def with_lost(
    gaps: Mapping[str, int], holes: Iterable[tuple[SourcePartition, Hole]], *, now_ms: int
) -> dict[str, int]:
    """Add ranges of offsets whose loss was accepted to those of before, with the time of it."""
    return {**gaps} | {
        f"{partition.key}:{hole.first}-{hole.end}": now_ms
        for partition, hole in holes
        if hole.kind is HoleKind.LOST
    }


@dataclass(frozen=True, kw_only=True)
class Absent:
    """The offsets without a record of one stream, by the key of the partition and by kind."""

    stream: str
    by_key: Mapping[str, Mapping[str, Offsets]]

    @classmethod
    def read(cls, properties: Mapping[str, str], *, stream: str) -> Self:
        """Read what a table says."""
        told: dict[str, dict[str, list[int]]] = json.loads(
            properties.get(ABSENT_PREFIX + stream, "{}")
        )
        found = {
            key: {why: Offsets(*pair) for why, pair in kinds.items()} for key, kinds in told.items()
        }
        return cls(stream=stream, by_key=found)

    def plus(self, more: Iterable[tuple[SourcePartition, str, Offsets]]) -> "Absent":
        """Add offsets of partitions, each with why they have no record."""
        by_key = {key: dict(kinds) for key, kinds in self.by_key.items()}
        for partition, why, offsets in more:
            kinds = by_key.setdefault(partition.key, {})
            kinds[why] = kinds.get(why, Offsets()).plus(offsets)
        return Absent(stream=self.stream, by_key=by_key)

    def without(self, partition: SourcePartition) -> "Absent":
        """Forget what is known of a partition, which is read again."""
        left = {key: kinds for key, kinds in self.by_key.items() if key != partition.key}
        return Absent(stream=self.stream, by_key=left)

    def of(self, partition: SourcePartition) -> Offsets:
        """All offsets of a partition without a record, whatever the reason."""
        found = Offsets()
        for offsets in self.by_key.get(partition.key, {}).values():
            found = found.plus(offsets)
        return found

    def note(self) -> dict[str, str]:
        """Return it as an entry of table properties."""
        if not self.by_key:
            return {}
        return {ABSENT_PREFIX + self.stream: json.dumps(self.by_key, sort_keys=True)}
