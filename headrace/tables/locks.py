"""One writer per table on one host, so that maintenance and ingestion take turns."""

import contextlib
import fcntl
import time
from collections.abc import Generator
from pathlib import Path

from headrace.errors import CatalogBusyError

WAIT_S_MAX = 120.0
_POLL_S = 0.005


@contextlib.contextmanager
def table_lock(folder: Path, table: str, *, wait_s_max: float = WAIT_S_MAX) -> Generator[None]:
    """Hold the table's file lock; the kernel drops it when the process dies.

    Commits stay correct without it, by optimistic concurrency: the lock only saves retries.

    Raises:
        CatalogBusyError: If another process keeps it longer than `wait_s_max`.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{table}.lock").open("w") as handle:
        deadline = time.monotonic() + wait_s_max
        attempts = 1
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CatalogBusyError(table, attempts=attempts) from None
                attempts += 1
                time.sleep(_POLL_S)
            else:
                break
        yield
