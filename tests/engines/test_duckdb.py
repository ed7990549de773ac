"""What only the embedded engine does: spilling, and working in another program's DuckDB."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines import extensions
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.spill import SpillFolder
from headrace.errors import CorruptFileError, StorageFullError
from headrace.identifiers import TableName
from tests.processes import CONTEXT
from tests.tables.factories import add, events_table
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


def test_a_query_without_room_to_spill_says_which_disk_and_leaves_no_file(
    settings: Settings, lake: Lake
) -> None:
    few = replace(settings, memory_limit_mib=64, threads=1)
    table = events_table(lake)
    with DuckDBEngine.open(few) as engine:
        engine.connection.execute("set max_temp_directory_size = '1MiB'")
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
    dead.join(WAIT_S)
    assert len(list(tmp_path.glob("engine-*"))) == 1
    first = SpillFolder(tmp_path)
    second = SpillFolder(tmp_path)
    assert set(tmp_path.glob("engine-*")) == {first.path, second.path}
    first.close()
    first.close()
    second.close()
    assert list(tmp_path.glob("engine-*")) == []


def test_in_another_programs_duckdb_limits_hold_for_all_and_closing_leaves_it_open(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'Asia/Tokyo'")
        engine = DuckDBEngine.over(connection, lake.settings)
        engine.show("raw.events", table.head(), renamed={"name": "called"})
        with engine.session(reads=lambda: [table.head()]) as session:
            found = session.query("select id, called from raw.events order by id").read_all()
            zone = session.query("select current_setting('timezone') as zone").read_all()
        assert found.column("called").to_pylist() == ["event 1", "event 2"]
        assert zone.column("zone").to_pylist() == ["UTC"]
        settings = "select current_setting('threads'), current_setting('timezone')"
        assert connection.execute(settings).fetchone() == (lake.settings.threads, "Asia/Tokyo")
        engine.drop("raw.events")
        engine.close()
        assert connection.execute(
            "select count(*) from duckdb_views() where not internal"
        ).fetchone() == (0,)


def test_an_engine_that_cannot_start_leaves_no_spill_folder(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extensions, "files", lambda package: tmp_path / package)
    with duckdb.connect() as connection, pytest.raises(CorruptFileError):
        DuckDBEngine.over(connection, lake.settings)
    assert list(lake.settings.state_dir.glob("spill/engine-*")) == []
