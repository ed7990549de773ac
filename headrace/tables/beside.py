"""Work in a thread beside the caller's, one piece at a time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Beside:
    """Does what it is given in a thread of its own; the next piece waits for the one before.

    So at most one piece is done at a time, in order. What it raises comes out of the next call.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, once the one before is done."""
        self.wait()
        self._pool = self._pool or ThreadPoolExecutor(1, "headrace-write")
        self._running = self._pool.submit(work)

    def wait(self) -> None:
        """Return once all is done."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def end(self) -> None:
        """Let the thread end, whatever its work raises; idempotent."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = self._running = None
