"""Random integers that are the same on every machine.

Only raw 64-bit words of PCG64 and integer arithmetic are used. Numpy's own distributions may
change between versions and its float kernels differ in the last bit between processors; either
would break "same seed, same bytes".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Words = NDArray[np.uint64]

PPM = 1_000_000
_FRACTION_BITS = 20
_QUICK_BITS = 18


class Quantiles:
    """A distribution of durations given by points of its inverse, with linear interpolation.

    Args:
        points: `(share in ppm, value)`, both rising, from share 0 to share 1,000,000.

    """

    def __init__(self, *points: tuple[int, int]) -> None:
        self.shares = np.array([share for share, _ in points], dtype=np.int64)
        self.values = np.array([value for _, value in points], dtype=np.int64)

    def share_below(self, value: int) -> int:
        """Return the share of durations below `value`, in ppm; `value` lies below the last point."""
        part = int(np.searchsorted(self.values, value, side="right")) - 1
        low, high = (int(each) for each in self.values[part : part + 2])
        first, last = (int(each) for each in self.shares[part : part + 2])
        return first + (last - first) * (value - low) // (high - low)


class Weights:
    """A distribution over 0..n-1 by integer weights."""

    def __init__(self, weights: Ints) -> None:
        self.cumulative = np.cumsum(weights)

    @classmethod
    def zipf(cls, size: int, *, shift: int) -> "Weights":
        """Weight 1/(rank + shift): a larger shift flattens the head."""
        return cls((1 << 36) // (np.arange(size, dtype=np.int64) + shift))

    def quick(self) -> Ints:
        """A table of 2^18 equally likely outcomes, for many draws at once."""
        steps = np.arange(1 << _QUICK_BITS, dtype=np.int64)
        total = int(self.cumulative[-1])
        targets = (steps * (total >> _QUICK_BITS)) + (total >> (_QUICK_BITS + 1))
        return np.searchsorted(self.cumulative, targets, side="right").astype(np.int64)


class Draws:
    """A stream of random integers named by its key; equal keys give equal streams."""

    def __init__(self, *key: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence(list(key)))

    def words(self, size: int) -> Words:
        """Return `size` random 64-bit words."""
        return np.asarray(self._words.random_raw(size), dtype=np.uint64)

    def below(self, bound: int | Ints, *, size: int) -> Ints:
        """Return `size` integers in [0, bound); an array gives each its own positive bound.

        The bias of the remainder is below 2^-24 for any bound used here.
        """
        return (self.words(size) % np.asarray(bound).astype(np.uint64)).astype(np.int64)

    def chance(self, ppm: int | Ints, *, size: int) -> Flags:
        """Return `size` flags, each true with `ppm` in a million."""
        return self.below(PPM, size=size) < ppm

    def pick(self, weights: Weights, *, size: int) -> Ints:
        """Return `size` indices drawn by weight."""
        targets = self.below(int(weights.cumulative[-1]), size=size)
        return np.searchsorted(weights.cumulative, targets, side="right").astype(np.int64)

    def quick(self, table: Ints, *, size: int) -> Ints:
        """Return `size` entries of a `Weights.quick` table."""
        return table[(self.words(size) >> np.uint64(40)).astype(np.int64) & (table.size - 1)]

    def quantile(self, curve: Quantiles, *, size: int) -> Ints:
        """Return `size` values drawn from `curve`."""
        words = self.words(size)
        shares = (words % np.uint64(PPM)).astype(np.int64)
        part = np.searchsorted(curve.shares, shares, side="right") - 1
        fraction = (words >> np.uint64(64 - _FRACTION_BITS)).astype(np.int64)
        low, high = curve.values[part], curve.values[part + 1]
        return low + (((high - low) * fraction) >> _FRACTION_BITS)


def mix(values: Ints, *, salt: int) -> Ints:
    """Hash integers to [0, 2^63): a fixed property of a user or an item (splitmix64)."""
    offset = ((salt + 1) * 0x9E3779B97F4A7C15) % (1 << 64)
    state = values.astype(np.uint64) + np.uint64(offset)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def spread(counts: Ints) -> Ints:
    """Return the group number of each row, `counts[g]` rows in group g."""
    return np.repeat(np.arange(counts.size, dtype=np.int64), counts)


def firsts(counts: Ints) -> Ints:
    """Return the index of each group's first row."""
    return np.cumsum(counts) - counts


def joined(parts: Sequence[Ints]) -> Ints:
    """Concatenate integer arrays."""
    return np.concatenate(list(parts)).astype(np.int64)
