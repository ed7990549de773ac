"""A database in the state folder for facts about files: a cache shared by all processes.

Deleting it costs reading the files again. A row says how its file lay on disk; where the file
differs by now, the row is of no use.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from pyiceberg.io import FileIO

from headrace.errors import CorruptFileError
from headrace.storage.failures import unreadable
from headrace.storage.folders import Facts
from headrace.storage.open import folders_of

DATABASE = "verified.db"
_WAIT_S = 10.0
# a change within the clock's tick of the last one leaves the time of change as it was
_SETTLED_NS = 100_000_000
_INODE_MASK = (1 << 63) - 1  # SQLite holds signed integers; overlays number inodes beyond those
T = TypeVar("T")


@dataclass(frozen=True)
class FileState:
    """How a file lies on disk: when any of it differs, the file may hold something else.

    In a store of objects `inode` stands for the token that the store gives each content, and no time
    is needed.
    """

    bytes: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: str, io: FileIO) -> "FileState":
        """Look at a file; `io` is that of its table.

        Raises:
            CorruptFileError: If it is missing.
            StoreUnavailableError: If its store does not answer.

        """
        return cls._local(path) if path.startswith("/") else cls._remote(path, io)

    @classmethod
    def all_of(cls, paths: Collection[str], io: FileIO) -> "dict[str, FileState | None]":
        """Look at many files, None where one is missing; in a store at many in one request.

        Raises:
            StoreUnavailableError: If their store does not answer.

        """
        remote = [path for path in paths if not path.startswith("/")]
        found: dict[str, FileState | None] = {}
        for path in paths:
            if path.startswith("/"):
                with contextlib.suppress(CorruptFileError):
                    found[path] = cls._local(path)
        if remote:
            try:
                looks = folders_of(remote[0], io, table=remote[0]).stats(remote)
            except OSError as error:
                raise unreadable(remote[0], error) from error
            found |= {path: None if it is None else cls._told(it) for path, it in looks.items()}
        return {path: found.get(path) for path in paths}

    @classmethod
    def _local(cls, path: str) -> "FileState":
        try:
            found = os.stat(path)  # noqa: PTH116  thousands at once: a path object costs more
        except OSError as error:
            raise CorruptFileError(path, str(error)) from error
        return cls(found.st_size, found.st_mtime_ns, found.st_ino & _INODE_MASK)

    @classmethod
    def _remote(cls, path: str, io: FileIO) -> "FileState":
        try:
            found = folders_of(path, io, table=path).stat(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if found is None:
            raise CorruptFileError(path, "it is not there")
        return cls._told(found)

    @classmethod
    def _told(cls, found: Facts) -> "FileState":
        # the token says more than a time, which has whole seconds
        token = int.from_bytes(blake2b(found.token.encode(), digest_size=8).digest(), "big")
        return cls(found.bytes, 0, token & _INODE_MASK)

    def is_settled(self, *, at_ns: int) -> bool:
        """Whether a change since would show, if the file was looked at then (epoch nanoseconds)."""
        return abs(at_ns - self.changed_ns) > _SETTLED_NS


def is_gone(path: str) -> bool:
    """Whether a row of this path is of no use: its file is gone. Stores are not asked for that.

    Rows of objects are dropped as if they were gone, and made again for those that are not.
    """
    return not (path.startswith("/") and Path(path).exists())


class FileCache:
    """The database of one state folder. Safe to use from threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / DATABASE

    def recall(self, act: Callable[[sqlite3.Connection], list[T]]) -> list[T]:
        """Return what a query finds; nothing where there is no database, or none to be used."""
        return (self._use(act) or []) if self._database.exists() else []

    def record(self, schema: str, act: Callable[[sqlite3.Connection], None]) -> None:
        """Write in one transaction, after making what `schema` says where it is missing."""

        def write(database: sqlite3.Connection) -> None:
            database.executescript(schema)
            with database:
                act(database)

        self._use(write)

    def _use(self, act: Callable[[sqlite3.Connection], T]) -> T | None:
        """Use the database; where it cannot be used, files are read again and no work fails."""
        try:
            with contextlib.closing(sqlite3.connect(self._database, timeout=_WAIT_S)) as database:
                database.execute("pragma journal_mode = wal")
                database.execute("pragma synchronous = normal")
                return act(database)
        except sqlite3.OperationalError:  # full, read-only or busy, or of an earlier version
            return None
        except sqlite3.DatabaseError:  # damaged
            with contextlib.suppress(OSError):
                self._database.unlink()
            return None
