"""A catalog on PostgreSQL, changed by several hosts: its advisory lock, and exact rows with it."""

import contextlib
import dataclasses
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CatalogBusyError, CommitConflictError, DatabaseUnavailableError
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.postgres import postgres
from tests.processes import CONTEXT
from tests.raising import refused
from tests.tables.no_locks import NoLocks

pytestmark = pytest.mark.slow

WAIT_S = 120
TABLE = "raw.events"
WRITERS, APPENDS, COMPACTIONS = 4, 6, 4
_SCHEMA = pa.schema([pa.field("id", pa.int64())])


@pytest.fixture(scope="module")
def uri() -> Generator[str]:
    with postgres() as found:
        yield found


@pytest.fixture
def folder(uri: str, tmp_path: Path) -> Iterator[Path]:
    """Make the table; what is in the folder belongs to hosts that share nothing but the catalog."""
    with _catalog(uri, tmp_path) as catalog:
        catalog.create_namespace_if_not_exists("raw")
        catalog.create_table(TABLE, _SCHEMA)
        yield tmp_path
        catalog.drop_table(TABLE)


@contextmanager
def _catalog(uri: str, folder: Path) -> Iterator[SqlCatalog]:
    catalog = SqlCatalog("lake", uri=uri, warehouse=f"file://{folder}")
    yield catalog
    catalog.close()


@contextmanager
def _on_a_host(uri: str, folder: Path, name: str) -> Iterator[LakeTable]:
    settings = dataclasses.replace(Settings.without_lake(), state_dir=folder / name)
    with _catalog(uri, folder) as catalog, Lake.of(catalog, settings=settings) as lake:
        yield lake.table(TABLE)


def _append(uri: str, folder: Path, number: int) -> None:
    with _on_a_host(uri, folder, f"writer {number}") as table:
        for turn in range(APPENDS):
            batch = pa.record_batch([pa.array([number * APPENDS + turn])], schema=_SCHEMA)
            operations.append(table, write_batches(table, [batch]), provenance=Provenance())


def _compact(uri: str, folder: Path) -> None:
    with _on_a_host(uri, folder, "maintenance") as table:
        for _ in range(COMPACTIONS):
            try:
                compact(table)
            except CommitConflictError:  # it lost to appends, and says so
                continue


def _hold(uri: str, folder: Path, told: Connection) -> None:
    with _on_a_host(uri, folder, "holder") as table, table.lake.locks.hold(table.name):
        told.send("held")
        told.recv()


def test_rows_are_exact_when_hosts_append_beside_compaction(uri: str, folder: Path) -> None:
    programs = [CONTEXT.Process(target=_append, args=(uri, folder, n)) for n in range(WRITERS)]
    programs.append(CONTEXT.Process(target=_compact, args=(uri, folder)))
    for each in programs:
        each.start()
    for each in programs:
        each.join(WAIT_S)
    assert [each.exitcode for each in programs] == [0] * len(programs)
    with _on_a_host(uri, folder, "reader") as table:
        compact(table)
        found = table.head().to_arrow()["id"].to_pylist()
        assert sorted(found) == list(range(WRITERS * APPENDS))
        assert len(table.head().files()) == 1


def test_a_lock_holds_across_hosts_and_falls_with_its_holder(uri: str, folder: Path) -> None:
    here, there = CONTEXT.Pipe()
    holder = CONTEXT.Process(target=_hold, args=(uri, folder, there))
    holder.start()
    assert here.recv() == "held"
    with _on_a_host(uri, folder, "other") as table:
        with (
            pytest.raises(CatalogBusyError) as found,
            table.lake.locks.hold(table.name, wait_s_max=0.3),
        ):
            pass
        assert found.value.table == TABLE
        with table.lake.locks.hold("raw.another", wait_s_max=0.3):
            pass  # only this table is locked
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        with table.lake.locks.hold(table.name, wait_s_max=WAIT_S):
            pass
    holder.join(WAIT_S)


def test_rows_are_exact_without_the_lock(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _on_a_host(uri, folder, "one") as one, _on_a_host(uri, folder, "two") as two:
        for each in (one, two):
            monkeypatch.setattr(each.lake, "locks", NoLocks())
        for number, (table, other) in enumerate([(one, two), (two, one)] * 3):
            batch = pa.record_batch([pa.array([number])], schema=_SCHEMA)
            files = write_batches(table, [batch])
            other.head()  # what it knows is old by the time it commits
            operations.append(table, files, provenance=Provenance())
        assert sorted(one.head().to_arrow()["id"].to_pylist()) == list(range(6))


def test_a_server_that_went_away_is_named(tmp_path: Path) -> None:
    with contextlib.ExitStack() as server:
        uri = server.enter_context(postgres())
        with _catalog(uri, tmp_path) as catalog:
            catalog.create_namespace("raw")
            catalog.create_table(TABLE, _SCHEMA)
        with _on_a_host(uri, tmp_path, "one") as table:
            server.close()
            with refused(DatabaseUnavailableError, database="catalog"):
                table.head()
