"""What every engine does, whichever runs the SQL."""

import datetime as dt
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.base import Engine, SortBy
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.open import open_engine
from headrace.errors import (
    ContractError,
    CorruptFileError,
    QueryCancelledError,
    SettingReason,
    SettingsError,
    StorageError,
    UnsupportedTableError,
)
from headrace.identifiers import TableName
from headrace.storage.locations import local_path
from headrace.tables.alter import repartition
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.tables.delete_files import delete_positions
from tests.tables.factories import EVENTS, START, UTC_US, add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow

Factory = Callable[[Settings], Engine]
FACTORIES: dict[str, Factory] = {"duckdb": DuckDBEngine.open}


@pytest.fixture(params=FACTORIES)
def factory(request: pytest.FixtureRequest) -> Factory:
    return FACTORIES[request.param]


@pytest.fixture
def engine(factory: Factory, lake: Lake) -> Iterator[Engine]:
    with factory(lake.settings) as opened:
        yield opened


def ids_read(engine: Engine, relation: str = "raw.events") -> list[int]:
    found = engine.query(f"select id from {relation} order by id").read_all()
    return found.column("id").to_pylist()


def numbers(count: int) -> pa.Table:
    """A relation `n` of the numbers below `count`."""
    return pa.table({"n": pa.array(range(count), pa.int64())})


def endless(engine: Engine) -> str:
    """A query that no test waits for: 10^15 rows in some order."""
    engine.bind_arrow("many", numbers(100_000))
    return "select a.n as a, sum(b.n + c.n) as s from many a, many b, many c group by a.n"


def test_a_bound_snapshot_does_not_move_when_the_table_does(engine: Engine, lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    engine.bind("raw.events", table.head())
    add(table, [2])
    assert ids_read(engine) == [1]
    engine.bind("raw.events", table.head())
    assert ids_read(engine) == [1, 2]


def test_an_empty_table_binds_with_its_types(engine: Engine, lake: Lake) -> None:
    engine.bind("empty", events_table(lake).head())
    empty = engine.query("select * from empty").read_all()
    assert empty.num_rows == 0
    assert empty.schema.names == EVENTS.names
    assert empty.schema.types == EVENTS.types


def test_deleted_rows_are_not_read(factory: Factory, lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2, 3])
    (file,) = table.head().files()
    for position in (0, 0, 1):  # one row twice, as two writers at once may, then another
        delete_positions(table, {file: [position]})
        with factory(lake.settings) as engine:
            engine.bind("raw.events", table.head())
            assert ids_read(engine) == ids_of(table)


def test_a_snapshot_from_before_a_schema_change_binds_in_the_newer_schema(
    engine: Engine, lake: Lake
) -> None:
    name = TableName("raw", "changing")
    table = lake.create(name, pa.schema([("a", pa.int32())]))
    batch = pa.record_batch({"a": pa.array([1], pa.int32())})
    first = operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    wider = pa.schema([("a", pa.int64()), ("b", pa.string())])
    lake.create(name, wider)
    newer = pa.record_batch({"a": pa.array([2**40]), "b": ["x"]})
    for version in (table.head(), table.at(snapshot_id=first.snapshot_id)):
        engine.bind("changing", version)
        read = engine.query("select * from changing").read_all()
        assert read.schema.types == wider.types
        assert read.to_pylist() == [{"a": 1, "b": None}]
    operations.append(table, write_batches(table, [newer]), provenance=Provenance())
    engine.bind("changing", table.head())
    read = engine.query("select * from changing order by a").read_all()
    assert read.to_pylist() == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_files_of_several_partition_specs_are_read_together(engine: Engine, lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    repartition(table, partition_by=["month(event_time)"])
    add(table, [3], day=1)
    engine.bind("raw.events", table.head())
    assert len(table.head().spec_ids) == 2
    assert ids_read(engine) == [1, 2, 3]


def test_an_arrow_table_is_read_again_and_again_and_can_be_replaced(engine: Engine) -> None:
    engine.bind_arrow("kept.numbers", numbers(3))
    for _ in range(2):
        found = engine.query("select max(n) as top from kept.numbers").read_all()
        assert found.column("top").to_pylist() == [2]
    engine.bind_arrow("kept.numbers", numbers(9))
    found = engine.query("select max(n) as top from kept.numbers").read_all()
    assert found.column("top").to_pylist() == [8]


def test_a_snapshot_and_an_arrow_table_replace_each_other(engine: Engine, lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    engine.bind_arrow("raw.events", pa.table({"id": [7]}))
    engine.bind("raw.events", table.head())
    assert ids_read(engine) == [1]
    engine.bind_arrow("raw.events", pa.table({"id": [7]}))
    assert ids_read(engine) == [7]
    engine.bind("raw.events", table.head())
    assert ids_read(engine) == [1]


def test_names_that_differ_only_in_case_are_refused(engine: Engine) -> None:
    with pytest.raises(UnsupportedTableError):
        engine.bind_arrow("folded", pa.table({"a": [1], "A": [2]}))


def test_rows_stream_and_times_are_utc(engine: Engine) -> None:
    at = pa.array([START + dt.timedelta(microseconds=1)], UTC_US)
    engine.bind_arrow("one", pa.table({"shown_at": at}))
    engine.bind_arrow("many", numbers(200_000))
    rows = engine.query("select shown_at, cast(shown_at as date) as day, n from one, many")
    assert rows.schema.field("shown_at").type == UTC_US
    batches = list(rows)
    assert len(batches) > 1
    assert sum(batch.num_rows for batch in batches) == 200_000
    assert batches[0].to_pylist()[0] | {"n": 0} == {
        "shown_at": START + dt.timedelta(microseconds=1),
        "day": START.date(),
        "n": 0,
    }


def test_written_files_keep_the_order_and_are_invisible_until_they_are_committed(
    engine: Engine, lake: Lake
) -> None:
    table = events_table(lake)
    engine.bind_arrow("given", pa.Table.from_batches([events([2, 9, 4, 7])]))
    files = engine.write("select * from given order by id desc", into=table)
    assert ids_of(table) == []
    operations.append(table, files, provenance=Provenance())
    assert table.head().to_arrow(columns=["id"]).column("id").to_pylist() == [9, 7, 4, 2]
    assert [file.record_count for file in files] == [4]
    assert day_key(0) in table.head().partitions


def test_a_null_in_a_required_column_is_refused_and_leaves_no_file(
    engine: Engine, lake: Lake
) -> None:
    table = events_table(lake)
    engine.bind_arrow("given", pa.Table.from_batches([events([1])]))
    with pytest.raises(ContractError):
        engine.write(
            "select cast(null as bigint) as id, name, tags, event_time from given", into=table
        )
    assert list(Path(local_path(table.iceberg().location())).rglob("*.parquet")) == []


def test_more_rows_than_memory_holds_are_sorted_and_equal_ones_keep_their_order(
    factory: Factory, settings: Settings
) -> None:
    batch_rows, batches = 65_536, 16
    schema = pa.schema([("key", pa.int64()), ("place", pa.int64()), ("text", pa.string())])

    def given() -> Iterator[pa.RecordBatch]:
        for number in range(batches):
            places = range(number * batch_rows, (number + 1) * batch_rows)
            keys = pa.array([place * 7919 % 1000 for place in places], pa.int64())
            text = pa.array([f"{place:064}" for place in places])
            yield pa.record_batch([keys, pa.array(places, pa.int64()), text], schema=schema)

    with factory(replace(settings, memory_limit_mib=64, threads=1)) as engine:
        by = [SortBy(column=0, descending=True)]
        found = pa.Table.from_batches(
            b.select(["key", "place"]) for b in engine.sort(given(), schema=schema, by=by)
        )
    keys, places = (found.column(name).to_numpy() for name in ("key", "place"))
    assert len(keys) == batch_rows * batches
    assert (keys[1:] <= keys[:-1]).all()
    assert (places[1:] > places[:-1])[keys[1:] == keys[:-1]].all()


def test_what_the_rows_to_sort_raise_passes_through(engine: Engine) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise StorageError("somewhere", "it broke")

    rows = engine.sort(broken(), schema=pa.schema([("a", pa.int64())]), by=[SortBy(column=0)])
    with refused(StorageError, path="somewhere"):
        list(rows)


def test_a_running_query_is_cancelled_from_another_thread_and_the_engine_goes_on(
    engine: Engine,
) -> None:
    ended = threading.Event()

    def keep_cancelling() -> None:  # the first may come before the statement runs
        while not ended.wait(0.3):
            engine.cancel()

    canceller = threading.Thread(target=keep_cancelling)
    canceller.start()
    try:
        with pytest.raises(QueryCancelledError):
            engine.query(endless(engine)).read_all()
    finally:
        ended.set()
        canceller.join()
    engine.bind_arrow("few", numbers(3))
    assert engine.query("select count(*) as c from few").read_all().to_pylist() == [{"c": 3}]


def test_a_sort_is_cancelled_while_its_rows_are_taken(engine: Engine) -> None:
    taken: list[int] = []

    def given() -> Iterator[pa.RecordBatch]:
        for number in range(50):
            taken.append(number)
            yield pa.record_batch({"a": [number]})
            if number == 3:
                engine.cancel()

    rows = engine.sort(given(), schema=pa.schema([("a", pa.int64())]), by=[SortBy(column=0)])
    with pytest.raises(QueryCancelledError):
        list(rows)
    assert len(taken) < 10


def test_an_engine_closes_while_a_sort_is_read(factory: Factory, lake: Lake) -> None:
    batch = pa.record_batch({"a": pa.array(range(200_000), pa.int64())})
    with factory(lake.settings) as engine:
        rows = engine.sort([batch], schema=batch.schema, by=[SortBy(column=0)])
        assert next(iter(rows)).num_rows > 0
    if isinstance(rows, Generator):
        rows.close()


def test_a_query_is_cancelled_while_its_rows_are_read(engine: Engine) -> None:
    engine.bind_arrow("many", numbers(1000))
    rows = engine.query("select a.n from many a, many b, many c")
    assert rows.read_next_batch().num_rows > 0
    engine.cancel()
    with pytest.raises(QueryCancelledError):
        for _ in rows:
            pass


def test_cancelling_without_a_statement_does_nothing(factory: Factory, lake: Lake) -> None:
    with factory(lake.settings) as engine:
        engine.cancel()
        engine.bind_arrow("few", numbers(3))
        assert engine.query("select count(*) as c from few").read_all().to_pylist() == [{"c": 3}]
    engine.cancel()


def test_closing_again_does_nothing(factory: Factory, lake: Lake) -> None:
    engine = factory(lake.settings)
    engine.close()
    engine.close()
    with factory(lake.settings) as again:
        again.close()


def test_two_engines_at_once_share_no_relations(factory: Factory, lake: Lake) -> None:
    with factory(lake.settings) as one, factory(lake.settings) as other:
        one.bind_arrow("mine", numbers(1))
        other.bind_arrow("mine", numbers(2))
        count = "select count(*) as c from mine"
        assert one.query(count).read_all().to_pylist() == [{"c": 1}]
        one.close()
        assert other.query(count).read_all().to_pylist() == [{"c": 2}]


def test_a_missing_file_is_named_before_a_query_reads_it(engine: Engine, lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    path = _only_file(table)
    path.unlink()
    with pytest.raises(CorruptFileError) as caught:
        engine.bind("raw.events", table.head())
    assert caught.value.path.endswith(path.name)


def test_settings_choose_the_engine_and_an_unknown_one_is_refused(settings: Settings) -> None:
    with open_engine(settings) as engine:
        assert engine.dialect.name == settings.engine
    with refused(SettingsError, setting="engine", reason=SettingReason.NOT_ALLOWED):
        open_engine(replace(settings, engine="none"))


def _only_file(table: LakeTable) -> Path:
    (file,) = table.head().files()
    return Path(local_path(file.path))
