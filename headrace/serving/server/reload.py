"""Does again what a server is told to by SIGHUP, in a thread of its own."""

import queue
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Hangups:
    """SIGHUPs of this process: each is noted from the start on, and acted on once that is possible.

    By default the signal would end the process: while it starts, and while it ends.
    """

    def __init__(self) -> None:
        # its `put` may come in between another one, as in a handler of signals
        self._told = queue.SimpleQueue[bool]()

    @contextmanager
    def noted(self) -> Generator[None]:
        """Note those that come from now on; only the main thread can."""
        before = signal.signal(signal.SIGHUP, lambda *_: self._told.put(True))
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    @contextmanager
    def acted_on(self, act: Callable[[], None]) -> Generator[None]:
        """Call `act` for what was noted and will be; at the end, one that is begun is waited for.

        It runs in one thread: of two calls the later one, which reads the newer files, ends last. Those
        that come before one begins are answered by that one.
        """
        thread = threading.Thread(target=self._follow, args=(act,), name="reload")
        thread.start()
        try:
            yield
        finally:
            self._told.put(False)
            thread.join()

    def _follow(self, act: Callable[[], None]) -> None:
        while self._is_told():
            act()

    def _is_told(self) -> bool:
        """Wait until there is something to do; False at the end, whatever came before it."""
        told = self._told.get()
        while not self._told.empty():
            told = self._told.get() and told
        return told
