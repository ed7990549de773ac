"""Waiting for what other threads and processes do, with an end."""

import time
from collections.abc import Callable

_LOOK_S = 0.02


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for a condition, and return whether it came true in time."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(_LOOK_S)
    return True
