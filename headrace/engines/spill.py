"""Gives every engine its own spill folder, because DuckDB numbers its files without a lock."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import duckdb
import pyarrow as pa

from headrace.errors import StorageError, StorageFullError

_LOCK = "lock"
_NO_ROOM = (
    "failed to offload data block",
    "No space left on device",
)  # DuckDB has no error type for it


class SpillFolder:
    """A folder below `parent` that only its holder uses, removed when closed.

    Two DuckDBs that spill into one folder read each other's pages. Creating a folder removes those
    of processes that died.

    Raises:
        StorageError: If the folder cannot be created.

    """

    def __init__(self, parent: Path) -> None:
        try:
            self._make(parent)
        except OSError as error:
            raise StorageError.of(str(parent), error) from error

    def _make(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        # one process at a time: no folder may be swept between its creation and its lock
        with (parent / _LOCK).open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            _sweep(parent)
            self.path = Path(tempfile.mkdtemp(prefix="engine-", dir=parent))
            self._handle = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR)
            fcntl.flock(self._handle, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder; closing again does nothing."""
        if self._handle < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)
        self._handle = -1


@contextlib.contextmanager
def naming_full(folder: Path) -> Generator[None]:
    """Raise `StorageFullError` for an engine's error if the disk of its spill `folder` is full.

    Raises:
        StorageFullError: Instead of the engine's error.

    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if any(said in str(error) for said in _NO_ROOM):
            raise StorageFullError.at(str(folder), str(error)) from error
        raise


def _sweep(parent: Path) -> None:
    for folder in parent.glob("engine-*"):
        try:
            handle = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
        except OSError:  # its engine was closed and removed it
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
