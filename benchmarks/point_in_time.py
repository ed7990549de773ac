"""Claim: the exact, arrival-aware point-in-time join costs at most 1.5 times the leaky ASOF join.

1M exposures meet 4M feature rows of 100,000 entities over seven days; 5 % of the rows became known
late, by up to a day. The peer is the join people write first, `asof … on event_time < t`, in the
same engine on the same data: it is wrong on some percent of exposures, which is shown. Both read
DuckDB tables and fill a DuckDB table; reading Parquet is part of neither.

The search for tied rows is a claim of its own: a build does it once for each day of a feature
table, however many days of samples that day reaches, so its share shrinks with the reach of a view.
The second figure pays for it in full.
"""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.harness import Contender, Measured, Result, Rounds, measure, show
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.samples.point_in_time import (
    NO_TIES,
    Exposures,
    FeatureJoin,
    key_hash_sql,
    record_sql,
    split_sql,
)

EXPOSURES = 1_000_000
FEATURES = 4_000_000
ENTITIES = 100_000
LATE_PERCENT = 5
RATIO_MAX = 1.5
RATIO_WITH_SEARCH_MAX = (
    2.0  # set after a first run that gave 1.84: a guard against worse, not a goal
)
_DAYS = 7
_DAY_US = 86_400 * 1_000_000
_WEEK_US = _DAYS * _DAY_US
_START_US = 1_767_571_200_000_000
_JOIN = FeatureJoin(
    relation="features",
    entity=("user_id",),
    columns=(("a", "a"), ("b", "b"), ("c", "c")),
    event_time="event_time",
    known_at="known_at",
    event_time_as="used_event_time",
    known_at_as="used_known_at",
    order=("a", "b", "c"),
)
_DIALECT = DuckDBDialect()
_SHOWN = Exposures(relation="exposures", id="id", at="event_time")
_LEAKY = """
select e.id, f.a, f.b, f.c, f.event_time as used_event_time, f.known_at as used_known_at
from exposures e asof left join features f
  on e.user_id = f.user_id and e.event_time > f.event_time
"""


def database(*, scale: int) -> duckdb.DuckDBPyConnection:
    """Make the data: the same on every machine, each row from hashes of its number."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'; set threads = 2")
    moment = f"make_timestamptz(({_START_US} + (hash({{}}) % {_WEEK_US}))::bigint)"
    connection.execute(
        f"create table exposures as select i as id, (hash(i) % {ENTITIES // scale})::bigint as user_id,"
        f" {moment.format('i * 7 + 1')} as event_time from range({EXPOSURES // scale}) r(i)"
    )
    connection.execute(
        "create table features as select user_id, event_time, case"
        f" when hash(i * 3 + 5) % 100 < {LATE_PERCENT} then make_timestamptz(epoch_us(event_time)"
        " + 1 + (hash(i * 11) % 86400000000)::bigint) else event_time end as known_at, a, b, c"
        f" from (select i, (hash(i * 13 + 3) % {ENTITIES // scale})::bigint as user_id,"
        f" {moment.format('i * 17 + 1')} as event_time, (hash(i * 19) % 1000)::bigint as a,"
        " (hash(i * 23) % 1000)::bigint as b, (hash(i * 23) % 1000) / 1000 as c"
        f" from range({FEATURES // scale}) r(i))"
    )
    return connection


def leaky(*, scale: int, folder: str) -> Rounds:
    """Join by event time alone."""
    _ = folder
    connection = database(scale=scale)
    yield {}
    while True:
        connection.execute(f"create or replace table found as {_LEAKY}")
        yield {}


def exact(*, scale: int, folder: str) -> Rounds:
    """Join as a build does, with its tied keys found before."""
    _ = folder
    connection = database(scale=scale)
    sql = split_sql(_SHOWN, _JOIN, dialect=_DIALECT, tied=_find_tied(connection))
    yield {}
    while True:
        connection.execute(f"create or replace table found as {sql}")
        yield {}


def tied_keys(*, scale: int, folder: str) -> Rounds:
    """Only find the tied keys, a day at a time."""
    _ = folder
    connection = database(scale=scale)
    yield {}
    while True:
        _find_tied(connection)
        yield {}


def one_pass(*, scale: int, folder: str) -> Rounds:
    """Join by record setters; once, compare the three answers."""
    _ = folder
    connection = database(scale=scale)
    exact_sql = split_sql(_SHOWN, _JOIN, dialect=_DIALECT, tied=_find_tied(connection))
    connection.execute(f"create table leaky as {_LEAKY}")
    connection.execute(f"create table exact as {exact_sql}")
    yield {}
    while True:
        connection.execute(
            f"create or replace table found as {record_sql(_SHOWN, _JOIN, dialect=_DIALECT)}"
        )
        yield {name: _differences(connection, name) for name in ("leaky", "exact")}


def run(*, quick: bool) -> list[Result]:
    """Measure five rounds of each; `quick` takes a twentieth of the data, twice."""
    arguments = {"scale": 20 if quick else 1}
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments=arguments)
        for name in ("leaky", "exact", "tied_keys", "one_pass")
    ]
    found = measure(contenders, rounds=2 if quick else 5)
    plain, ours, search = found["leaky"], found["exact"], found["tied_keys"]
    checked = found["one_pass"]
    rows = [_row(one, plain) for one in (plain, ours, search, checked)]
    show(f"{EXPOSURES:,} exposures, {FEATURES:,} feature rows, {LATE_PERCENT} % late", rows)
    exposures = EXPOSURES // arguments["scale"]
    wrong = checked.figure("leaky") / exposures
    print(f"wrong in the leaky join: {wrong:.1%} of exposures; in the exact one: ", end="")
    print(f"{checked.figure('exact'):.0f} exposures")
    ratio = ours.cpu_s / plain.cpu_s
    whole_s = ours.cpu_s + search.cpu_s
    peer = f"leaky ASOF join, {plain.cpu_s:.2f} s, {wrong:.1%} of exposures wrong"
    return [
        Result(
            claim="point_in_time",
            value=ours.cpu_s,
            unit="CPU s, tied keys known",
            peer=peer,
            ratio=ratio,
            target=f"ratio <= {RATIO_MAX}, no exposure different from the one-pass form",
            holds=ratio <= RATIO_MAX and checked.figure("exact") == 0,
        ),
        Result(
            claim="point_in_time_with_search",
            value=whole_s,
            unit="CPU s, tied keys searched for this one join",
            peer=peer,
            ratio=whole_s / plain.cpu_s,
            target=f"ratio <= {RATIO_WITH_SEARCH_MAX}",
            holds=whole_s / plain.cpu_s <= RATIO_WITH_SEARCH_MAX,
        ),
    ]


def _find_tied(connection: duckdb.DuckDBPyConnection) -> str:
    """Look through the feature rows day by day, as a build does."""
    found = 0
    connection.execute("create or replace table tied (h ubigint)")
    for first in range(_START_US, _START_US + _WEEK_US, _DAY_US):
        span = f"epoch_us(event_time) >= {first} and epoch_us(event_time) < {first + _DAY_US}"
        day = replace(_JOIN, relation=f"(select * from features where {span})")
        hashes = np.sort(
            connection.sql(key_hash_sql(day, dialect=_DIALECT))
            .to_arrow_table()
            .column("h")
            .to_numpy()
        )
        repeated = pa.table({"h": np.unique(hashes[1:][hashes[1:] == hashes[:-1]])})
        if repeated.num_rows:
            connection.register("repeated", repeated)
            connection.execute("insert into tied from repeated")
            found += repeated.num_rows
    return "tied" if found else NO_TIES


def _differences(connection: duckdb.DuckDBPyConnection, name: str) -> float:
    found = connection.execute(
        f"select count(*) from (select columns(*)::varchar from found"
        f" except select columns(*)::varchar from {name})"
    ).fetchone()
    return 0.0 if found is None else float(found[0])


def _row(measured: Measured, plain: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "CPU s": measured.cpu_s,
        "wall s": measured.wall_s,
        "CPU to leaky": measured.cpu_s / plain.cpu_s,
        "peak RSS MiB": measured.peak_rss_mib,
    }
