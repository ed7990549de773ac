"""Offsets without records: why a range is empty, and which missing ranges a user accepts."""

import re
from enum import Enum
from typing import NamedTuple, Self

_GAP = re.compile(r"([0-9]{1,9}):([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


class HoleKind(Enum):
    """Why a range of offsets holds no record."""

    EMPTY = "empty"  # a transaction marker, or compacted away
    ABORTED = "aborted"  # records of transactions that were aborted
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
