"""Offsets without records: why a range is empty, and which missing ranges a user accepts."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple, Self

_GAP = re.compile(r"([0-9]{1,9}):([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


class HoleKind(Enum):
    """Why a range of offsets holds no record."""

    EMPTY = "empty"  # a transaction marker, or compacted away
    ABORTED = "aborted"  # records of transactions that were aborted
    TOMBSTONE = "tombstone"  # records without a value, which the contract leaves out
    BEFORE = "before"  # deleted before anything of its partition was read
    LOST = "lost"  # deleted before it was read, and accepted by the user


class Hole(NamedTuple):
    """A range of offsets of one partition, from `first` up to but without `end`, without records."""

    first: int
    end: int
    kind: HoleKind


class AcceptedGap(NamedTuple):
    """Offsets of a partition, from `first` up to but without `end`, that may be missing."""

    partition: int
    first: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `partition:first-end`, as in `3:120-500`; `end` is the first offset after the gap.

        Raises:
            ValueError: If the text has another form, or the range is empty.

        """
        found = _GAP.fullmatch(text)
        if found is None or int(found[2]) >= int(found[3]):
            msg = f"`{text}` must be a partition and its missing offsets, as in `3:120-500`"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.partition}:{self.first}-{self.end}"


def accepts(accepted: Iterable[AcceptedGap], partition: int, lost: Hole) -> bool:
    """Whether a user accepted that these offsets are missing."""
    return any(
        each.partition == partition and each.first <= lost.first and lost.end <= each.end
        for each in accepted
    )


def merged(holes: Sequence[Hole]) -> tuple[Hole, ...]:
    """Join ranges that touch and are empty for the same reason. Pure."""
    joined: list[Hole] = []
    for hole in holes:
        last = joined[-1] if joined else None
        if last is not None and last.end == hole.first and last.kind is hole.kind:
            joined[-1] = Hole(last.first, hole.end, hole.kind)
        else:
            joined.append(hole)
    return tuple(joined)
