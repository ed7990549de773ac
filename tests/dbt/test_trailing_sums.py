"""Trailing sums against a definition so plain that it is obviously right."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.amounts import examples
from tests.dbt.raw_lake import START, stream_rows

HOUR = dt.timedelta(hours=1)
MICROSECOND = dt.timedelta(microseconds=1)
DELAY = dt.timedelta(minutes=5)
WINDOWS = {"1d": 24 * HOUR, "7d": 168 * HOUR}


@dataclass(frozen=True)
class Event:
    item_id: int
    click: bool
    at: dt.datetime
    known_at: dt.datetime


@dataclass(frozen=True)
class Row:
    item_id: int
    event_time: dt.datetime
    known_at: dt.datetime
    counts: dict[str, int]
    ctr_1d: float | None


@pytest.fixture(scope="module")
def feature(compiled: Callable[[str], str]) -> Iterator[Callable[[Sequence[Event]], list[Row]]]:
    """Run the compiled SQL of features.item_ctr on plain DuckDB tables."""
    sql = compiled("features/item_ctr")
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.execute("set threads = 1")
    connection.execute("create schema staging")

    def run(events: Sequence[Event]) -> list[Row]:
        for stream, click in (("impressions", False), ("clicks", True)):
            rows = [
                {"item_id": e.item_id, "event_time": e.at, "known_at": e.known_at}
                for e in events
                if e.click == click
            ]
            connection.register("given", stream_rows(stream, rows, first_offset=0))
            connection.execute(f"create or replace table staging.{stream} as from given")
        found = connection.sql(sql).to_arrow_table().to_pylist()
        names = [f"{kind}_{window}" for kind in ("impressions", "clicks") for window in WINDOWS]
        return [
            Row(
                r["item_id"],
                r["event_time"],
                r["known_at"],
                {name: r[name] for name in names},
                r["ctr_1d"],
            )
            for r in found
        ]

    yield run
    connection.close()


def truth(events: Sequence[Event], *, item_id: int, hour: dt.datetime, known: dt.datetime) -> dict:
    """Count, for one item at one hour, the inputs of each window known at `known`."""
    return {
        f"{kind}_{name}": sum(
            e.item_id == item_id
            and e.click == (kind == "clicks")
            and hour - window <= e.at < hour
            and e.known_at <= known
            for e in events
        )
        for kind in ("impressions", "clicks")
        for name, window in WINDOWS.items()
    }


def looked_up(rows: Sequence[Row], *, item_id: int, at: dt.datetime) -> dict[str, int] | None:
    """The point-in-time rule, word by word."""
    usable = [r for r in rows if r.item_id == item_id and r.event_time < at and r.known_at < at]
    if not usable:
        return None
    return max(usable, key=lambda r: (r.event_time, r.known_at)).counts


lateness = st.one_of(
    st.just(dt.timedelta(0)),
    st.sampled_from([MICROSECOND, HOUR, HOUR + MICROSECOND, 24 * HOUR, 168 * HOUR, 169 * HOUR]),
    st.integers(0, 20).map(lambda minutes: dt.timedelta(minutes=minutes * 7)),
    st.integers(0, 12).map(lambda hours: hours * 17 * HOUR),
)
moments = st.one_of(
    st.integers(0, 240).map(lambda hours: hours * HOUR),
    st.integers(0, 240 * 60).map(lambda minutes: dt.timedelta(minutes=minutes)),
    st.integers(0, 30).map(lambda hours: (hours + 1) * HOUR - MICROSECOND),
).map(lambda offset: START + offset)
events_of_a_test = st.lists(
    st.builds(
        lambda item_id, click, at, late: Event(item_id, click, at, at + late),
        st.integers(1, 2),
        st.booleans(),
        moments,
        lateness,
    ),
    max_size=12,
)
many_examples = settings(
    max_examples=examples(150, few=25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@many_examples
@given(events=events_of_a_test)
def test_every_row_counts_what_was_known_when_it_became_known(
    feature: Callable[[Sequence[Event]], list[Row]], events: list[Event]
) -> None:
    rows = feature(events)

    assert len({(r.item_id, r.event_time, r.known_at) for r in rows}) == len(rows)
    for row in rows:
        known = max(row.event_time, row.known_at - DELAY)
        assert row.counts == truth(events, item_id=row.item_id, hour=row.event_time, known=known)
        shown = row.counts["impressions_1d"]
        assert row.ctr_1d == (row.counts["clicks_1d"] / shown if shown else None)


@many_examples
@given(events=events_of_a_test)
def test_a_look_up_finds_what_a_table_with_every_hour_would_say(
    feature: Callable[[Sequence[Event]], list[Row]], events: list[Event]
) -> None:
    rows = feature(events)
    edges = {r.known_at for r in rows} | {r.event_time for r in rows} | {e.known_at for e in events}
    probes = sorted({edge + step for edge in edges for step in (0 * HOUR, MICROSECOND, HOUR)})

    for item_id in (1, 2):
        for at in probes[:: max(1, len(probes) // 40)]:
            hour = START + (at - START - DELAY - MICROSECOND) // HOUR * HOUR
            known = max(hour, at - DELAY - MICROSECOND)
            expected = truth(events, item_id=item_id, hour=hour, known=known)
            found = looked_up(rows, item_id=item_id, at=at)
            assert (found or dict.fromkeys(expected, 0)) == expected


def change_points(event: Event) -> set[dt.datetime]:
    """The hours at which an input starts to count, arrives, and stops to count."""
    first = START + ((event.at - START) // HOUR + 1) * HOUR
    arrival = START - (START - event.known_at) // HOUR * HOUR
    return {first, max(first, arrival), *(first + window for window in WINDOWS.values())}


@many_examples
@given(events=events_of_a_test)
def test_a_row_owes_its_hour_to_an_input_that_was_known(
    feature: Callable[[Sequence[Event]], list[Row]], events: list[Event]
) -> None:
    for row in feature(events):
        known = max(row.event_time, row.known_at - DELAY)
        assert any(
            e.item_id == row.item_id and e.known_at <= known and row.event_time in change_points(e)
            for e in events
        )
