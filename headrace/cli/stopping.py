"""Ends a command that goes on for ever: an interrupt or a termination lets it finish what it is doing."""

import contextlib
import signal
import threading
from collections.abc import Generator


@contextlib.contextmanager
def stopping() -> Generator[threading.Event]:
    """Yield an event that an interrupt or a termination sets, so that the current action ends well."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
