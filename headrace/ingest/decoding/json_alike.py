"""Which JSON lines are written alike: most have one of few shapes, by which they are read."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from headrace.ingest.decoding.json_shape import Declared, Shape
from headrace.ingest.decoding.lines import unreadable
from headrace.ingest.sources.line_block import LineBlock

_LINES = 4_096  # read at once: what is looked at several times stays in a core's cache
_BYTES_MAX = 2**31 - 64  # of these; places in texts have 32 bits
_LINES_MIN, _SHARE_MIN = 256, 0.25  # so many lines may be alike, and so many of them are
_TRIED = 64  # lines, of which so many have to have a shape before all are read by it
_SHAPES_MAX = 4


def read_alike(
    lines: Sequence[bytes], declared: Declared, *, strict: bool
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Read lines by their shapes; yield their places and rows. It ends where no line is like another.

    Args:
        lines: Any lines.
        declared: The keys to read.
        strict: Whether to leave out lines with a value of another key.

    """
    shapes: list[Shape] = []
    for first in range(0, len(lines), _LINES):
        block = LineBlock.of(lines[first : first + _LINES])
        if len(block.data) > _BYTES_MAX:
            return
        fit = np.ones(len(block), dtype=bool)
        fit[list(unreadable(block))] = False
        left = np.flatnonzero(fit)
        for shape in tuple(shapes):
            found, table = _read(shape, block, left)
            if len(found) < len(left) * _SHARE_MIN:
                shapes.remove(shape)
            yield first + found, table
            left = _without(left, found)
        for number in range(len(shapes), _SHAPES_MAX):
            if len(left) < _LINES_MIN:
                break
            line = block[int(left[len(left) * number // _SHAPES_MAX])]
            shape = Shape.of(line, declared, strict=strict)
            if shape is None or not _is_of_many(shape, block.only(left[:: len(left) // _TRIED])):
                continue
            shapes.append(shape)
            found, table = _read(shape, block, left)
            yield first + found, table
            left = _without(left, found)
        if not shapes:
            return


def _read(shape: Shape, block: LineBlock, left: np.ndarray) -> tuple[np.ndarray, pa.Table]:
    """Read some lines of a block; most of them where they are, for a copy would cost more."""
    if len(left) > len(block) // 2:
        return shape.read(block, left)
    found, table = shape.read(block.only(left))
    return left[found], table


def _without(left: np.ndarray, found: np.ndarray) -> np.ndarray:
    is_left = np.ones(int(left.max(initial=0)) + 1, dtype=bool)
    is_left[found] = False
    return left[is_left[left]]


def _is_of_many(shape: Shape, tried: LineBlock) -> bool:
    return len(shape.read(tried)[0]) >= len(tried) * _SHARE_MIN
