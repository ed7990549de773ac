"""Renewing leases of writes: a thread of the process that holds them, while it holds any."""

import contextlib
import threading
from collections.abc import Callable, Collection

from headrace.errors import DatabaseUnavailableError

EVERY_S = 60.0


class Heartbeat:
    """Calls `renew` with the ids that are kept, every `EVERY_S`.

    Args:
        renew: Renews the leases of ids, as far as they are held. A registry that does not answer
            is asked again at the next beat.

    """

    def __init__(self, renew: Callable[[Collection[str]], object]) -> None:
        self._renew = renew
        self._kept: set[str] = set()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def keep(self, write_id: str) -> None:
        """Renew an id from now on."""
        with self._guard:
            self._kept.add(write_id)
            # a thread does not live on in a forked process
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._beat, name="renewing leases of writes", daemon=True
                )
                self._thread.start()

    def drop(self, write_ids: Collection[str]) -> None:
        """Renew these ids no more; unknown ones are ignored."""
        with self._guard:
            self._kept.difference_update(write_ids)

    def keeps(self, write_id: str) -> bool:
        """Whether an id was announced by this process and has not ended."""
        with self._guard:
            return write_id in self._kept

    def stop(self) -> None:
        """End the thread, at once."""
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(EVERY_S):
            with self._guard:
                kept = frozenset(self._kept)
                if not kept:
                    self._thread = None
                    return
            with contextlib.suppress(DatabaseUnavailableError):
                self._renew(kept)
