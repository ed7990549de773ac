"""The embedded engine: pinned snapshots in, data files out."""

import datetime as dt

import pyarrow as pa

from headrace.engines.duckdb import DuckDBEngine
from headrace.tables import commit
from headrace.tables.commit import Provenance
from headrace.tables.lake import Lake
from tests.tables.factories import EVENTS, START, add, events_table, ids_of


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


def test_written_files_are_invisible_until_the_committer_adopts_them(lake: Lake) -> None:
    table = events_table(lake)
    with DuckDBEngine.open(lake.settings) as engine:
        files = engine.write(
            "select range as id, null as name, null as tags, "
            "timestamptz '2024-05-01 00:00:00+00' as event_time from range(5)",
            into=table,
        )
        assert ids_of(table) == []
        commit.append(table, files, provenance=Provenance())
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
