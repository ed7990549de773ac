"""DuckDB over S3: whose keys it uses where, how long it waits, and what it says when that ends."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.s3_secrets import let_read_stores, scopes_of
from headrace.errors import StoreUnavailableError
from headrace.tables.lake import LakeTable
from tests.loading.wide_table import NAMES, ROW_GROUPS, filled
from tests.s3 import S3Place
from tests.s3_proxy import Fault, FaultProxy, Request, fault_proxy
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow
SUM = "select sum(id) as total from events"


@pytest.fixture
def table(s3_lake: Lake) -> LakeTable:
    table = events_table(s3_lake)
    add(table, [1, 2, 3])
    return table


@pytest.fixture
def proxy(s3: S3Place) -> Iterator[FaultProxy]:
    with fault_proxy(s3.endpoint) as running:
        yield running


@pytest.fixture
def behind(s3: S3Place, proxy: FaultProxy, table: LakeTable) -> Iterator[Lake]:
    settings = s3.at(proxy.address).settings(table.lake.settings.state_dir)
    with Lake.open(settings) as lake:
        yield lake


def is_data(request: Request) -> bool:
    return request.path.endswith(".parquet")


def total(settings: Settings, lake: Lake, before_query: object = None) -> list[object]:
    with DuckDBEngine.open(settings) as engine:
        engine.bind("events", lake.table("raw.events").head())
        if callable(before_query):
            before_query()
        return engine.query(SUM).read_all()["total"].to_pylist()


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET])
def test_a_query_outlives_a_store_that_is_busy_for_a_while(
    behind: Lake, proxy: FaultProxy, fault: Fault
) -> None:
    begin = lambda: proxy.fail(fault, times=3, of=is_data)
    assert total(behind.settings, behind, begin) == [6]
    assert proxy.rule(Request("GET", "x.parquet", {})) is None


def test_a_store_that_stays_busy_is_named_and_the_engine_goes_on(
    behind: Lake, proxy: FaultProxy
) -> None:
    access = behind.settings.s3
    assert access is not None
    impatient = replace(behind.settings, s3=replace(access, attempts_max=2))
    with (
        Lake.open(impatient) as lake,
        DuckDBEngine.open(impatient) as engine,
    ):
        engine.bind("events", lake.table("raw.events").head())
        proxy.rule = lambda request: Fault.SLOW_DOWN if is_data(request) else None
        with pytest.raises(StoreUnavailableError):
            engine.query(SUM).read_all()
        proxy.rule = lambda _: None
        assert engine.query(SUM).read_all()["total"].to_pylist() == [6]


def test_every_scope_of_a_secret_ends_where_a_name_ends(table: LakeTable) -> None:
    version = table.head()
    assert set(scopes_of(version)) == {f"{version.metadata.location}/"}
    with duckdb.connect() as connection:
        let_read_stores(connection, version)
        rows = connection.execute("select scope, secret_string from duckdb_secrets()").fetchall()
    ((scopes, shown),) = rows
    assert scopes == [f"{version.metadata.location}/"]
    assert version.io.properties["s3.secret-access-key"] not in shown


def test_the_keys_of_a_table_go_nowhere_else(table: LakeTable) -> None:
    version = table.head()
    beside = version.metadata.location + "-other"
    with duckdb.connect() as connection:
        let_read_stores(connection, version)
        query = f"select name from which_secret('{beside}/f.parquet', 's3')"
        assert connection.execute(query).fetchall() == []
        query = f"select name from which_secret('{version.files()[0].path}', 's3')"
        assert len(connection.execute(query).fetchall()) == 1


def test_a_wide_table_is_read_in_few_requests(
    s3: S3Place, proxy: FaultProxy, tmp_path: Path
) -> None:
    with Lake.open(s3.at(proxy.address).settings(tmp_path)) as lake:
        filled(lake)
        with DuckDBEngine.open(lake.settings) as engine:
            engine.bind("wide", lake.table("raw.wide").head())
            proxy.requests.clear()
            engine.query(
                "select " + ", ".join(f"sum({name})" for name in NAMES) + " from wide"
            ).read_all()
            # one for each row group, 1,800 without coalescing
            assert ROW_GROUPS <= len(proxy.requests) <= ROW_GROUPS + 6
