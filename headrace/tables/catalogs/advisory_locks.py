"""Locks of a lake in the PostgreSQL database of its catalog, which hold across hosts."""

import contextlib
import hashlib
import weakref
from collections.abc import Generator

import sqlalchemy as sa
import sqlalchemy.event
from sqlalchemy.exc import SQLAlchemyError

from headrace.errors import CatalogBusyError, DatabaseUnavailableError
from headrace.iceberg.memo_catalog import CATALOG
from headrace.identifiers import TableName
from headrace.registry import error_of
from headrace.tables.locks import WAIT_S_MAX, reentrant, wait_for

_POLL_S = 0.05  # a file is asked ten times as often: asking a server costs it something


class AdvisoryLocks:
    """One advisory lock per lake and name, held by a connection of its own.

    Connections come from a pool of the locks' own, one for each thread that holds a lock or waits
    for one: from the catalog's pool, which is bounded, threads that wait could take every
    connection, and the one that holds the lock needs another to commit.

    Args:
        engine: The database of the catalog; where it is disposed of, the locks' connections close.
        lake: What tells this lake from others in the same database, the same on every host.

    """

    def __init__(self, engine: sa.Engine, *, lake: str) -> None:
        self._lake = lake
        own = sa.create_engine(
            engine.url, isolation_level="AUTOCOMMIT", max_overflow=-1, pool_pre_ping=True
        )
        # weakly: a catalog may outlive many handles on it, whose locks close with them
        dispose = weakref.WeakMethod(own.dispose)

        def dispose_too(_: sa.Engine) -> None:
            if (found := dispose()) is not None:
                found()

        sqlalchemy.event.listen(engine, "engine_disposed", dispose_too)
        self._engine = own

    @contextlib.contextmanager
    def hold(self, name: TableName | str, *, wait_s_max: float = WAIT_S_MAX) -> Generator[None]:
        """Hold the lock of a table or namespace: see `Locks.hold`."""
        key = (str(self._engine.url), self._lake, str(name))
        with reentrant(key, self._locked(str(name), wait_s_max=wait_s_max)):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait_s_max: float) -> Generator[None]:
        named = f"{self._lake}\n{name}".encode()
        key = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), signed=True)
        connection = self._connected()

        def taken() -> bool:
            with _naming_errors():
                return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))

        try:
            try:
                wait_for(taken, name, wait_s_max=wait_s_max, poll_s=_POLL_S)
            except CatalogBusyError:
                raise
            except BaseException:  # an interrupt, say: the lock may have been granted
                connection.invalidate()
                raise
            try:
                yield
            finally:
                _unlock(connection, key)
        finally:
            connection.close()

    def _connected(self) -> sa.Connection:
        # a session lock: it outlives the transactions of other connections and ends with this one
        with _naming_errors():
            return self._engine.connect()


def _unlock(connection: sa.Connection, key: int) -> None:
    """Release a lock; where that fails, close the session, which releases it too."""
    try:
        connection.scalar(sa.select(sa.func.pg_advisory_unlock(key)))
    except (SQLAlchemyError, DatabaseUnavailableError):
        connection.invalidate()


@contextlib.contextmanager
def _naming_errors() -> Generator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise error_of(CATALOG, getattr(error, "orig", error), path="") from error
