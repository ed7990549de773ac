"""What the locks of a lake do, whatever they are made of."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa

from headrace.errors import CatalogBusyError
from headrace.registry import name_errors
from headrace.tables.catalogs import advisory_locks
from headrace.tables.catalogs.advisory_locks import AdvisoryLocks
from headrace.tables.catalogs.file_locks import FileLocks
from headrace.tables.locks import Locks
from tests.postgres import postgres
from tests.processes import CONTEXT
from tests.waiting import WAIT_S

NAME = "raw.events"
THREADS, TURNS = 4, 5


@dataclass(frozen=True)
class Address:
    """Where the locks of one lake lie: a folder, or a database that several lakes share."""

    place: str
    lake: str

    @contextmanager
    def opened(self) -> Generator[Locks]:
        """Open the locks as another handle on the lake would."""
        if not self.place.startswith("postgresql"):
            yield FileLocks(Path(self.place) / self.lake)
            return
        engine = sa.create_engine(self.place)
        name_errors(engine, "catalog")  # as of every catalog that a lake opens
        try:
            yield AdvisoryLocks(engine, lake=self.lake)
        finally:
            engine.dispose()


@pytest.fixture(scope="module")
def database() -> Generator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture(params=["files", pytest.param("advisory", marks=pytest.mark.slow)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    is_files = request.param == "files"
    place = str(tmp_path) if is_files else request.getfixturevalue("database")
    return Address(place, "lake")


@pytest.fixture
def locks(address: Address) -> Iterator[Locks]:
    with address.opened() as opened:
        yield opened


def is_free(locks: Locks, name: str = NAME) -> bool:
    """Whether another thread could take a lock at once."""
    found: list[bool] = []

    def look() -> None:
        try:
            with locks.hold(name, wait_s_max=0.0):
                found.append(True)
        except CatalogBusyError:
            found.append(False)

    in_threads(look, count=1)
    return found[0]


def in_threads(target: Callable[[], None], *, count: int) -> None:
    threads = [threading.Thread(target=target) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(WAIT_S)
    assert not any(each.is_alive() for each in threads)


def keep(address: Address, told: Connection) -> None:
    with address.opened() as locks, locks.hold(NAME):
        told.send("held")
        told.recv()


def test_one_thread_holds_a_lock_at_a_time(locks: Locks) -> None:
    inside: list[int] = []
    most: list[int] = []

    def take_turns() -> None:
        for _ in range(TURNS):
            with locks.hold(NAME, wait_s_max=WAIT_S):
                inside.append(1)
                time.sleep(0.001)
                most.append(len(inside))
                inside.pop()

    in_threads(take_turns, count=THREADS)
    assert most == [1] * (THREADS * TURNS)


def test_a_lock_holds_between_handles_and_is_free_afterwards(address: Address) -> None:
    with address.opened() as one, address.opened() as other:
        with one.hold(NAME):
            assert not is_free(other)
        assert is_free(other)


def test_a_lock_holds_between_processes_and_is_released_when_its_holder_is_killed(
    address: Address, locks: Locks
) -> None:
    here, there = CONTEXT.Pipe()
    holder = CONTEXT.Process(target=keep, args=(address, there))
    holder.start()
    assert here.recv() == "held"
    assert not is_free(locks)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    with locks.hold(NAME, wait_s_max=WAIT_S):
        pass
    holder.join(WAIT_S)


def test_a_thread_may_take_its_lock_again_through_any_handle(address: Address) -> None:
    with address.opened() as one, address.opened() as other, one.hold(NAME, wait_s_max=0.0):
        with one.hold(NAME, wait_s_max=0.0), other.hold(NAME, wait_s_max=0.0):
            pass
        assert not is_free(other)  # only the outermost releases it
    with address.opened() as other:
        assert is_free(other)


def test_waiting_for_a_lock_is_bounded(locks: Locks) -> None:
    waited_s: list[float] = []
    errors: list[CatalogBusyError] = []

    def wait() -> None:
        start = time.monotonic()
        try:
            with locks.hold(NAME, wait_s_max=1.0):
                pass
        except CatalogBusyError as error:
            errors.append(error)
        waited_s.append(time.monotonic() - start)

    with locks.hold(NAME):
        in_threads(wait, count=1)
    assert errors[0].table == NAME
    assert errors[0].attempts > 1
    assert waited_s[0] >= 1.0


def test_locks_of_two_names_are_independent(locks: Locks) -> None:
    with locks.hold(NAME):
        assert is_free(locks, "raw.another")


def test_locks_of_two_lakes_are_independent(address: Address, locks: Locks) -> None:
    with replace(address, lake="another").opened() as others, locks.hold(NAME):
        assert is_free(others)


def test_an_error_under_a_lock_is_raised_and_releases_it(locks: Locks) -> None:
    with pytest.raises(KeyError), locks.hold(NAME):
        raise KeyError
    assert is_free(locks)


def test_work_stands_when_the_connection_dies_before_the_release(database: str) -> None:
    address = Address(database, "lake")
    with address.opened() as locks:
        with locks.hold(NAME):
            end_other_sessions(database)
        assert is_free(locks)  # by a new connection: the dead one is not given out again


def end_other_sessions(database: str) -> None:
    engine = sa.create_engine(database)
    with engine.connect() as connection:
        found = connection.scalars(
            sa.text(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        ).all()
    engine.dispose()
    assert any(found)  # not all: a session of an earlier test may end by itself just then


def test_locks_leave_the_pool_of_the_catalog_to_those_who_commit(database: str) -> None:
    engine = sa.create_engine(database, pool_size=1, max_overflow=0, pool_timeout=1)
    locks = AdvisoryLocks(engine, lake="lake")
    done: list[int] = []

    def commit() -> None:
        with locks.hold(NAME, wait_s_max=WAIT_S), engine.connect() as connection:
            done.append(connection.execute(sa.text("select 1")).scalar_one())

    in_threads(commit, count=THREADS)
    engine.dispose()
    assert done == [1] * THREADS


def test_locks_end_their_sessions_with_the_catalog(database: str) -> None:
    with Address(database, "lake").opened() as locks, locks.hold(NAME):
        pass
    looking = sa.create_engine(database, poolclass=sa.NullPool)
    deadline = time.monotonic() + WAIT_S
    with looking.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        others = (
            "select count(*) from pg_stat_activity where pid <> pg_backend_pid() and datname = "
        )
        while connection.scalar(sa.text(f"{others} current_database()")):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_lock_whose_grant_was_interrupted_is_released(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(taken: Callable[[], bool], *_: object, **__: object) -> None:
        assert taken()
        raise KeyboardInterrupt

    with Address(database, "lake").opened() as locks, Address(database, "lake").opened() as others:
        with monkeypatch.context() as patch:  # a signal cannot be timed to come just there
            patch.setattr(advisory_locks, "wait_for", interrupted)
            with pytest.raises(KeyboardInterrupt), locks.hold(NAME):
                pass
        with others.hold(NAME, wait_s_max=WAIT_S):
            pass
