"""Trino passes no file over that has a row which a filter is for."""

from collections.abc import Iterator

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.trino_dialect import type_sql
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import engine_of, on_servers, shared_lake
from tests.engines.bounded import bounded_table, differences


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


def test_no_filter_on_a_column_of_any_type_loses_rows_to_bounds(lake: Lake) -> None:
    table = bounded_table(lake)
    assert len(table.head().files()) == 6
    with engine_of(lake.settings) as engine:
        assert differences(engine, table, type_sql=type_sql) == {}
