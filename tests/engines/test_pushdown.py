"""Filters on functions of a column find in a snapshot what they find without its bounds.

DuckDB 1.5.3 applied the function to the bounds of a file, and so skipped files with matches.
"""

import pytest

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.duckdb_dialect import sql_type
from tests.engines.bounded import bounded_table, differences
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow
DAYS, ROWS = 3, 50
FILTERS = (
    "id % 8 = 2",
    "id & 7 = 2",
    "abs(id - 25) < 3",
    "sign(id - 25) = 0",
    "-id > -5",
    "id // 7 = 3",
    "cast(id as varchar) = '7'",
    "greatest(id, 25) = 25",
    "day(event_time) = 3",
    "dayofweek(event_time) = 5",
    "extract(second from event_time) = 7",
    "date_trunc('day', event_time) = timestamptz '2024-05-02 00:00:00+00'",
    "cast(event_time as date) = date '2024-05-02'",
    "reverse(name) = '7 tneve'",
    "upper(name) = 'EVENT 7'",
    "length(name) = 7",
    "name like '%7'",
    "len(tags) = 1",
)


def test_no_filter_on_a_function_loses_rows_to_bounds(lake: Lake) -> None:
    table = events_table(lake)
    for day in range(DAYS):
        add(table, range(day * ROWS, (day + 1) * ROWS), day=day)
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("found", table.head())
        engine.bind_arrow("expected", table.head().to_arrow())
        for each in FILTERS:
            ids = [
                engine.query(f"select id from {name} where {each} order by id").read_all()
                for name in ("found", "expected")
            ]
            assert 0 < ids[1].num_rows < DAYS * ROWS, f"`{each}` tells nothing apart"
            assert ids[0] == ids[1], each


def test_no_filter_on_a_column_of_any_type_loses_rows_to_bounds(lake: Lake) -> None:
    """Trino does the same in `tests/cluster/test_bounds_on_trino.py`."""
    table = bounded_table(lake)
    with DuckDBEngine.open(lake.settings) as engine:
        assert differences(engine, table, type_sql=sql_type) == {}
