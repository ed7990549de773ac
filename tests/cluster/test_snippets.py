"""What pages give to copy for Trino reads the snapshot and the days that it names."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.trino import TrinoEngine
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import FILES, engine_of, on_servers, shared_lake
from tests.tables.factories import START, add, events_table
from tests.ui.test_differences import BEFORE
from ui.snippets import table_snippets, version_snippets

pytestmark = pytest.mark.cluster


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


def ids_in(engine: TrinoEngine, select: str) -> list[int]:
    return sorted(engine.query(select).read_all()["id"].to_pylist())


def test_the_snippets_of_pages_read_what_they_name(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2], day=0)
    add(table, [3], day=1)
    snapshot_id = table.head().snapshot_id or 0
    add(table, [4], day=1)
    name, next_day = str(table.name), START.date() + dt.timedelta(days=1)
    whole = table_snippets(name, "", str(snapshot_id), trino_catalog=FILES)
    days = (replace(BEFORE.days[0], day=next_day),)
    version = replace(BEFORE, table=name, snapshot_id=snapshot_id, days=days)
    of_a_day = version_snippets(version, "file:///unused", trino_catalog=FILES)
    with engine_of(lake.settings) as engine:
        assert ids_in(engine, whole["Trino"][1]) == [1, 2, 3]
        assert ids_in(engine, of_a_day["Trino"][1]) == [3]
