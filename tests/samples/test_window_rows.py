"""Rows of window views against a brute-force oracle: what a look-up in them finds at any moment."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.window_rows import WindowRows
from headrace.engines.dialect import Dialect
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.engines.trino_dialect import TrinoDialect
from headrace.samples.window_rows import rows_sql
from tests.amounts import examples
from tests.engines.trino_on_duckdb import on_duckdb
from tests.samples.window_oracle import (
    NOON,
    PLACE,
    SCHEMA,
    STREAM,
    Row,
    at,
    event_rows,
    expected,
    windows_of,
)

NOON_US = (NOON - EPOCH) // ONE_US
LAST_US = NOON_US + 600_000_000


def rows_of(*, key: bool = True, **changes: object) -> WindowRows:
    stream = STREAM if key else STREAM.model_copy(update={"key": None})
    return WindowRows.of(windows_of(key=key, **changes), stream)


def in_duckdb(rows: WindowRows, after_us: int, until_us: int) -> str:
    return _sql(rows, after_us, until_us, DuckDBDialect())


def in_trino(rows: WindowRows, after_us: int, until_us: int) -> str:
    sql = _sql(rows, after_us, until_us, TrinoDialect())
    return on_duckdb(sql)


def _sql(rows: WindowRows, after_us: int, until_us: int, dialect: Dialect) -> str:
    return rows_sql(rows, "events", PLACE, dialect=dialect, after_us=after_us, until_us=until_us)


FORMS: dict[str, Callable[[WindowRows, int, int], str]] = {"duckdb": in_duckdb, "trino": in_trino}
views = st.builds(
    rows_of,
    key=st.booleans(),
    delay=st.sampled_from(["0s", "0s", "3s", "12s"]),
    lateness=st.sampled_from([None, "12s", "45s"]),
    entity=st.sampled_from([["u"], ["u", "c"]]),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'; set threads = 1")
        # Trino's, which DuckDB lacks
        opened.execute("create macro from_base(digits, base) as cast('0x' || digits as bigint)")
        opened.execute("create macro from_unixtime_nanos(n) as make_timestamptz(n // 1000)")
        yield opened


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, events: Sequence[Row]
) -> list[dict[str, Any]]:
    connection.register("events", pa.Table.from_pylist(list(events), SCHEMA))
    return connection.sql(sql).to_arrow_table().to_pylist()


def looked_up(
    rows: WindowRows, found: Sequence[Row], entity: Row, moment: dt.datetime
) -> dict[str, Any]:
    """Return what a point-in-time look-up finds; nothing is as good as an entity without events."""
    mine = [row for row in found if all(row[name] == entity[name] for name in rows.windows.entity)]
    known = [row for row in mine if row["event_time"] < moment and row["known_at"] < moment]
    newest = max(known, key=lambda row: (row["event_time"], row["known_at"]), default=None)
    if newest is None:
        return expected(rows.windows, [], {**entity}, moment)
    return {column.name: newest[column.name] for column in rows.windows.columns}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=examples(200, few=6), deadline=None)
@given(
    events=event_rows(),
    rows=views,
    moments=st.lists(st.integers(1, 60_000_000 * 4), min_size=1, max_size=12),
)
@example(events=[], rows=rows_of(), moments=[1])
def test_a_look_up_finds_the_views_values_at_the_newest_end_of_a_tile(
    connection: duckdb.DuckDBPyConnection,
    form: str,
    events: list[Row],
    rows: WindowRows,
    moments: list[int],
) -> None:
    found = answer(connection, FORMS[form](rows, 0, LAST_US), events)
    hop_us = rows.windows.hop_us
    for us in moments:
        moment = NOON + us * ONE_US
        end = NOON + (us - 1) // hop_us * hop_us * ONE_US  # the newest before the moment
        for entity in ({"u": 1, "c": "a"}, {"u": 2, "c": "a"}, {"u": 1, "c": "b"}):
            wanted = expected(rows.windows, events, entity, end)
            assert looked_up(rows, found, entity, moment) == wanted


@settings(max_examples=examples(100, few=6), deadline=None)
@given(events=event_rows(), rows=views, cut=st.integers(0, 15))
def test_rows_up_to_a_moment_and_those_after_it_are_all_rows(
    connection: duckdb.DuckDBPyConnection, events: list[Row], rows: WindowRows, cut: int
) -> None:
    cut_us = NOON_US + cut * rows.windows.hop_us
    whole = answer(connection, in_duckdb(rows, 0, LAST_US), events)
    before = answer(connection, in_duckdb(rows, 0, cut_us), events)
    after = answer(connection, in_duckdb(rows, cut_us, LAST_US), events)
    assert sorted(map(repr, whole)) == sorted(map(repr, before + after))
    keys = [(*(row[n] for n in rows.windows.entity), row["event_time"]) for row in whole]
    assert len(set(keys)) == len(keys)
    assert all(row["known_at"] == row["event_time"] for row in whole)


def event(seconds: float, *, known: float | None = None, number: int = 0) -> Row:
    place = {"_source": "one", "_source_partition": 0, "_source_offset": number}
    times = {"event_time": at(seconds), "known_at": at(seconds if known is None else known)}
    values = {"item": 1, "price": None, "score": None, "tag": None}
    return {"id": f"e{number}", "u": 1, "c": "a", **values, **times, **place}


def plays(
    connection: duckdb.DuckDBPyConnection, events: Sequence[Row], **changes: str
) -> dict[float, int]:
    """Return the count of 30 s by the seconds of each row's end."""
    one = [{"name": "plays", "take": "count", "windows": ["30s"]}]
    rows = WindowRows.of(windows_of(key=True, aggregates=one, **changes), STREAM)
    found = answer(connection, in_duckdb(rows, 0, LAST_US), events)
    return {(row["event_time"] - NOON).total_seconds(): row["plays_30s"] for row in found}


def test_rows_are_at_the_ends_at_which_an_event_enters_and_leaves(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert plays(connection, [event(3)]) == {10: 1, 40: 0}
    assert plays(connection, [event(0), event(10, number=1)]) == {10: 1, 20: 2, 40: 1, 50: 0}


def test_a_late_event_enters_after_the_tile_in_which_it_became_known(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert plays(connection, [event(3, known=27)]) == {30: 1, 40: 0}
    assert plays(connection, [event(3, known=29.999999)]) == {30: 1, 40: 0}
    assert plays(connection, [event(3, known=30)]) == {}
    assert plays(connection, [event(3, known=27)], lateness="20s") == {}
    assert plays(connection, [event(3)], delay="12s") == {20: 1, 40: 0}


def test_the_table_says_what_its_rows_are() -> None:
    rows = rows_of()
    assert str(rows.table) == "features.recent_rows"
    schema = rows.schema()
    assert [field.name for field in schema if not field.nullable] == [
        "u",
        "c",
        "event_time",
        "known_at",
    ]
    assert schema.field("paid_10s").type == pa.decimal128(38, 2)
    assert replace(rows, disorder=dt.timedelta(seconds=2)).disorder_ms == 2000
