"""Databases whose errors have names, and that keep what was committed."""

import sqlite3
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

from headrace.errors import (
    DatabaseDamagedError,
    DatabaseFullError,
    DatabaseUnavailableError,
    disk_of,
)

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# of these SQLite does not say why; a sync that fails is not among them, for it may have been done
_NOT_WRITTEN = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
    }
)
_ROOM_BYTES = 1024 * 1024  # what a transaction needs at most, by far
_POSTGRES_FULL = "53100"


def name_errors(engine: sa.Engine, database: str) -> Callable[[], None]:
    """Let a locked, full, damaged or unreachable database raise a `DatabaseUnavailableError`.

    Broken constraints and wrong SQL stay what they are: callers and bugs need to be told apart.
    What is returned undoes it.
    """

    def name_error(context: sa.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, OperationalError | InterfaceError) or (
            type(error) is DatabaseError  # a damaged file
        ):
            raise error_of(database, context.original_exception, path=engine.url.database or "")

    sqlalchemy.event.listen(engine, "handle_error", name_error)
    return lambda: sqlalchemy.event.remove(engine, "handle_error", name_error)


def error_of(database: str, error: BaseException, *, path: str) -> DatabaseUnavailableError:
    """Name what a database said. SQLite calls a full disk an I/O error where it maps memory."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code & 0xFF in _DAMAGED:
        return DatabaseDamagedError(database, str(error), path=path)
    full = code & 0xFF == sqlite3.SQLITE_FULL or getattr(error, "pgcode", "") == _POSTGRES_FULL
    if code in _NOT_WRITTEN:
        _, free_bytes = disk_of(path)
        full = free_bytes is not None and free_bytes < _ROOM_BYTES
    if full:
        return DatabaseFullError(database, str(error), path=path)
    return DatabaseUnavailableError(database, str(error))


def in_memory() -> str:
    """Return the address of an empty database in memory, which lives as long as it is open."""
    return f"sqlite:///file:{uuid.uuid4().hex}?mode=memory&cache=shared&uri=true"


def prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Let readers not block writers, and let what was committed survive a power cut.

    With less than `full` the last transactions may be undone: a reported commit, or the record of
    a snapshot whose expiry is durable in the catalog already.
    """
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")


def prepare_passing(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Let what is committed be lost in a power cut, which saves waiting for the disk."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
