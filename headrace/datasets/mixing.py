"""The 64-bit mixers and the fold of the content hash, in place and in numpy."""

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

# Each lane is a bijection of 64-bit words, so two different words never meet in one lane.
# Lane 0: the finalizer of MurmurHash3. Lane 1: Stafford's variant 13, the one of SplitMix64.
_SHIFTS = ((33, 33, 33), (30, 27, 31))
_FACTORS = (
    (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)),
    (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)),
)
_STEPS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))


def mix(words: U64, *, lane: int, scratch: U64 | None = None) -> U64:
    """Mix `words` in place by the lane's bijection and return them."""
    scratch = np.empty_like(words) if scratch is None else scratch
    shifts, factors = _SHIFTS[lane], _FACTORS[lane]
    for shift, factor in zip(shifts[:2], factors, strict=True):
        np.right_shift(words, shift, out=scratch)
        np.bitwise_xor(words, scratch, out=words)
        np.multiply(words, factor, out=words)
    np.right_shift(words, shifts[2], out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    return words


def fold(words: U64, *, lane: int, sizes: npt.NDArray[np.int64], lengths: U64) -> U64:
    """Fold consecutive runs of `words` into one word each, sensitive to order and length.

    Args:
        words: The elements of all sequences, one sequence after the other.
        lane: 0 or 1.
        sizes: How many words each sequence has; their sum is `len(words)`.
        lengths: The length that counts for each sequence (bytes of a string, elements of a list).

    """
    ends = np.cumsum(sizes)
    starts = ends - sizes
    position = np.arange(1, len(words) + 1, dtype=np.int64)
    position -= np.repeat(starts, sizes)
    steps = position.view(np.uint64)
    np.multiply(steps, _STEPS[lane], out=steps)
    np.add(steps, words, out=steps)
    mix(steps, lane=lane)
    running = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(steps, out=running[1:])
    folded = running[ends]
    folded -= running[starts]
    folded += mix(lengths + _STEPS[lane], lane=lane)
    return folded
