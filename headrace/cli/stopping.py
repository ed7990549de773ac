"""Ends a command that goes on for ever: an interrupt or a termination lets it finish what it is doing."""

import contextlib
import signal
import threading
from collections.abc import Generator


@contextlib.contextmanager
def stopping() -> Generator[threading.Event]:
    """Yield an event that an interrupt or a termination sets, so that the current action ends well."""
    stop = threading.Event()

    def told(*_: object) -> None:
        # not in here: the handler runs in the main thread, which keeps the event's lock for a moment
        # when it begins to wait, and would wait for itself
        threading.Thread(target=stop.set, daemon=True).start()

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
