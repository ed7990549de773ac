"""What only Trino does wrong: statements that run twice, files that a drop takes, zones, kills."""

import datetime as dt
import decimal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import requests

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.trino import TrinoEngine
from headrace.engines.trino_insert import InsertPlan
from headrace.engines.trino_stage import Answered, Clone
from headrace.errors import (
    ContractError,
    CorruptFileError,
    EngineUnavailableError,
    QueryCancelledError,
    QueryFailedError,
)
from headrace.identifiers import STAGING_NAMESPACE, TableName
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from infra.launcher import trino
from tests.cluster.proxy import answering_502_once
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import FILES, engine_of, on_servers, shared_lake
from tests.contract.test_engine import numbers
from tests.tables.factories import START, UTC_US, add, events, events_table, ids_of
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

SLOW = "select a.n as id, '' as name, cast(null as array(bigint)) as tags, event_time from given, many a, many b"

WRITES = (
    "select count(*) from system.runtime.queries where state = 'RUNNING' and query like 'insert%'"
)


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


@pytest.fixture
def engine(servers: Servers, lake: Lake) -> Iterator[TrinoEngine]:
    with engine_of(lake.settings) as opened:
        yield opened


def staged(lake: Lake) -> list[str]:
    """The staging tables that there are."""
    if not lake.catalog.namespace_exists(STAGING_NAMESPACE):
        return []
    return [name for _, name in lake.catalog.list_tables(STAGING_NAMESPACE)]


def once_it_writes(servers: Servers, act: Callable[[], object]) -> threading.Thread:
    """Do something as soon as the server runs a statement that writes, however long that takes to come."""

    def wait() -> None:
        assert wait_until(lambda: servers.query(WRITES) != [[0]])
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def data_files(lake: Lake) -> set[str]:
    return {str(path) for path in lake.settings.warehouse.rglob("*.parquet")}


EXACT = pa.table(
    {
        "small": pa.array([-(2**31), None], pa.int32()),
        "big": pa.array([2**63 - 1, None], pa.int64()),
        "real": pa.array([1.1, None], pa.float32()),
        "double": pa.array([float("inf"), None]),
        "exact": pa.array(
            [decimal.Decimal("-12345678901234567890.123456"), None], pa.decimal128(38, 6)
        ),
        "text": pa.array(["ü'\"\n ", None]),
        "raw": pa.array([b"\x00\xff", None], pa.binary()),
        "yes": pa.array([True, None]),
        "day": pa.array([dt.date(1969, 12, 31), None]),
        "zoned": pa.array(
            [dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC), None], UTC_US
        ),
        "naive": pa.array([13_569_465_600_000_001, None], pa.timestamp("us")),
        "list": pa.array([[1, None], None], pa.list_(pa.int64())),
        "struct": pa.array(
            [{"a": [dt.datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=dt.UTC)], "b": None}, None],
            pa.struct([("a", pa.list_(UTC_US)), ("b", pa.string())]),
        ),
        "map": pa.array([[(1, 0.5), (2, None)], None], pa.map_(pa.int64(), pa.float64())),
    }
)


def test_values_of_every_type_come_back_exactly_from_memory_tables_and_written_files(
    engine: TrinoEngine, lake: Lake
) -> None:
    columns = ", ".join(f'"{name}"' for name in EXACT.column_names)
    engine.bind_arrow("given", EXACT)
    given = engine.query(f"select {columns} from given order by small").read_all()
    assert given.schema.types == EXACT.schema.types
    assert given.to_pylist() == EXACT.to_pylist()

    table = lake.create(TableName("raw", "exact"), EXACT.schema)
    files = engine.write(f"select {columns} from given", into=table)
    operations.append(table, files, provenance=Provenance())
    assert table.head().to_arrow().sort_by("small").to_pylist() == EXACT.to_pylist()
    engine.bind("written", table.head())
    assert (
        engine.query("select * from written order by small").read_all().to_pylist()
        == EXACT.to_pylist()
    )


def test_not_a_number_and_instants_of_other_zones_are_read(engine: TrinoEngine) -> None:
    sql = (
        "select nan() as x, at_timezone(timestamp '2024-05-01 00:00:00.000001 UTC', 'Asia/Kolkata') as t,"
        " timestamp '2024-05-01 00:00:00 +05:30' as o, cast(null as varchar) as n"
    )
    (row,) = engine.query(sql).read_all().to_pylist()
    assert row["x"] != row["x"]
    assert row["t"] == START + dt.timedelta(microseconds=1)
    assert row["o"] == START - dt.timedelta(hours=5.5)
    assert row["n"] is None


def test_types_that_would_be_rounded_are_refused_by_name(engine: TrinoEngine) -> None:
    with pytest.raises(QueryFailedError) as caught:
        engine.query("select cast(now() as timestamp(9)) as nanos")
    assert caught.value.reason == "UNSUPPORTED_TYPE"
    assert "`nanos`" in caught.value.detail


def test_days_are_those_of_utc_on_a_machine_of_another_zone(
    engine: TrinoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        found = engine.query(
            "select current_timezone() as zone,"
            " cast(timestamp '2024-05-01 23:00:00 UTC' as date) as day"
        ).read_all()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.to_pylist() == [{"zone": "UTC", "day": START.date()}]


def test_no_statement_lets_the_server_repeat_tasks_by_itself(
    engine: TrinoEngine, servers: Servers
) -> None:
    with pytest.raises(QueryFailedError) as caught:
        engine.query("select fail('so that it is named')").read_all()
    said = requests.get(
        f"{servers.trino_address}/v1/query/{caught.value.query_id}",
        auth=trino.login(servers.cluster, role="operator"),
        verify=str(trino.certificate(servers.cluster)),
        timeout=30,
    ).json()
    assert said["session"]["systemProperties"]["retry_policy"] == "NONE"


def test_an_error_names_the_query_and_links_to_its_page(engine: TrinoEngine) -> None:
    with pytest.raises(QueryFailedError) as caught:
        engine.query("select missing from (select 1 as a)").read_all()
    assert caught.value.reason == "COLUMN_NOT_FOUND"
    assert caught.value.query_id
    assert caught.value.link.endswith(f"/ui/query.html?{caught.value.query_id}")


def test_only_what_the_answered_query_wrote_is_adopted_where_the_client_sends_it_again(
    servers: Servers, lake: Lake
) -> None:
    table = events_table(lake)
    with answering_502_once(servers, when=b"insert into") as proxy:
        with engine_of(lake.settings, address=proxy.address) as engine:
            engine.bind_arrow("given", pa.Table.from_batches([events(range(10))]))
            files = engine.write("select * from given", into=table)
        assert proxy.forwarded == 2  # Trino got it twice
    operations.append(table, files, provenance=Provenance())
    assert ids_of(table) == list(range(10))
    assert {local_path(file.file_path) for file in files} == data_files(lake)
    assert staged(lake) == []


def test_a_late_commit_of_another_query_is_neither_adopted_nor_left(
    engine: TrinoEngine, lake: Lake, servers: Servers
) -> None:
    table = events_table(lake)
    engine.bind_arrow("given", pa.Table.from_batches([events([1, 2])]))
    with engine.staging.clone(table) as clone:
        given = engine._staged["given"].sql  # pyright: ignore[reportPrivateUsage]
        sql = f"insert into {FILES}.{clone.name.sql} select * from {FILES}.{given}"
        servers.query(sql)
        mine = inserted(engine, clone, table)
        servers.query(sql)
        files = clone.adopt(mine)
    operations.append(table, files, provenance=Provenance())
    assert ids_of(table) == [1, 2]
    assert len(data_files(lake) - {p for p in data_files(lake) if STAGING_NAMESPACE in p}) == 1


@pytest.mark.parametrize("what", ["table", "schema"])
def test_who_drops_a_clone_takes_none_of_its_adopted_files(
    what: str, engine: TrinoEngine, lake: Lake, servers: Servers
) -> None:
    table = events_table(lake)
    engine.bind_arrow("given", pa.Table.from_batches([events([1, 2])]))
    with engine.staging.clone(table) as clone:
        answers = inserted(engine, clone, table)
        operations.append(table, clone.adopt(answers), provenance=Provenance())
        drop = f"table {FILES}.{clone.name.sql}"
        if what == "schema":
            drop = f"schema {FILES}.{STAGING_NAMESPACE} cascade"
        servers.query(f"drop {drop}")
        assert clone.name.name not in staged(lake)
        assert ids_of(table) == [1, 2]
    assert ids_of(table) == [1, 2]
    engine.bind("events", table.head())
    assert engine.query("select count(*) as n from events").read_all().to_pylist() == [{"n": 2}]


def test_rows_of_more_partitions_than_a_writer_may_open_are_written(
    engine: TrinoEngine, lake: Lake
) -> None:
    table = events_table(lake)
    rows = pa.concat_tables(pa.Table.from_batches([events([day], day=day)]) for day in range(130))
    engine.bind_arrow("given", rows)
    files = engine.write("select * from given", into=table)
    assert len(files) == 130
    operations.append(table, files, provenance=Provenance())
    assert ids_of(table) == list(range(130))


def test_files_have_the_codec_of_the_table_and_no_statistics_are_left(
    engine: TrinoEngine, lake: Lake
) -> None:
    import pyarrow.parquet as pq

    table = lake.create(
        TableName("raw", "plain"),
        pa.schema([("n", pa.int64())]),
        defaults={"write.parquet.compression-codec": "uncompressed"},
    )
    engine.bind_arrow("given", numbers(10))
    (file,) = engine.write("select * from given", into=table)
    footer = pq.read_metadata(local_path(file.file_path))
    assert footer.row_group(0).column(0).compression == "UNCOMPRESSED"
    assert file.sort_order_id is None


def test_a_query_that_is_refused_writes_nothing_and_names_the_column(
    engine: TrinoEngine, lake: Lake
) -> None:
    table = events_table(lake)
    engine.bind_arrow("given", pa.Table.from_batches([events([1, 2])]))
    before = data_files(lake)
    with pytest.raises(ContractError) as caught:
        engine.write(
            "select if(id = 2, null, id) as id, name, tags, event_time from given", into=table
        )
    assert caught.value.column == "id"
    assert data_files(lake) == before
    given = engine._staged["given"]  # pyright: ignore[reportPrivateUsage]
    assert staged(lake) == [given.name]


def test_interrupting_a_write_ends_the_query_on_the_server_and_adopts_nothing(
    engine: TrinoEngine, lake: Lake, servers: Servers
) -> None:
    table = events_table(lake)
    engine.bind_arrow("given", pa.Table.from_batches([events([1])]))
    engine.bind_arrow("many", numbers(100_000))
    canceller = once_it_writes(servers, engine.cancel)
    with pytest.raises(QueryCancelledError):
        engine.write(SLOW, into=table)
    canceller.join()
    assert wait_until(lambda: servers.query(WRITES) == [[0]])
    assert ids_of(table) == []
    assert {p for p in data_files(lake) if STAGING_NAMESPACE not in p} == set()


def test_staging_tables_of_a_process_that_ended_are_dropped_by_the_next_engine(
    engine: TrinoEngine, lake: Lake, servers: Servers
) -> None:
    engine.bind_arrow("mine", numbers(1))
    with lake.registry.engine.begin() as connection:
        connection.exec_driver_sql("update writes set process_start_ticks = 1")
    with engine_of(lake.settings) as other:
        other.bind_arrow("other", numbers(1))
    assert staged(lake) == []
    assert lake.names() == []


def test_a_damaged_file_is_named(engine: TrinoEngine, lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2, 3])
    (file,) = table.head().files()
    content = bytearray(Path(file.path).read_bytes())
    content[len(content) // 3] ^= 1
    Path(file.path).write_bytes(content)
    with pytest.raises(CorruptFileError):
        engine.bind("events", table.head())


@pytest.mark.timeout(600)  # it starts Trino again
def test_trino_killed_in_the_middle_of_a_write_adopts_nothing_and_the_next_write_is_right(
    servers: Servers, lake: Lake
) -> None:
    table = events_table(lake)
    add(table, [1])
    with engine_of(lake.settings) as engine:
        engine.bind_arrow("given", pa.Table.from_batches([events([7])]))
        engine.bind_arrow("many", numbers(100_000))
        killer = once_it_writes(servers, lambda: servers.kill("trino"))
        with pytest.raises(EngineUnavailableError) as caught:
            engine.write(SLOW, into=table)
        killer.join()
        assert caught.value.query_id
    assert staged(lake) == []
    servers.start("trino")
    assert ids_of(table) == [1]
    assert all(Path(each.path).is_file() for each in table.head().files())
    with engine_of(lake.settings) as engine:
        engine.bind_arrow("given", pa.Table.from_batches([events([2, 3])]))
        files = engine.write("select * from given", into=table)
        operations.append(table, files, provenance=Provenance())
    assert ids_of(table) == [1, 2, 3]


def inserted(engine: TrinoEngine, clone: Clone, table: LakeTable) -> list[Answered]:
    """Insert all that is given into a clone: a step of `write`, between which another may come."""
    columns = tuple((name, f'"{name}"') for name in table.head().schema.names)
    plan = InsertPlan(columns=columns)
    return engine._inserted(clone, "select * from given", plan)  # pyright: ignore[reportPrivateUsage]
