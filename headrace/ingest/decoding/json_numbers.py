"""Which parts of lines are plain numbers of JSON, and what whole ones are, for many at once."""

import numpy as np

from headrace.ingest.sources.line_block import WORD_BYTES, LineBlock

_WHOLE_BYTES_MAX = 18  # digits of a number that surely has 64 bits
_BYTES_MAX = 32
_MINUS, _POINT, _ZERO = b"-.0"
_DIGITS = 10
# neighbours in a word become numbers of two digits, of four, of eight; its first byte is its least
_STEPS = tuple(
    tuple(map(np.uint64, each))
    for each in (
        (0x0F0F0F0F0F0F0F0F, 10 * 2**8 + 1, 8),
        (0x00FF00FF00FF00FF, 100 * 2**16 + 1, 16),
        (0x0000FFFF0000FFFF, 10_000 * 2**32 + 1, 32),
    )
)
# by how many of the last bytes of a word count
_ENDS = np.array([(2**64 - 1) << 8 * (WORD_BYTES - n) & 2**64 - 1 for n in range(9)], np.uint64)


def read_numbers(
    lines: LineBlock, first: np.ndarray, last: np.ndarray, *, is_whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return which parts, given by their bounds, are not digits with a sign and at most one point.

    Numbers with an exponent and very long ones are odd too, though they may be sound, and so is a part
    that ends before it begins. If all are to be whole, their values come second; those of odd parts mean
    nothing.
    """
    codes, end = lines.codes, len(lines.codes) - 1
    first, last = np.minimum(first, end), np.maximum(last, 1)
    is_negative = codes[first] == _MINUS
    begin = first + is_negative
    length = last - begin
    odd = (length < 1) | (length > (_WHOLE_BYTES_MAX if is_whole else _BYTES_MAX))
    odd |= last < (length + WORD_BYTES - 1) // WORD_BYTES * WORD_BYTES  # no whole word before it
    lead, second = codes[np.minimum(begin, end)], codes[np.minimum(begin + 1, end)]
    odd |= (lead == _ZERO) & (length > 1) & (second != _POINT)
    odd |= ~_are_digits(lead)
    points = np.zeros(len(first), dtype=np.uint8)
    values = np.zeros(len(first), dtype=np.int64)
    longest = int(length[~odd].max(initial=0))
    for behind in range(0, longest, WORD_BYTES):
        counted = _ENDS[np.minimum(np.maximum(length - behind, 0), WORD_BYTES)]
        found = lines.words[np.maximum(last - behind - WORD_BYTES, 0)]
        each = found.view(np.uint8)
        others = (~_are_digits(each)).view(np.uint64) & counted
        if others.any():
            are_points = (each == _POINT).view(np.uint64) & counted
            odd |= others != are_points
            points += np.bitwise_count(are_points)
        if is_whole:
            values += _joined(found & counted) * 10**behind
    if points.any():
        final = codes[last - 1]
        odd |= (points > (0 if is_whole else 1)) | (final == _POINT)
    return odd, np.where(is_negative, -values, values) if is_negative.any() else values


def _joined(digits: np.ndarray) -> np.ndarray:
    """Read words of eight digits; a byte of zero is a zero."""
    for mask, ten, width in _STEPS:
        digits = ((digits & mask) * ten) >> width
    return digits.view(np.int64)


def _are_digits(codes: np.ndarray) -> np.ndarray:
    return codes - np.uint8(_ZERO) < _DIGITS
