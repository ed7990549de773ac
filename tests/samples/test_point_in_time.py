"""The point-in-time join against a brute-force oracle: ties, late rows, nulls, TTL edges."""

import datetime as dt
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.engines.trino_dialect import TrinoDialect
from headrace.samples.point_in_time import (
    NO_TIES,
    Exposures,
    FeatureJoin,
    key_hash_sql,
    record_sql,
    split_sql,
)
from tests.amounts import examples
from tests.engines.trino_on_duckdb import on_duckdb
from tests.samples.oracle import Row, newest_known

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
TIME = pa.timestamp("us", tz="UTC")
EXPOSURE = pa.schema([("id", pa.string()), ("u", pa.int64()), ("c", pa.string()), ("t", TIME)])
FEATURE = pa.schema(
    [
        ("u", pa.int64()),
        ("c", pa.string()),
        ("happened", TIME),
        ("known", TIME),
        ("v", pa.int64()),
        ("w", pa.string()),
        ("seq", pa.int64()),
    ]
)
EXPOSURES = Exposures(relation="exposures", id="id", at="t")


def join_of(
    *,
    ttl: dt.timedelta | None = None,
    delay: dt.timedelta = dt.timedelta(0),
    entity: tuple[str, ...] = ("u", "c"),
    order: tuple[str, ...] = ("seq",),
) -> FeatureJoin:
    return FeatureJoin(
        relation="features",
        entity=entity,
        columns=(("v", "f_v"), ("w", "f_w")),
        event_time="happened",
        known_at="known",
        event_time_as="f__event_time",
        known_at_as="f__known_at",
        order=order,
        ttl=ttl,
        delay=delay,
    )


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


# few distinct instants, an odd microsecond among them, so that everything collides with everything
seconds = st.sampled_from([0, 1, 2, 2.000001, 3, 4, 5, 7])
instants = st.builds(at, seconds)
maybe_instants = st.one_of(instants, instants, instants, instants, st.none())
users = st.sampled_from([1, 1, 2, None])
places = st.sampled_from(["a", "a", "b", None])
exposure_rows = st.lists(
    st.fixed_dictionaries({"u": users, "c": places, "t": instants}), max_size=16
)
feature_rows = st.lists(
    st.fixed_dictionaries(
        {
            "u": users,
            "c": places,
            "happened": maybe_instants,
            "known": maybe_instants,
            "v": st.sampled_from([0, 1, 2, None]),
            "w": st.sampled_from(["x", "y", None]),
        }
    ),
    max_size=24,
)
durations = st.sampled_from([0, 1, 2, 5]).map(lambda s: dt.timedelta(seconds=s))
joins = st.builds(
    join_of,
    ttl=st.none() | durations,
    delay=durations,
    entity=st.sampled_from([("u",), ("u", "c")]),
    # an ingest sequence, or no sequence at all: then every column of the table decides
    order=st.sampled_from([("seq",), ("u", "c", "v", "w")]),
)


@pytest.fixture(scope="module")
def connections() -> Iterator[tuple[duckdb.DuckDBPyConnection, ...]]:
    """Both physical ASOF plans: DuckDB switches to a loop below 64 probe rows."""
    pair = (duckdb.connect(), duckdb.connect())
    for connection, threshold in zip(pair, (64, 0), strict=True):
        connection.execute("set timezone = 'UTC'; set threads = 1")
        connection.execute(f"set asof_loop_join_threshold = {threshold}")
    yield pair
    for connection in pair:
        connection.close()


DUCKDB, TRINO = DuckDBDialect(), TrinoDialect()


def split(exposures: Exposures, join: FeatureJoin, *, tied: str | None = None) -> str:
    return split_sql(exposures, join, dialect=DUCKDB, tied=tied)


def split_with_tied_keys(exposures: Exposures, join: FeatureJoin) -> str:
    return split(exposures, join, tied=f"({key_hash_sql(join, dialect=DUCKDB)})")


def records(exposures: Exposures, join: FeatureJoin) -> str:
    return record_sql(exposures, join, dialect=DUCKDB)


def trino_sql(exposures: Exposures, join: FeatureJoin) -> str:
    return record_sql(exposures, join, dialect=TRINO)


def trino_on_duckdb(exposures: Exposures, join: FeatureJoin) -> str:
    return on_duckdb(trino_sql(exposures, join))


FORMS: dict[str, Callable[[Exposures, FeatureJoin], str]] = {
    "split": split,
    "split, tied keys given": split_with_tied_keys,
    "records": records,
    "trino": trino_on_duckdb,
}


def answer(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    exposures: Sequence[Row],
    features: Sequence[Row],
) -> dict[object, Row]:
    connection.register("exposures", pa.Table.from_pylist(list(exposures), EXPOSURE))
    connection.register("features", pa.Table.from_pylist(list(features), FEATURE))
    found = connection.sql(sql).to_arrow_table().to_pylist()
    assert len(found) == len(exposures)
    return {row.pop("id"): row for row in found}


def numbered(
    exposures: Sequence[Row], features: Sequence[Row], join: FeatureJoin
) -> tuple[list[Row], list[Row]]:
    has_sequence = join.order == ("seq",)
    return (
        [{**row, "id": f"e{n}"} for n, row in enumerate(exposures)],
        [{**row, "seq": n if has_sequence else None} for n, row in enumerate(features)],
    )


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=examples(80, few=15), deadline=None)
@given(
    exposures=exposure_rows,
    features=feature_rows,
    join=joins,
    before=st.none() | st.sampled_from([dt.timedelta(0), dt.timedelta(seconds=1)]),
)
@example(exposures=[], features=[], join=join_of(), before=None)
def test_every_form_gives_what_looking_at_every_row_gives(
    connections: tuple[duckdb.DuckDBPyConnection, ...],
    form: str,
    exposures: list[Row],
    features: list[Row],
    join: FeatureJoin,
    before: dt.timedelta | None,
) -> None:
    exposures, features = numbered(exposures, features, join)
    expected = {e["id"]: newest_known(e, features, join) for e in exposures}
    shown = EXPOSURES if before is None else begun(exposures, before)
    for connection in connections:
        assert answer(connection, FORMS[form](shown, join), exposures, features) == expected


def begun(exposures: Sequence[Row], before: dt.timedelta = dt.timedelta(0)) -> Exposures:
    """Say that no exposure is earlier than the earliest less a duration."""
    earliest = min((row["t"] for row in exposures), default=NOON)
    return replace(EXPOSURES, begin=earliest - before)


@functools.cache
def many(seed: int) -> tuple[list[Row], list[Row]]:
    """Enough rows for the parallel plans, few enough instants for ties and late rows."""
    draw = duckdb.sql(
        f"select hash(i, {seed}) as h, hash(i + 1000000, {seed}) as g from range(1200) r(i)"
    ).fetchall()
    exposures: list[Row] = [
        {"id": f"e{n}", "u": h % 8, "c": "ab"[g % 2], "t": at(h // 64 % 120)}
        for n, (h, g) in enumerate(draw[:400])
    ]
    features: list[Row] = []
    for n, (h, g) in enumerate(draw[400:]):
        happened = at(h // 64 % 120)
        late = dt.timedelta(seconds=g // 64 % 60 if g % 8 == 0 else 0)
        features.append(
            {"u": h % 8, "c": "ab"[g % 2], "happened": happened, "known": happened + late}
            | {"v": n, "w": "x", "seq": n}
        )
    return exposures, features


MANY_JOIN = join_of(ttl=dt.timedelta(seconds=40), delay=dt.timedelta(seconds=3))


@functools.cache
def right_of_many(seed: int, join: FeatureJoin) -> dict[object, Row]:
    exposures, features = many(seed)
    return {e["id"]: newest_known(e, features, join) for e in exposures}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_exact_on_a_thousand_rows_and_two_threads(form: str) -> None:
    exposures, features = many(7)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'; set threads = 2")
        found = answer(connection, FORMS[form](EXPOSURES, MANY_JOIN), exposures, features)
    assert found == right_of_many(7, MANY_JOIN)


@functools.cache
def after_most_features() -> tuple[list[Row], list[Row], Exposures]:
    """Exposures after the last feature happened; half of the features come late, some beside them."""
    draw = random.Random(11)
    exposures: list[Row] = [
        {"id": f"e{n}", "u": n % 16, "c": "a", "t": at(60 + n // 64)} for n in range(640)
    ]
    features: list[Row] = []
    for n in range(1200):
        happened = draw.randrange(60)
        known = draw.randrange(happened, 70) if n % 2 else happened
        times = {"happened": at(happened), "known": at(known)}
        features.append({"u": n % 16, "c": "a", "v": n, "w": "x", "seq": n} | times)
    return exposures, features, begun(exposures)


@functools.cache
def right_after_most_features(join: FeatureJoin) -> dict[object, Row]:
    exposures, features, _ = after_most_features()
    return {e["id"]: newest_known(e, features, join) for e in exposures}


@pytest.mark.parametrize("form", FORMS)
def test_of_rows_known_before_all_exposures_the_newest_is_enough(form: str) -> None:
    exposures, features, shown = after_most_features()
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = answer(connection, FORMS[form](shown, MANY_JOIN), exposures, features)
    assert found == right_after_most_features(MANY_JOIN)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("max(et)", "min(et)"),
        ("f.known desc", "f.known asc"),
        ("f.s0 desc", "f.s0 asc"),
        ("where f.known < ", "where f.et < "),
        ("where known >= ", "where known > "),
    ],
)
def test_the_oracle_notices_a_wrong_row_that_stands_before(right: str, wrong: str) -> None:
    exposures, features, shown = after_most_features()
    join = join_of()
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        sql = records(shown, join)
        assert right in sql
        found = answer(connection, sql.replace(right, wrong, 1), exposures, features)
    assert found != right_after_most_features(join)


def plain_asof_sql(column: str) -> str:
    """The join people write first: newest by one clock."""
    return (
        "select e.id, f.v as f_v, f.w as f_w, f.happened as f__event_time,"
        " greatest(f.known, f.happened) as f__known_at from exposures e"
        f" asof left join (select *, {column} as clock from features) f"
        " on e.u = f.u and e.c = f.c and e.t > f.clock"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        plain_asof_sql("happened"),
        plain_asof_sql("greatest(known, happened)"),
        split(EXPOSURES, join_of()).replace("e.t > r.known", "e.t >= r.known"),
        split(EXPOSURES, join_of()).replace("l_et >= o_et", "l_et > o_et"),
        split(EXPOSURES, join_of()).replace("e.t > r.et", "e.t >= r.et"),
        split(EXPOSURES, join_of()).replace("et >= max(et)", "true or et >= max(et)"),
        split(EXPOSURES, join_of()).replace("is distinct from known", "is not null or true"),
        split(EXPOSURES, join_of(), tied=NO_TIES),
        split(EXPOSURES, join_of()).replace("s0 desc", "s0 asc"),
        records(EXPOSURES, join_of()).replace("et >= max(et)", "et > max(et)"),
        on_duckdb(trino_sql(EXPOSURES, join_of()).replace("kind asc", "kind desc")),
    ],
)
def test_the_oracle_notices_each_way_to_get_it_wrong(wrong: str) -> None:
    join = join_of()
    assert wrong not in {form(EXPOSURES, join) for form in FORMS.values()}
    exposures, features = many(7)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'; set threads = 1")
        found = answer(connection, wrong, exposures, features)
    assert found != right_of_many(7, join)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("after_us", [0, 1])
def test_a_row_known_at_the_impression_or_a_microsecond_after_is_never_joined(
    form: str, after_us: int
) -> None:
    known = NOON + dt.timedelta(microseconds=after_us)
    planted = {"u": 1, "c": "a", "happened": at(-5), "known": known, "v": 666, "w": "x", "seq": 2}
    earlier = {"u": 1, "c": "a", "happened": at(-9), "known": at(-9), "v": 1, "w": "x", "seq": 1}
    exposures: list[Row] = [{"id": "e", "u": 1, "c": "a", "t": NOON}]
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = answer(connection, FORMS[form](EXPOSURES, join_of()), exposures, [planted, earlier])
        just_in_time = {**planted, "known": NOON - dt.timedelta(microseconds=1)}
        later = answer(connection, FORMS[form](EXPOSURES, join_of()), exposures, [just_in_time])
    assert found["e"]["f_v"] == 1
    assert later["e"]["f_v"] == 666


def test_the_trino_form_parses_as_trino_and_has_no_asof_join() -> None:
    sql = trino_sql(EXPOSURES, join_of(ttl=dt.timedelta(days=7), delay=dt.timedelta(minutes=5)))
    assert sqlglot.parse_one(sql, read="trino", error_level=sqlglot.ErrorLevel.RAISE)
    assert "asof" not in sql
    assert "ignore nulls over" in sql


def test_a_delay_below_zero_and_a_join_without_order_are_refused() -> None:
    with pytest.raises(ValueError, match="never known before it happens"):
        join_of(delay=dt.timedelta(seconds=-1))
    with pytest.raises(ValueError, match="one order column"):
        join_of(order=())
