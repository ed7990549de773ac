"""SQL in the dialects of engines: each rendering parses, and means the same in both."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from headrace.engines.dialect import Dialect, FirstOfKey, NewestBefore
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.engines.trino_dialect import TrinoDialect
from headrace.identifiers import quote_text
from tests.conftest import ROOT
from tests.engines.trino_on_duckdb import on_duckdb

DIALECTS: dict[str, Dialect] = {"duckdb": DuckDBDialect(), "trino": TrinoDialect()}
NOON = dt.datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=dt.UTC)
NOON_US = 1_772_366_400_123_457
# these take an engine, or get one from `open_engine`
ABOVE = ("samples", "serving", "datasets/rebuild.py", "maintenance/compaction/rewrite.py")
WORDS_OF_ONE_ENGINE = re.compile(
    r"duckdb|trino|\bqualify\b|make_timestamptz|to_unixtime|asof (left )?join \w+ \w on"
    r"|epoch_us\((\{|[a-z]\.)|(?<!math\.)isnan\(|(?<!hashlib\.)md5\(|::[a-z]|materialized|interval '",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'; set threads = 1")
        # Trino's, which DuckDB lacks
        opened.execute("create macro from_iso8601_timestamp_nanos(t) as cast(t as timestamptz)")
        opened.execute(
            "create table probe as select * from (values"
            " (1, 'a', timestamptz '2026-03-01 12:00:02+00'),"
            " (2, 'a', timestamptz '2026-03-01 12:00:01+00'),"
            " (3, null, timestamptz '2026-03-01 12:00:02+00'),"
            " (4, 'b', timestamptz '2026-03-01 12:00:02+00')) p(id, k, t)"
        )
        opened.execute(
            "create table known as select * from (values"
            " ('a', timestamptz '2026-03-01 12:00:00+00', 10, 1),"
            " ('a', timestamptz '2026-03-01 12:00:01+00', 20, 2),"
            " ('c', timestamptz '2026-03-01 12:00:00+00', 30, null)) r(k, happened, v, w)"
        )
        yield opened


def run(
    connection: duckdb.DuckDBPyConnection, dialect: Dialect, sql: str
) -> list[tuple[object, ...]]:
    """Run SQL of any dialect on DuckDB; Trino's is parsed as Trino's first."""
    if dialect.name == "trino":
        sql = on_duckdb(sql)
    return sorted(connection.sql(sql).fetchall(), key=repr)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_rendering_parses_in_its_dialect(name: str) -> None:
    dialect = DIALECTS[name]
    for expression in (
        dialect.epoch_us("t"),
        dialect.instant("us + 1"),
        dialect.literal(NOON),
        dialect.shifted("t", dt.timedelta(days=1, microseconds=1)),
        dialect.shifted("t", -dt.timedelta(milliseconds=1500)),
        dialect.is_nan("x"),
        dialect.md5_hex("'a' || b"),
        dialect.hash60("'a' || b"),
        dialect.tie_hash(("k", "t")),
        dialect.has_json("x", ("shop.rates", "status")),
    ):
        assert sqlglot.parse_one(f"select {expression}", read=name)
    steps = f"{dialect.step_once('a', 'select 1')}, {dialect.step_inlined('b', 'select 2')}"
    assert sqlglot.parse_one(f"with {steps} select * from a, b", read=name)


@pytest.mark.parametrize("name", DIALECTS)
def test_what_a_json_text_has_is_a_value_of_its_type(
    connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    dialect = DIALECTS[name]
    said = {"n": None, "b": True, "f": "NaN", "d": "1.50", "z": "AAE=", "t": NOON.isoformat()}
    text = quote_text(json.dumps({"a.b": said | {"l": [1.5, None, "Infinity"]}}))
    for key, kind, value in (
        ("n", pa.int64(), None),
        ("b", pa.bool_(), True),
        ("f", pa.float32(), pytest.approx(float("nan"), nan_ok=True)),
        ("d", pa.decimal128(9, 2), Decimal("1.50")),
        ("z", pa.binary(), b"\0\1"),
        ("t", pa.timestamp("us", tz="UTC"), NOON),
        ("l", pa.list_(pa.float64()), [1.5, None, float("inf")]),
    ):
        path = ("a.b", key)
        found = f"select {dialect.has_json(text, path)}, {dialect.json_as(text, path, kind)}"
        assert run(connection, dialect, found) == [(True, value)], key
    missing = f"{dialect.has_json(text, ('a',))}, {dialect.json_as(text, ('a',), pa.int64())}"
    assert run(connection, dialect, f"select {missing}") == [(False, None)]


@pytest.mark.parametrize(
    "by",
    [
        dt.timedelta(0),
        dt.timedelta(days=400),
        dt.timedelta(seconds=-1, microseconds=1000),
        -dt.timedelta(microseconds=123_457),
    ],
)
def test_duckdb_shifts_to_the_microsecond(
    connection: duckdb.DuckDBPyConnection, by: dt.timedelta
) -> None:
    dialect = DuckDBDialect()
    moved = dialect.epoch_us(dialect.shifted(dialect.literal(NOON), by))
    assert run(connection, dialect, f"select {moved}") == [
        (NOON_US + by // dt.timedelta(microseconds=1),)
    ]


@pytest.mark.parametrize(
    ("by", "text"),
    [
        (dt.timedelta(0), "t"),
        (dt.timedelta(hours=1), "t + interval '3600' second"),
        (dt.timedelta(milliseconds=-1500), "t - interval '1.500' second"),
        (
            dt.timedelta(microseconds=7),
            TrinoDialect().instant(f"{TrinoDialect().epoch_us('t')} + 7"),
        ),
    ],
)
def test_trino_shifts_by_intervals_of_whole_milliseconds_and_else_by_microseconds(
    by: dt.timedelta, text: str
) -> None:
    assert TrinoDialect().shifted("t", by) == text


def test_literals_are_utc_and_a_moment_without_zone_is_refused() -> None:
    early = NOON.astimezone(dt.timezone(dt.timedelta(hours=-9)))
    assert TrinoDialect().literal(early) == "timestamp '2026-03-01 12:00:00.123457 UTC'"
    assert DuckDBDialect().literal(early) == "timestamptz '2026-03-01 12:00:00.123457+00:00'"
    for dialect in DIALECTS.values():
        with pytest.raises(ValueError, match="no time zone"):
            dialect.literal(NOON.replace(tzinfo=None))


def test_md5_is_spelled_to_give_the_same_text() -> None:
    assert DuckDBDialect().md5_hex("x") == "md5(x)"
    assert TrinoDialect().md5_hex("x") == "lower(to_hex(md5(to_utf8(x))))"
    assert TrinoDialect().hash60("x") == "from_base(substr(to_hex(md5(to_utf8(x))), 1, 15), 16)"


@pytest.mark.parametrize("name", DIALECTS)
def test_the_first_row_of_each_key_is_chosen(
    connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    rows = FirstOfKey(
        columns=[("k", "k"), ("v + 1", "more")],
        relation="known",
        where="v > 0",
        keys=["k"],
        order=["happened desc", "w desc nulls last"],
    )
    sql = DIALECTS[name].first_of_key(rows)
    assert run(connection, DIALECTS[name], sql) == [("a", 21), ("c", 31)]


@pytest.mark.parametrize("name", DIALECTS)
def test_the_newest_row_strictly_before_is_joined(
    connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    join = NewestBefore(
        probes="probe",
        rows="known",
        keys=["k"],
        at="e.t",
        clock="happened",
        carried=["id"],
        taken=[("v", "value"), ("w", "w")],
    )
    sql = DIALECTS[name].newest_before(join)
    expected = [(1, 20, 2), (2, 10, 1), (3, None, None), (4, None, None)]
    assert run(connection, DIALECTS[name], sql) == expected


def test_rooms_above_the_engines_have_no_words_of_one_engine() -> None:
    folder = ROOT / "headrace"
    paths = [p for each in ABOVE for p in ((folder / each).rglob("*.py"), [folder / each])]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted({path for group in paths for path in group if path.is_file()})
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if WORDS_OF_ONE_ENGINE.search(line)
    ]
    assert found == []
