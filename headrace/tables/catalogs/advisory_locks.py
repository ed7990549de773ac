"""Locks of a lake in the PostgreSQL database of its catalog, which hold across hosts."""

import contextlib
import hashlib
import threading
import time
import weakref
from collections.abc import Generator

import sqlalchemy as sa
import sqlalchemy.event
from sqlalchemy.exc import SQLAlchemyError

from headrace.errors import CatalogBusyError, DatabaseUnavailableError, PooledSessionsError
from headrace.iceberg.memo_catalog import CATALOG
from headrace.identifiers import TableName
from headrace.registry import address_of, error_of, open_sessions
from headrace.tables.locks import WAIT_S_MAX, reentrant, wait_for

_POLL_S = 0.05  # a file is asked ten times as often: asking a server costs it something
_ANSWER_S = 30.0
_PID = sa.select(sa.func.pg_backend_pid())
# threads of a process take turns here, so that only one of them waits with a connection
_TURNS: weakref.WeakValueDictionary[tuple[str, ...], "_Turn"] = weakref.WeakValueDictionary()
_TURNS_GUARD = threading.Lock()


class AdvisoryLocks:
    """One advisory lock per lake and name, held by a connection of its own.

    Connections come from a pool of the locks' own, one for each lock that the process holds or
    waits for: from the catalog's pool, which is bounded, threads that wait could take every
    connection, and the one that holds the lock needs another to commit.

    Args:
        engine: The database of the catalog; where it is disposed of, the locks' connections close.
        lake: What tells this lake from others in the same database, the same on every host.

    """

    def __init__(self, engine: sa.Engine, *, lake: str) -> None:
        self._lake = lake
        own = open_sessions(engine, wait_s=_ANSWER_S)
        # weakly: a catalog may outlive many handles on it, whose locks close with them
        dispose = weakref.WeakMethod(own.dispose)

        def dispose_too(_: sa.Engine) -> None:
            if (found := dispose()) is not None:
                found()

        sqlalchemy.event.listen(engine, "engine_disposed", dispose_too)
        self._engine = own
        self._are_sessions = False

    @contextlib.contextmanager
    def hold(self, name: TableName | str, *, wait_s_max: float = WAIT_S_MAX) -> Generator[None]:
        """Hold the lock of a table or namespace: see `Locks.hold`."""
        key = (str(self._engine.url), self._lake, str(name))
        with reentrant(key, self._in_turn(key, wait_s_max=wait_s_max)):
            yield

    @contextlib.contextmanager
    def _in_turn(self, key: tuple[str, ...], *, wait_s_max: float) -> Generator[None]:
        began_s = time.monotonic()
        with _TURNS_GUARD:
            turn = _TURNS.setdefault(key, _Turn())
        acquired = False

        def taken() -> bool:
            nonlocal acquired
            # acquiring waits itself, and wakes as soon as it may
            acquired = turn.lock.acquire(timeout=_POLL_S)
            return acquired

        try:  # also around the wait: an interrupt may come right after the turn was granted
            wait_for(taken, key[-1], wait_s_max=wait_s_max, poll_s=0)
            left_s = max(0.0, wait_s_max - (time.monotonic() - began_s))
            with self._locked(key[-1], wait_s_max=left_s):
                yield
        finally:
            if acquired:
                turn.lock.release()

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait_s_max: float) -> Generator[None]:
        named = f"{self._lake}\n{name}".encode()
        key = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), signed=True)
        self._refuse_pooler()
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

    def _refuse_pooler(self) -> None:
        """Refuse a pooler that shares sessions: two connections have one backend, or one has two."""
        if self._are_sessions:
            return
        with self._connected() as one, self._connected() as other, _naming_errors():
            mine = one.scalar(_PID)
            other.exec_driver_sql("begin")  # it keeps its backend to the end of the transaction
            is_shared = other.scalar(_PID) == mine  # the pooler has lent it what was mine
            is_shared = is_shared or one.scalar(_PID) != mine
            other.invalidate()
        if is_shared:
            address = address_of(self._engine.url.render_as_string(hide_password=False))
            raise PooledSessionsError(address)
        self._are_sessions = True

    def _connected(self) -> sa.Connection:
        # a session lock: it outlives the transactions of other connections and ends with this one
        with _naming_errors():
            return self._engine.connect()


def _unlock(connection: sa.Connection, key: int) -> None:
    """Release a lock; where that fails, close the session, which releases it too."""
    try:
        released = connection.scalar(sa.select(sa.func.pg_advisory_unlock(key)))
    except (SQLAlchemyError, DatabaseUnavailableError):
        released = False
    if not released:
        connection.invalidate()


class _Turn:
    """A lock that lives as long as a thread waits for it or holds it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@contextlib.contextmanager
def _naming_errors() -> Generator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise error_of(CATALOG, getattr(error, "orig", error), path="") from error
