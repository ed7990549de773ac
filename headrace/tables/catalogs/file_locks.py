"""Locks of a lake as files in a folder, which hold between the processes of one host."""

import contextlib
import fcntl
from collections.abc import Generator
from pathlib import Path

from headrace.errors import StorageError
from headrace.identifiers import TableName
from headrace.tables.locks import WAIT_S_MAX, reentrant, wait_for

_POLL_S = 0.005


class FileLocks:
    """One file per name in `folder`, which is made when the first lock is taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def hold(self, name: TableName | str, *, wait_s_max: float = WAIT_S_MAX) -> Generator[None]:
        """Hold the lock of a table or namespace: see `Locks.hold`."""
        key = (str(self._folder.resolve()), str(name))
        with reentrant(key, self._locked(str(name), wait_s_max=wait_s_max)):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait_s_max: float) -> Generator[None]:
        path = self._folder / f"{name}.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            opened = path.open("w")
        except OSError as error:
            raise StorageError.of(str(path), error) from error
        with opened as handle:  # closing it releases the lock

            def taken() -> bool:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            wait_for(taken, name, wait_s_max=wait_s_max, poll_s=_POLL_S)
            yield
