"""Lines that lie one after the other in memory: an object is made only of those that are asked for."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Self, overload

import numpy as np

WORD_BYTES = 8
_NEWLINE = ord("\n")


class LineBlock(Sequence[bytes]):
    """A sequence of lines, as bytes and as places in them.

    A line may hold newlines itself, if it is a message and not a line of a file.

    Args:
        data: All lines, each with a newline behind it.
        starts: Where each line begins.
        ends: Where its newline is.

    """

    def __init__(self, data: bytes, starts: np.ndarray, ends: np.ndarray) -> None:
        self.data, self.starts, self.ends = data, starts, ends

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> "LineBlock":
        """Put lines one after the other; those of a block already are."""
        if isinstance(lines, LineBlock):
            return lines
        lengths = np.fromiter(map(len, lines), dtype=np.int64, count=len(lines))
        ends = np.cumsum(lengths + 1) - 1
        return cls(b"\n".join((*lines, b"")), ends - lengths, ends)

    @classmethod
    def of_text(cls, text: bytes) -> Self:
        """Cut text into lines; it ends in a newline."""
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _NEWLINE)
        return cls(text, np.concatenate(([0], ends[:-1] + 1)), ends)

    @cached_property
    def codes(self) -> np.ndarray:
        """The bytes as numbers."""
        return np.frombuffer(self.data, dtype=np.uint8)

    @cached_property
    def words(self) -> np.ndarray:
        """The eight bytes from each place on, as a number; none where fewer are left."""
        count = max(0, len(self.data) - WORD_BYTES + 1)
        return np.ndarray((count,), "<u8", self.data, strides=(1,))

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many bytes each line has."""
        return self.ends - self.starts

    @cached_property
    def is_ascii(self) -> bool:
        """Whether there is no other character than those of ASCII."""
        return self.data.isascii()

    def holding(self, places: np.ndarray) -> np.ndarray:
        """Return which lines hold these bytes; ascending, each once."""
        return np.unique(np.searchsorted(self.ends, places))

    def joined(self, at: np.ndarray) -> bytes:
        """Return some of the lines, in their order, as text."""
        if len(at) == len(self):
            return self.data
        if not len(at):
            return b""
        breaks = np.flatnonzero(np.diff(at) > 1)
        firsts = self.starts[at[np.concatenate(([0], breaks + 1))]].tolist()
        lasts = self.ends[at[np.append(breaks, len(at) - 1)]].tolist()
        return b"".join(
            [self.data[first : last + 1] for first, last in zip(firsts, lasts, strict=True)]
        )

    def only(self, at: np.ndarray) -> "LineBlock":
        """Return some of the lines, in their order."""
        if len(at) == len(self):
            return self
        lengths = self.lengths[at]
        ends = np.cumsum(lengths + 1) - 1
        return LineBlock(self.joined(at), ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[bytes]:
        data = self.data
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield data[start:end]

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if not isinstance(at, slice):
            return self.data[int(self.starts[at]) : int(self.ends[at])]
        starts, ends = self.starts[at], self.ends[at]
        if at.step not in (None, 1) or not len(starts):
            pairs = zip(starts.tolist(), ends.tolist(), strict=True)
            return [self.data[start:end] for start, end in pairs]
        first = int(starts[0])
        return LineBlock(self.data[first : int(ends[-1]) + 1], starts - first, ends - first)
