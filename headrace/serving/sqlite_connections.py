"""Connections to one SQLite file: one that writes, and as many that read as ever read at once.

In WAL mode a reader sees what was committed before it began, whatever is written meanwhile. So a read
must not share the connection of a write, nor wait for it.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.registry import error_of

_DATABASE = "online store"  # its name in errors
_WAIT_S = 30
_LOG_BYTES_MAX = 64 * 1024 * 1024
_SHORTEN_MS_MAX = 1_000


class Connections:
    """Transactions on one file; safe to share between threads.

    Args:
        path: The file.
        log_bytes_max: How long the log beside it gets before it is written back to its beginning: while
            readers overlap without a gap, SQLite never does that by itself.

    Raises:
        DatabaseUnavailableError: Here and later, if the file is locked, full or damaged.

    """

    def __init__(self, path: Path, *, log_bytes_max: int = _LOG_BYTES_MAX) -> None:
        self._path, self._lock = path, threading.Lock()
        self._log, self._log_bytes_max = path.with_name(f"{path.name}-wal"), log_bytes_max
        self._idle = deque[sqlite3.Connection]()
        self._closed = False
        with self._naming():
            self.writer = self._connect()
            try:
                self.writer.execute("pragma journal_mode = wal")
                self.writer.execute("pragma synchronous = full")
            except BaseException:
                self.writer.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
        )

    @contextmanager
    def writing(self) -> Generator[sqlite3.Cursor]:
        """Write in one transaction, alone: others that write wait."""
        with self._lock, self._naming():
            with _transaction(self.writer, "begin immediate") as cursor:
                yield cursor
            self._shorten_log()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Cursor]:
        """Read what is committed now, without a wait for who writes."""
        with self._naming():
            connection = self._reader()
            try:
                with _transaction(connection, "begin") as cursor:
                    yield cursor
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            if self._closed:  # it came back behind `close`
                self._close_idle()

    def close(self) -> None:
        """Release the file; readers at work release it at their end."""
        self._closed = True
        self.writer.close()
        self._close_idle()

    def _shorten_log(self) -> None:
        """Wait for the readers of what was before the last commit, a moment at most; new ones go on.

        A disk without room for it fails no write: that is committed, and the next one tries again.
        """
        if self._log.exists() and self._log.stat().st_size > self._log_bytes_max:
            self.writer.execute(f"pragma busy_timeout = {_SHORTEN_MS_MAX}")
            with suppress(sqlite3.OperationalError):
                self.writer.execute("pragma wal_checkpoint(truncate)")
            self.writer.execute(f"pragma busy_timeout = {_WAIT_S * 1_000}")

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._connect()
            connection.execute("pragma query_only = on")
            return connection

    def _close_idle(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    @contextmanager
    def _naming(self) -> Generator[None]:
        """Name the database's errors; wrong SQL and violated constraints are raised as they are."""
        try:
            yield
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError:
                raise error_of(_DATABASE, error, path=str(self._path)) from error
            raise


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Generator[sqlite3.Cursor]:
    cursor = connection.cursor()
    try:
        cursor.execute(begin)
        try:
            yield cursor
            cursor.execute("commit")
        except BaseException:
            if connection.in_transaction:  # a full disk ends it
                cursor.execute("rollback")
            raise
    finally:
        cursor.close()
