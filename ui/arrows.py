"""Bend arrows around nodes and names; pure. All in pixels of the drawing, y points down."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

NODE_PX = 26
_NAME_TOP_PX, _NAME_BOTTOM_PX = 17, 50  # of the two lines below a node's middle
_LETTER_PX = 7.2  # of the name, in bold; a detail is narrower
_CLEAR_PX = 4
_STEP_PX, _STEPS = 8.0, 12
_PARTS = 32  # places looked at along an arrow
_DETOUR_PX = 200.0  # as much of a detour is as bad as a name that is crossed

Floats = npt.NDArray[np.float64]
Place = tuple[float, float]
Pair = tuple[str, str]


def bends(
    places: Mapping[str, Place], names: Mapping[str, str], arrows: Mapping[Pair, float]
) -> dict[Pair, float]:
    """Choose for each arrow how far its middle leaves the straight line, downwards.

    What crosses few names and nodes wins, without a long detour from the bend wished for.

    Args:
        places: The middle of each node.
        names: The longest line below each node.
        arrows: The bend that is wished for.

    """
    ids = list(places)
    boxes = np.array([_box(places[each], names.get(each, "")) for each in ids]).reshape(-1, 4)
    middles = np.array([places[each] for each in ids]).reshape(-1, 2)
    found: dict[Pair, float] = {}
    for (start, end), wished in arrows.items():
        tried = wished + _STEP_PX * np.arange(-_STEPS, _STEPS + 1)
        lines = np.array([line(places[start], places[end], bend_px=bend) for bend in tried])
        ends = np.array([each in (start, end) for each in ids])
        over_nodes = _crossed(lines, _around(middles)) & ~ends
        crossings = _crossed(lines, boxes).sum(axis=1) + over_nodes.sum(axis=1)
        cost = crossings + np.abs(tried - wished) / _DETOUR_PX
        found[start, end] = float(tried[np.argmin(cost)])
    return found


def line(start: Place, end: Place, *, bend_px: float) -> Floats:
    """Return places along an arrow: a quadratic curve whose middle is `bend_px` below the straight."""
    (x1, y1), (x2, y2) = start, end
    along = np.linspace(0, 1, _PARTS)
    way = np.stack([x1 + along * (x2 - x1), y1 + along * (y2 - y1)], axis=1)
    off = 4 * along * (1 - along) * bend_px  # of the middle, 1
    run = x2 - x1
    if run:  # the curve leaves the line at a right angle
        way += np.stack([-off * (y2 - y1) / run, off], axis=1)
    return way


def _box(place: Place, name: str) -> tuple[float, float, float, float]:
    half = len(name) * _LETTER_PX / 2 + _CLEAR_PX
    x, y = place
    return (x - half, y + _NAME_TOP_PX, x + half, y + _NAME_BOTTOM_PX)


def _around(middles: Floats) -> Floats:
    reach = NODE_PX / 2 + _CLEAR_PX
    return np.concatenate([middles - reach, middles + reach], axis=1)


def _crossed(lines: Floats, boxes: Floats) -> npt.NDArray[np.bool_]:
    """Say for each line and box whether a place of the line lies in the box."""
    x, y = lines[:, :, None, 0], lines[:, :, None, 1]
    left, top, right, bottom = boxes.T
    return ((x > left) & (x < right) & (y > top) & (y < bottom)).any(axis=1)
