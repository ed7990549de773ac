"""Trino's `optimize` beside headrace's compaction and appends: every row stays, once."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from trino.exceptions import TrinoQueryError

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CommitConflictError
from headrace.iceberg import manifests
from headrace.maintenance.compaction.compact import compact
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import FILES, engine_of, on_servers, shared_lake
from tests.conftest import ROOT
from tests.tables.factories import add, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.cluster

APPENDS = 24


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


def optimize(servers: Servers, table: LakeTable) -> None:
    servers.query(f"alter table {FILES}.{table.name.sql} execute optimize")


def missing_files(table: LakeTable) -> list[str]:
    """Files that some snapshot of the table names and that are not there."""
    iceberg = table.iceberg()
    gone: list[str] = []
    for snapshot in iceberg.metadata.snapshots:
        listed = manifests.manifests_of(snapshot, iceberg.io)
        named = [snapshot.manifest_list, *(each.manifest_path for each in listed)]
        named += [each.data_file.file_path for each in manifests.live_entries(listed, iceberg.io)]
        gone += [path for path in named if not iceberg.io.new_input(path).exists()]
    return gone


def read_by_trino(table: LakeTable, version: TableVersion) -> list[int]:
    with engine_of(table.lake.settings) as engine:
        engine.bind("events", version)
        found = engine.query("select id from events order by id").read_all()
    return found.column("id").to_pylist()


def test_optimize_compaction_and_appends_at_once_lose_and_double_nothing(
    servers: Servers, lake: Lake
) -> None:
    table = events_table(lake)
    add(table, [-1])
    stop, failures, landed = threading.Event(), list[BaseException](), {"optimize": 0, "compact": 0}

    def until_stopped(name: str, act: Callable[[], object], conflicts: type[Exception]) -> None:
        try:
            while not stop.is_set():
                with contextlib.suppress(conflicts):
                    act()
                    landed[name] += 1
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failures.append(error)

    threads = [
        threading.Thread(
            target=until_stopped,
            args=("optimize", lambda: optimize(servers, table), TrinoQueryError),
        ),
        threading.Thread(
            target=until_stopped, args=("compact", lambda: compact(table), CommitConflictError)
        ),
    ]
    for thread in threads:
        thread.start()
    try:
        for number in range(APPENDS):
            add(table, [number * 2, number * 2 + 1], day=number % 3)
        deadline = time.monotonic() + WAIT_S  # the slower of the two may have lost each race so far
        while not failures and min(landed.values()) == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(landed.values()) > 0
    expected = [-1, *range(2 * APPENDS)]
    assert ids_of(table) == expected
    assert read_by_trino(table, table.head()) == expected
    compact(table)
    optimize(servers, table)
    assert ids_of(table) == expected
    assert missing_files(table) == []


@pytest.mark.timeout(600)  # it starts Trino again
def test_trino_killed_while_it_optimizes_leaves_a_table_whose_every_file_is_there(
    servers: Servers, lake: Lake
) -> None:
    table = events_table(lake)
    for number in range(6):
        add(table, [number])
    timer = threading.Timer(0.7, servers.kill, ["trino"])
    timer.start()
    with contextlib.suppress(Exception):
        for _ in range(50):
            optimize(servers, table)
            add(table, [ids_of(table)[-1] + 1])
    timer.join()
    rows = ids_of(table)
    assert rows == list(range(len(rows)))
    assert missing_files(table) == []
    compact(table)
    assert ids_of(table) == rows
    servers.start("trino")
    assert read_by_trino(table, table.head()) == rows


def test_nothing_asks_trino_to_remove_orphan_files() -> None:
    said = [
        path
        for path in (ROOT / "headrace").rglob("*.py")
        if "remove_orphan_files" in path.read_text()
    ]
    assert said == []
