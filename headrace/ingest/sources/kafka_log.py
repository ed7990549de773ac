"""What Kafka's client says of its connections, once: it repeats a failure many times a second."""

import logging
import time
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_AGAIN_S = 60.0
_TEXTS_MAX = 100


class Once:
    """A logger of the client that passes each text on once a minute.

    Where no broker listens the client tries again twenty times a second, and says so each time.
    """

    def __init__(
        self, log: logging.Logger = _LOG, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._now_s = log, now_s
        self._said_s: dict[str, float] = {}

    def log(self, level: int, form: str, *args: object) -> None:
        """Pass a text on, unless it was within the last minute; how long an attempt took is no other text."""
        # the second part names the thread and its broker after the client, which are many
        text = form % args if args else form
        key = text.rpartition("]: ")[2].partition(" (after ")[0]
        now_s = self._now_s()
        if now_s - self._said_s.get(key, -_AGAIN_S) < _AGAIN_S:
            return
        if len(self._said_s) >= _TEXTS_MAX:
            self._said_s.clear()
        self._said_s[key] = now_s
        self._log.log(level, "%s", text)
