"""Databases whose errors have names, and that keep what was committed."""

import functools
import math
import sqlite3
import time
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
import sqlalchemy.exc
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.pool import PoolProxiedConnection
from typing_extensions import override

from headrace.errors import (
    DatabaseDamagedError,
    DatabaseDeniedError,
    DatabaseFullError,
    DatabaseUnavailableError,
    disk_of,
)
from headrace.registry.closed_connections import notice_closed

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNWRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})
# SQLite does not say why these failed; a failed sync is not among them: it may have been done
_NOT_WRITTEN = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
    }
)
_WAL_WAIT_S, _WAL_PAUSE_S = 30.0, 0.02  # others make the same change, in milliseconds
_ROOM_BYTES = 1024 * 1024  # what a transaction needs at most, by far
_POSTGRES_FULL = "53100"
_POSTGRES_DENIED = "42501"
_POSTGRES_IDLE = "25P03"  # the server ended a transaction that had been idle
_DRIVER = "postgresql+psycopg2"  # an address without one means it too
_KEPT_CONNECTIONS, _CONNECTIONS_MAX = 5, 20  # of one process to one database
_KEEPALIVE_S = 10


def name_errors(engine: sa.Engine, database: str) -> Callable[[], None]:
    """Let a locked, full, damaged or unreachable database raise a `DatabaseUnavailableError`.

    Violated constraints and wrong SQL are raised as they are: those are bugs. Returns a function
    that undoes this.

    Raises:
        DatabaseDeniedError: Later, by each statement that its role may not run.
        DatabaseUnavailableError: Later, by each statement that the database does not answer.

    """

    def name_error(context: sa.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if getattr(context.original_exception, "pgcode", "") == _POSTGRES_DENIED:
            raise DatabaseDeniedError(database, str(context.original_exception).splitlines()[0])
        if isinstance(error, OperationalError | InterfaceError) or (
            type(error) is DatabaseError  # a damaged file
            or getattr(context.original_exception, "pgcode", "") == _POSTGRES_IDLE
        ):
            raise error_of(database, context.original_exception, path=engine.url.database or "")

    sqlalchemy.event.listen(engine, "handle_error", name_error)
    return lambda: sqlalchemy.event.remove(engine, "handle_error", name_error)


def error_of(database: str, error: BaseException, *, path: str) -> DatabaseUnavailableError:
    """Return the named error for a driver's error.

    SQLite calls a full disk an I/O error where it maps memory.
    """
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code & 0xFF in _DAMAGED:
        return DatabaseDamagedError(database, str(error), path=path)
    full = code & 0xFF == sqlite3.SQLITE_FULL or getattr(error, "pgcode", "") == _POSTGRES_FULL
    if code in _NOT_WRITTEN:
        _, free_bytes = disk_of(path)
        full = free_bytes is not None and free_bytes < _ROOM_BYTES
    if full:
        return DatabaseFullError(database, str(error), path=path)
    if code & 0xFF in _UNWRITABLE:
        text = f"{error}; this process must be able to write `{path}` and its folder, also to read"
        return DatabaseUnavailableError(database, text)
    return DatabaseUnavailableError(database, str(error))


def open_engine(uri: str, *, wait_s: float, durable: bool = True) -> sa.Engine:
    """Open the registry's database: a SQLite file, or a PostgreSQL server.

    Args:
        uri: The database, as SQLAlchemy names it.
        wait_s: How long to wait for a lock, in seconds, or for a server to answer.
        durable: Whether what is committed survives a power cut.

    """
    url = sa.make_url(uri)
    if url.get_backend_name() == "postgresql":
        return open_postgres(uri, database="registry", wait_s=wait_s, durable=durable)
    # as for files by default, said for databases in memory
    arguments: dict[str, Any] = {"timeout": wait_s, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=arguments, poolclass=sa.QueuePool)
    sqlalchemy.event.listen(engine, "connect", prepare_sqlite if durable else _prepare_passing)
    name_errors(engine, "registry")
    return engine


def open_postgres(uri: str, *, database: str, wait_s: float, durable: bool = True) -> sa.Engine:
    """Open a database on a PostgreSQL server; `database`, catalog or registry, is its name in errors.

    Transactions read what is committed, whatever the server or the role has as its default: above
    that a commit fails with an error that says nothing of who won. A connection that the server has
    closed is noticed before it is used, and one that it never answers after `wait_s`.
    """
    engine = sa.create_engine(
        sa.make_url(uri).set(drivername=_DRIVER),
        connect_args=_connect_arguments(wait_s),
        poolclass=_POOLS[database],
        pool_size=_KEPT_CONNECTIONS,
        max_overflow=_CONNECTIONS_MAX - _KEPT_CONNECTIONS,
        pool_timeout=wait_s,
    )
    notice_closed(engine)
    prepare = functools.partial(_prepare_postgres, wait_s=wait_s, durable=durable)
    sqlalchemy.event.listen(engine, "connect", prepare)
    name_errors(engine, database)
    return engine


def open_sessions(engine: sa.Engine, *, wait_s: float) -> sa.Engine:
    """Open the database of an engine once more, for locks that a session holds.

    As many connections as threads need, each closed after its use but a few.
    """
    sessions = sa.create_engine(
        engine.url,
        connect_args=_connect_arguments(wait_s),
        isolation_level="AUTOCOMMIT",
        max_overflow=-1,
    )
    notice_closed(sessions)
    return sessions


def _connect_arguments(wait_s: float) -> dict[str, Any]:
    return {
        "connect_timeout": max(2, math.ceil(wait_s)),  # whole seconds, and at least two, says libpq
        "keepalives_idle": _KEEPALIVE_S,
        "keepalives_interval": _KEEPALIVE_S,
        "keepalives_count": 3,
        "tcp_user_timeout": math.ceil(wait_s * 1000),
    }


class _CatalogPool(sa.QueuePool):
    """A pool whose lack of free connections has a name."""

    database = "catalog"

    @override
    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except sqlalchemy.exc.TimeoutError as error:
            detail = f"all {self.size()} connections of this process are in use"
            raise DatabaseUnavailableError(self.database, detail) from error


class _RegistryPool(_CatalogPool):
    database = "registry"


_POOLS = {"catalog": _CatalogPool, "registry": _RegistryPool}


def make_schema(engine: sa.Engine) -> None:
    """Make the schema that a database's address names by its search path, if it is not there."""
    with engine.begin() as connection:
        if connection.scalar(sa.select(sa.func.current_schema())) is None:
            path = str(connection.scalar(sa.text("show search_path")))
            name = path.partition(",")[0].strip().strip('"')
            quoted = connection.dialect.identifier_preparer.quote(name)
            connection.exec_driver_sql(f"create schema if not exists {quoted}")


def address_of(uri: str) -> str:
    """Write a database's address without its password, which may stand in the query too."""
    url = sa.make_url(uri)
    secret = [key for key in url.query if "password" in key.lower()]
    hidden = url.update_query_dict(dict.fromkeys(secret, "***"))
    return hidden.render_as_string(hide_password=True)


def in_memory() -> str:
    """Return the address of an empty database in memory, which lives as long as it is open."""
    return f"sqlite:///file:{uuid.uuid4().hex}?mode=memory&cache=shared&uri=true"


def prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Let readers not block writers, and committed transactions survive a power cut.

    With less than `full` a power cut may undo the last transactions: a reported commit, or the
    record of a snapshot whose expiry is durable in the catalog already.
    """
    _use_wal(connection)
    connection.execute("pragma synchronous = full")


def _prepare_passing(connection: Any, _record: object) -> None:  # noqa: ANN401 - as above
    """Let a power cut undo the last transactions, which saves waiting for the disk."""
    _use_wal(connection)
    connection.execute("pragma synchronous = normal")


def _use_wal(connection: Any) -> None:  # noqa: ANN401 - as above
    """Keep a log of changes. SQLite does not wait where another is writing to a database without one."""
    give_up_at = time.monotonic() + _WAL_WAIT_S
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return


def _prepare_postgres(
    connection: Any,  # noqa: ANN401 - as above
    _record: object,
    *,
    wait_s: float,
    durable: bool,
) -> None:
    """Bound the wait for locks; a server that does not sync by default does so for what is durable.

    The isolation is that of the session: one that the driver sets is set again by each statement that
    is sent alone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select set_config('lock_timeout', %s, false),"
            " set_config('default_transaction_isolation', 'read committed', false)",
            (f"{wait_s * 1000:.0f}ms",),
        )
        if durable:
            cursor.execute(
                "select set_config('synchronous_commit', 'on', false)"
                " where current_setting('synchronous_commit') = 'off'"
            )
        else:
            cursor.execute("set synchronous_commit = off")
    connection.commit()
