"""Window views as SQL against a brute-force oracle: ties, late and repeated events, edges of windows."""

from collections.abc import Callable, Iterator, Sequence

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import example, given, settings

from headrace.definitions.windows import Windows
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.engines.trino_dialect import TrinoDialect
from headrace.samples.point_in_time import Exposures
from headrace.samples.windows import WindowJoin, window_sql
from tests.amounts import examples
from tests.engines.trino_on_duckdb import on_duckdb
from tests.samples.window_oracle import (
    PLACE,
    SCHEMA,
    Row,
    at,
    event_rows,
    expected,
    exposure_rows,
    views,
    windows_of,
)

TIME = pa.timestamp("us", tz="UTC")
EXPOSURE = pa.schema([("id", pa.string()), ("u", pa.int64()), ("c", pa.string()), ("t", TIME)])
EXPOSURES = Exposures(relation="exposures", id="id", at="t")


def join_of(windows: Windows) -> WindowJoin:
    names = tuple((column.name, column.name) for column in windows.columns)
    return WindowJoin(windows=windows, relation="events", coordinate=PLACE, columns=names)


def duckdb_sql(windows: Windows) -> str:
    return window_sql(EXPOSURES, join_of(windows), dialect=DuckDBDialect())


def trino_sql(windows: Windows) -> str:
    return window_sql(EXPOSURES, join_of(windows), dialect=TrinoDialect())


def trino_on_duckdb(windows: Windows) -> str:
    return on_duckdb(trino_sql(windows))


FORMS: dict[str, Callable[[Windows], str]] = {"duckdb": duckdb_sql, "trino": trino_on_duckdb}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'; set threads = 1")
        # Trino's, which DuckDB lacks; only its base 16 is used
        opened.execute("create macro from_base(digits, base) as cast('0x' || digits as bigint)")
        yield opened


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, exposures: Sequence[Row], events: Sequence[Row]
) -> dict[object, Row]:
    connection.register("exposures", pa.Table.from_pylist(list(exposures), EXPOSURE))
    connection.register("events", pa.Table.from_pylist(list(events), SCHEMA))
    found = connection.sql(sql).to_arrow_table().to_pylist()
    assert len(found) == len(exposures)
    return {row.pop("id"): row for row in found}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=examples(300, few=8), deadline=None)
@given(exposures=exposure_rows, events=event_rows(), windows=views)
@example(exposures=[], events=[], windows=windows_of())
def test_the_query_gives_what_looking_at_every_event_gives(
    connection: duckdb.DuckDBPyConnection,
    form: str,
    exposures: list[Row],
    events: list[Row],
    windows: Windows,
) -> None:
    asked: list[Row] = [{**row, "id": f"x{number}"} for number, row in enumerate(exposures)]
    found = answer(connection, FORMS[form](windows), asked, events)
    assert found == {row["id"]: expected(windows, events, row, row["t"]) for row in asked}


def event(seconds: float, *, known: float | None = None, number: int = 0, item: int = 1) -> Row:
    place = {"_source": "one", "_source_partition": 0, "_source_offset": number}
    times = {"event_time": at(seconds), "known_at": at(seconds if known is None else known)}
    values = {"item": item, "price": None, "score": None, "tag": None}
    return {"id": f"e{number}", "u": 1, "c": "a", **values, **times, **place}


def test_the_edges_of_a_window_are_those_of_the_point_in_time_rule(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    # asked at 75 s, the window of 30 s begins with the tile of 45 s: at 40 s
    events = [
        event(39.999999, number=1),
        event(40, number=2, item=2),
        event(74.999999, number=3, item=3),
        event(75, number=4),
        event(50, known=75, number=5),
        event(50, known=74.999999, number=6, item=4),
    ]
    asked: list[Row] = [{"id": "x", "u": 1, "c": "a", "t": at(75)}]
    found = answer(connection, duckdb_sql(windows_of()), asked, events)["x"]
    assert (found["plays_30s"], found["total_30s"], found["recent_30s"]) == (3, 9, [2, 4, 3])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("r.known_us < x.t_us", "r.known_us <= x.t_us"),
        ("r.tile_us >= x.head_us", "r.tile_us > x.head_us"),
        ("tile_us >= head_us - 30000000)", "tile_us > head_us - 30000000)"),
        ("where nth = 1", "where nth >= 1"),
        ("known_us >= tile_us + 10000000 as", "known_us > tile_us + 10000000 as"),
    ],
)
def test_the_oracle_notices_each_way_to_get_it_wrong(
    connection: duckdb.DuckDBPyConnection, right: str, wrong: str
) -> None:
    windows = windows_of(entity=["u"])
    sql = duckdb_sql(windows)
    assert right in sql
    moments = [0, 5, 9.999999, 10, 10.000001, 20, 30, 40, 50, 61, 70, 75]
    events = [
        event(e, known=e + after, number=number)
        for number, (e, after) in enumerate(
            (e, after) for e in moments for after in (0, 0.000001, 5, 10, 20, 35)
        )
    ]
    events += [{**each, "_source": "two", "item": 7} for each in events[::3]]
    asked: list[Row] = [
        {"id": f"x{n}", "u": 1, "c": "a", "t": at(t)} for n, t in enumerate(moments)
    ]
    wanted = {row["id"]: expected(windows, events, row, row["t"]) for row in asked}
    assert answer(connection, sql, asked, events) == wanted
    assert answer(connection, sql.replace(right, wrong), asked, events) != wanted


def test_the_trino_form_parses_as_trino() -> None:
    for windows in (windows_of(), windows_of(key=False, delay="25s")):
        sql = trino_sql(windows)
        assert sqlglot.parse_one(sql, read="trino", error_level=sqlglot.ErrorLevel.RAISE)
