"""Waiting for what other threads and processes do, with an end."""

import time
from collections.abc import Callable

_LOOK_S, _LOOK_S_MAX = 0.02, 0.2
# a look may read a table: most of a wait is left to the process that is waited for
_PAUSE = 4
# for what takes a second on idle cores, below the time limit of a test: only a fault takes as long
WAIT_S = 240.0


def wait_until(condition: Callable[[], bool], *, seconds: float = WAIT_S) -> bool:
    """Wait for a condition, and return whether it came true in time."""
    end_s = time.monotonic() + seconds
    began_s = time.thread_time()
    while not condition():
        if time.monotonic() > end_s:
            return False
        took_s = time.thread_time() - began_s
        time.sleep(min(max(_LOOK_S, _PAUSE * took_s), _LOOK_S_MAX))
        began_s = time.thread_time()
    return True
