"""Waiting for what other threads and processes do, with an end."""

import time
from collections.abc import Callable

_LOOK_S = 0.02
# for what takes a second on idle cores, below the time limit of a test: only a fault takes as long
WAIT_S = 240.0


def wait_until(condition: Callable[[], bool], *, seconds: float = WAIT_S) -> bool:
    """Wait for a condition, and return whether it came true in time."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(_LOOK_S)
    return True
