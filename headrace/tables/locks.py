"""One writer per table, so that maintenance and ingestion take turns: file lock or advisory lock."""

import contextlib
import fcntl
import hashlib
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from headrace.errors import CatalogBusyError, StorageError

if TYPE_CHECKING:
    from headrace.identifiers import TableName
    from headrace.tables.lake import Lake

WAIT_S_MAX = 120.0
_POLL_S = 0.005
_POLL_DATABASE_S = 0.05  # asking a server costs it something
_THREAD = threading.local()


@contextlib.contextmanager
def table_lock(
    lake: "Lake", name: "TableName | str", *, wait_s_max: float = WAIT_S_MAX
) -> Generator[None]:
    """Hold the lock of a table or namespace; it falls when the process or its connection dies.

    Where the catalog is on Postgres it is an advisory lock, which holds across hosts; otherwise a
    file lock, which holds on this one. Commits stay correct without it, by optimistic concurrency:
    the lock only saves retries. A thread that holds it may take it again: who must not lose a race
    holds it from planning to the commit, which takes it for itself.

    Raises:
        CatalogBusyError: If another process keeps it longer than `wait_s_max`.
        StorageError: If the lock's file cannot be made.

    """
    engine = getattr(lake.catalog, "engine", None)
    if isinstance(engine, sa.Engine) and engine.dialect.name == "postgresql":
        lock = (str(engine.url), str(name))
        locked = _advisory_lock(engine, str(name), wait_s_max=wait_s_max)
    else:
        folder = lake.settings.state_dir / "locks"
        lock = (str(folder.resolve()), str(name))
        locked = _file_lock(folder, str(name), wait_s_max=wait_s_max)
    held: set[tuple[str, str]] = _THREAD.__dict__.setdefault("held", set())
    if lock in held:
        yield
        return
    with locked:
        held.add(lock)
        try:
            yield
        finally:
            held.discard(lock)


@contextlib.contextmanager
def _file_lock(folder: Path, name: str, *, wait_s_max: float) -> Generator[None]:
    path = folder / f"{name}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = path.open("w")
    except OSError as error:
        raise StorageError.of(str(path), error) from error
    with opened as handle:

        def taken() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait(taken, name, wait_s_max=wait_s_max, poll_s=_POLL_S)
        yield


@contextlib.contextmanager
def _advisory_lock(engine: sa.Engine, name: str, *, wait_s_max: float) -> Generator[None]:
    # a session lock: it outlives the transactions of other connections and falls with this one
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

        def taken() -> bool:
            return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))

        _wait(taken, name, wait_s_max=wait_s_max, poll_s=_POLL_DATABASE_S)
        try:
            yield
        finally:
            connection.scalar(sa.select(sa.func.pg_advisory_unlock(key)))


def _wait(taken: Callable[[], bool], name: str, *, wait_s_max: float, poll_s: float) -> None:
    deadline = time.monotonic() + wait_s_max
    attempts = 1
    while not taken():
        if time.monotonic() > deadline:
            raise CatalogBusyError(name, attempts=attempts)
        attempts += 1
        time.sleep(poll_s)
