"""The embedded engine: pinned snapshots in, data files out."""

import datetime as dt
import os
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.spill import SpillFolder
from headrace.errors import StorageFullError
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.tables.delete_files import delete_positions
from tests.tables.factories import EVENTS, START, add, events_table, ids_of

pytestmark = pytest.mark.slow


def test_a_bound_snapshot_does_not_move_when_the_table_does(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("raw.events", table.head())
        add(table, [2])
        rows = engine.query("select id from raw.events").read_all()
        assert rows.column("id").to_pylist() == [1]


def test_an_empty_table_binds_with_its_types(lake: Lake) -> None:
    table = events_table(lake)
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("raw.events", table.head())
        empty = engine.query("select * from raw.events").read_all()
        assert empty.num_rows == 0
        assert empty.schema.names == EVENTS.names
        assert empty.schema.types == EVENTS.types


def test_a_query_without_room_to_spill_says_which_disk_and_leaves_no_file(
    settings: Settings, lake: Lake
) -> None:
    few = replace(settings, memory_limit_mib=64, threads=1)
    table = events_table(lake)
    with DuckDBEngine.open(few) as engine:
        engine._connection.execute("set max_temp_directory_size = '1MiB'")
        with pytest.raises(StorageFullError) as caught:
            engine.write(
                "select range as id, repeat(md5(range::varchar), 9) as name, null as tags, "
                "timestamptz '2024-05-01 00:00:00+00' as event_time from range(400_000) "
                "order by name desc",
                into=table,
            )
    assert Path(caught.value.path).is_relative_to(settings.state_dir / "spill")
    assert Path(caught.value.disk).is_mount()
    assert list(settings.warehouse.rglob("*.parquet")) == []


def test_written_files_are_invisible_until_the_committer_adopts_them(lake: Lake) -> None:
    table = events_table(lake)
    with DuckDBEngine.open(lake.settings) as engine:
        files = engine.write(
            "select range as id, null as name, null as tags, "
            "timestamptz '2024-05-01 00:00:00+00' as event_time from range(5)",
            into=table,
        )
        assert ids_of(table) == []
        operations.append(table, files, provenance=Provenance())
        assert ids_of(table) == [0, 1, 2, 3, 4]


def test_times_are_utc_whatever_the_host_says(lake: Lake) -> None:
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind_arrow(
            "one", pa.table({"shown_at": pa.array([START], pa.timestamp("us", tz="UTC"))})
        )
        day = engine.query(
            "select cast(date_trunc('day', shown_at) as date) as day from one"
        ).read_all()
        assert day.column("day").to_pylist() == [dt.date(2024, 5, 1)]


def test_a_snapshot_from_before_a_schema_change_binds_in_the_newer_schema(lake: Lake) -> None:
    name = TableName("raw", "changing")
    table = lake.create(name, pa.schema([("a", pa.int32())]))
    batch = pa.record_batch({"a": pa.array([1], pa.int32())})
    first = operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    wider = pa.schema([("a", pa.int64()), ("b", pa.string())])
    lake.create(name, wider)
    with DuckDBEngine.open(lake.settings) as engine:
        for version in (table.head(), table.at(snapshot_id=first.snapshot_id)):
            engine.bind("changing", version)
            read = engine.query("select * from changing").read_all()
            assert read.schema.types == wider.types
            assert read.to_pylist() == [{"a": 1, "b": None}]
        newer = pa.record_batch({"a": pa.array([2**40]), "b": ["x"]})
        operations.append(table, write_batches(table, [newer]), provenance=Provenance())
        engine.bind("changing", table.head())
        read = engine.query("select * from changing order by a").read_all()
        assert read.to_pylist() == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_an_empty_table_of_any_type_binds(lake: Lake) -> None:
    fields = [
        ("point", pa.struct([("x y", pa.float64()), ("tags", pa.list_(pa.string()))])),
        ("counts", pa.map_(pa.string(), pa.int64())),
        ("at", pa.time64("us")),
        ("digest", pa.binary(4)),
        ("id", pa.uuid()),
    ]
    table = lake.create(TableName("raw", "wide"), pa.schema(fields))
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("wide", table.head())
        assert engine.query("select * from wide").read_all().schema.names == [n for n, _ in fields]


def test_rows_left_in_a_table_are_read_however_often_others_were_deleted(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    (file,) = table.head().files()
    for position in (0, 0, 1):  # one row twice, as two writers at once may, then the other
        with DuckDBEngine.open(lake.settings) as engine:
            left = ids_of(table)
            engine.bind("t", table.head())
            assert engine.query("select id from t").read_all()["id"].to_pylist() == left
        delete_positions(table, {file: [position]})
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("t", table.head())
        assert engine.query("select id from t").read_all().num_rows == 0


def test_every_engine_spills_into_a_folder_of_its_own_and_removes_it(lake: Lake) -> None:
    # two processes that sort 2.5 million rows in 60 MiB each fail when they share one
    setting = "select current_setting('temp_directory') as folder"
    with DuckDBEngine.open(lake.settings) as one, DuckDBEngine.open(lake.settings) as other:
        folders = {engine.query(setting).read_all()["folder"][0].as_py() for engine in (one, other)}
        assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)


def _die_with_a_spill_folder(parent: Path) -> None:
    SpillFolder(parent)
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_spill_folder_of_a_killed_process_is_swept_and_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    dead = CONTEXT.Process(target=_die_with_a_spill_folder, args=(tmp_path,))
    dead.start()
    dead.join(60)
    assert len(list(tmp_path.glob("engine-*"))) == 1
    first = SpillFolder(tmp_path)
    second = SpillFolder(tmp_path)
    assert set(tmp_path.glob("engine-*")) == {first.path, second.path}
    first.close()
    first.close()
    second.close()
    assert list(tmp_path.glob("engine-*")) == []
