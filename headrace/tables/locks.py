"""One writer per table, so that maintenance and ingestion take turns: what every form of lock keeps.

The forms lie in `catalogs`, where `catalogs/open.py` chooses one for the catalog of a lake.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Protocol

from headrace.errors import CatalogBusyError
from headrace.identifiers import TableName

WAIT_S_MAX = 120.0
# a thread may hold a lock through several handles on one lake, so its locks are kept by thread
_THREAD = threading.local()


class Locks(Protocol):
    """The locks of one lake, one for each name of a table or namespace.

    Commits stay correct without them, by optimistic concurrency: a lock only saves retries. Names
    are independent of each other, and so are lakes that share a folder's parent or a database.
    """

    def hold(
        self, name: TableName | str, *, wait_s_max: float = WAIT_S_MAX
    ) -> AbstractContextManager[None]:
        """Hold the lock of a table or namespace; it is released when the holder dies.

        A thread that holds a lock may take it again: a caller that must not lose a race holds it
        from planning to the commit, which takes it too. A failed release is not reported, because
        what was done under the lock stands: the lock is released with its connection.

        Raises:
            CatalogBusyError: If another thread or process keeps it longer than `wait_s_max`.
            DatabaseUnavailableError: If the lock is in a database that does not answer.
            StorageError: If the lock is a file that cannot be made.

        """
        ...


@contextlib.contextmanager
def reentrant(key: tuple[str, ...], lock: AbstractContextManager[None]) -> Generator[None]:
    """Hold `lock`, unless this thread holds the one of this key already."""
    held: set[tuple[str, ...]] = _THREAD.__dict__.setdefault("held", set())
    if key in held:
        yield
        return
    with lock:
        held.add(key)
        try:
            yield
        finally:
            held.discard(key)


def wait_for(taken: Callable[[], bool], name: str, *, wait_s_max: float, poll_s: float) -> None:
    """Try every `poll_s` seconds until the lock is `taken`.

    Raises:
        CatalogBusyError: If it is still not taken after `wait_s_max` seconds.

    """
    deadline = time.monotonic() + wait_s_max
    attempts = 1
    while not taken():
        if time.monotonic() > deadline:
            raise CatalogBusyError(name, attempts=attempts)
        attempts += 1
        time.sleep(poll_s)
