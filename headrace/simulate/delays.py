"""How long after an impression its click comes, how long after a click a watch ends, and the edges."""

import numpy as np

from headrace.simulate.draws import PPM, Quantiles
from headrace.simulate.plan import (
    CLICK_WINDOW_US,
    HOUR_US,
    LONG_WATCH_WINDOW_US,
    MINUTE_US,
    SECOND_US,
)

CLICK_DELAY = Quantiles(
    (0, SECOND_US // 2),
    (500_000, 8 * SECOND_US),
    (850_000, 2 * MINUTE_US),
    (960_000, 20 * MINUTE_US),
    (1_000_000, 3 * HOUR_US),
)
WATCH_DELAY = Quantiles(
    (0, 30 * SECOND_US),
    (500_000, 4 * MINUTE_US),
    (850_000, 40 * MINUTE_US),
    (960_000, 3 * HOUR_US),
    (1_000_000, 7 * HOUR_US),
)
# Edge cases of the label windows, to detect off-by-one errors: at the impression, at the end of
# the window, just inside it, and before the impression because of a skewed clock.
EDGE_PPM = 20_000
CLICK_EDGES = np.array([0, CLICK_WINDOW_US, CLICK_WINDOW_US - 1, -2 * SECOND_US], dtype=np.int64)
WATCH_EDGES = np.array([LONG_WATCH_WINDOW_US, LONG_WATCH_WINDOW_US - 1], dtype=np.int64)


def click_in_window_ppm() -> int:
    """Return how many of a million first clicks happen within the label window, but for lost ones."""
    inside = CLICK_DELAY.share_below(CLICK_WINDOW_US)
    edges = (CLICK_EDGES >= 0) & (CLICK_EDGES < CLICK_WINDOW_US)
    edge = PPM * int(edges.sum()) // CLICK_EDGES.size
    return ((PPM - EDGE_PPM) * inside + EDGE_PPM * edge) // PPM
