"""Bytes as numbers: many varints, as Avro writes whole numbers, are read at once wherever they lie."""

from functools import cached_property

import numpy as np

_PADDING = bytes(32)  # eight bytes are read at once, twice for long numbers, also at the very end
_CONTINUES = np.uint64(0x8080_8080_8080_8080)
_PAYLOAD = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
# groups of 7, then 14, then 28 bits: those that stay, those that move down, and by how many bits
_GROUPS = tuple(
    tuple(map(np.uint64, each))
    for each in (
        (0x007F_007F_007F_007F, 0x7F00_7F00_7F00_7F00, 1),
        (0x0000_3FFF_0000_3FFF, 0x3FFF_0000_3FFF_0000, 2),
        (0x0000_0000_0FFF_FFFF, 0x0FFF_FFFF_0000_0000, 4),
    )
)
_ONE, _BYTE = np.uint64(1), np.uint64(0xFF)
_LAST = 0x80  # a byte below it is the last of its number
_WORD_BYTES = 8


class Bytes:
    """Bytes that hold numbers. Places are below or at the number of bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data + _PADDING
        self.size = len(data)
        self.codes = np.frombuffer(self.data, dtype=np.uint8)
        # the eight bytes from each place on
        count = len(self.data) - _WORD_BYTES + 1
        self.words = np.ndarray((count,), "<u8", self.data, strides=(1,))

    def longs(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Read zigzag numbers at places.

        Returns the numbers, the places behind them, and where in `at` there is none of 64 bits, if so.
        """
        first = self.codes[at]
        if first.size and first.max() < _LAST:
            return (first >> 1).astype(np.int64) ^ -(first & 1).astype(np.int64), at + 1, None
        words = self.words[at]
        stops = ~words & _CONTINUES
        last = stops & (~stops + _ONE)
        mask = last | (last - _ONE)  # the bits up to the last byte; all, if it is not among these
        numbers = words & mask & _PAYLOAD
        for stay, move, by in _GROUPS:
            numbers = (numbers & stay) | ((numbers & move) >> by)
        lengths = np.bitwise_count(mask).astype(np.int64) >> 3
        strange = None
        longer = np.flatnonzero(stops == 0)
        if len(longer):
            strange = self._longer(at, longer, numbers, lengths)
        signs = -(numbers & _ONE).astype(np.int64)
        return (numbers >> _ONE).astype(np.int64) ^ signs, at + lengths, strange

    def _longer(
        self, at: np.ndarray, longer: np.ndarray, numbers: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """Complete numbers of nine and ten bytes; return which have more bits than 64."""
        more = self.words[at[longer] + _WORD_BYTES]
        ninth, tenth = more & _BYTE, (more >> np.uint64(8)) & _BYTE
        has_tenth = ninth >= _LAST
        numbers[longer] |= (ninth & np.uint64(0x7F)) << np.uint64(56)
        numbers[longer] |= np.where(has_tenth, tenth & _ONE, np.uint64(0)) << np.uint64(63)
        lengths[longer] = np.where(has_tenth, 10, 9)
        return longer[has_tenth & (tenth > _ONE)]

    def runs(
        self, at: np.ndarray, counts: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read so many numbers, one behind the other, at each place; at least one.

        Returns all numbers, the place behind each run, and in which runs a number is none or lies
        beyond its end.
        """
        first = np.searchsorted(self._lasts, at)
        final = np.minimum(first + counts - 1, len(self._lasts) - 1)
        ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        before = np.minimum(np.repeat(first, counts) + ramp, len(self._lasts)) - 1
        starts = np.where(ramp == 0, np.repeat(at, counts), self._lasts[before] + 1)
        numbers, _, strange = self.longs(np.minimum(starts, self.size))
        wrong = self._lasts[final] >= ends
        if strange is not None:
            wrong[np.repeat(np.arange(len(at)), counts)[strange]] = True
        return numbers, self._lasts[final] + 1, np.flatnonzero(wrong)

    @cached_property
    def _lasts(self) -> np.ndarray:
        """Where numbers could end."""
        return np.flatnonzero(self.codes < _LAST)
