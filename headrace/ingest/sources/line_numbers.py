"""The line numbers of records, as an editor shows them; offsets count records only."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np

from headrace.errors import SourceFileError

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class LineNumbers:
    """The lines of the records of one micro-batch, from 1; the header and blank lines are counted.

    `places` are relative to where reading began, which is `before()` lines into the file. `before` reads
    the file, so it is called only when line numbers are needed.
    """

    before: Callable[[], int]
    places: np.ndarray

    def of(self, at: Sequence[int]) -> list[int]:
        """Return the line numbers of the records at these places of the batch."""
        first = self.before() + 1
        return (self.places[np.array(at, dtype=np.int64)] + first).tolist()

    def beyond(self, skipped: int) -> "LineNumbers":
        """Leave out the first records."""
        return LineNumbers(self.before, self.places[skipped:])


def counter_of(
    opened: Callable[[], AbstractContextManager[BinaryIO]], end_byte: int, *, source: str
) -> Callable[[], int]:
    """Return a function that counts the lines that end before a byte of a file, once.

    `opened` opens its plain content.

    Raises:
        SourceFileError: From that function, if the file cannot be read.

    """

    @cache
    def count() -> int:
        lines, left = 0, end_byte
        try:
            with opened() as handle:
                while left and (block := handle.read(min(left, _BLOCK_BYTES))):
                    lines += block.count(b"\n")
                    left -= len(block)
        except OSError as error:
            raise SourceFileError(source, f"it cannot be read ({error.strerror})") from error
        return lines

    return count
