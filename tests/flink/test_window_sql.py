"""The SQL of a window view: one golden file, what holds for every view, and what is refused by name."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.definitions.window_rows import TILES_MAX, WindowRows
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.errors import FlinkCannotViewError, FlinkPythonMissingError
from headrace.flink.begin import Begin
from headrace.flink.following import interval
from headrace.flink.moment_sql import COPIES_PER_MOMENT
from headrace.flink.places import HIDDEN, hidden
from headrace.flink.python import python_session, refuse_python
from headrace.flink.view_limits import refuse_view
from headrace.flink.window_sql import history_sql, view_sql
from headrace.flink_access import FlinkAccess
from tests.flink.contracts import PLACES, contract
from tests.golden.golden import Golden
from tests.raising import refused

BEGIN = Begin(after_us=1_767_225_600_000_000, snapshot_id=8, history_id=7)
NOW = "current_row_timestamp()"
AGGREGATES: list[dict[str, Any]] = [
    {"name": "seen", "take": "count", "windows": ["1h", "1d"]},
    {"name": "paid", "take": "sum", "of": "price", "windows": ["1h"]},
    {"name": "largest", "take": "sum", "of": "large", "windows": ["1h"]},
    {"name": "least", "take": "min", "of": "double", "windows": ["1d"]},
    {"name": "newest", "take": "max", "of": "seen_ms", "windows": ["1d"]},
    {"name": "ids", "take": "distinct", "of": "id", "windows": ["1h"]},
    {"name": "last", "take": "last", "of": "price", "windows": ["1d"]},
]
# a day has more tiles of a minute than SQL copies events to
MANY: dict[str, Any] = {"hop": "1m", "lateness": "2h"}


def window(length: str) -> list[dict[str, Any]]:
    return [{"name": "seen", "take": "count", "windows": [length]}]


def rows(*, known_at: Any = "ingested", key: str | None = "id", **more: Any) -> WindowRows:  # noqa: ANN401
    said: dict[str, Any] = {
        "view": "features.recent",
        "events": "raw.things",
        "entity": ["small", "day"],
        "hop": "5m",
        "lateness": "1h",
        "aggregates": AGGREGATES,
    }
    stream = contract(known_at=known_at, key=key, allowed_lateness="20m")
    return WindowRows.of(resolve_windows(WindowView(**(said | more)), [stream]), stream)


def text(begin: Begin = BEGIN, **more: Any) -> str:  # noqa: ANN401
    return view_sql(rows(**more), PLACES.catalog, begin=begin).text


def mark_of(disorder: str, *, latest: str = NOW, wrong_days: int = 1) -> str:
    known = "cast(`known_at` as timestamp_ltz(3))"
    wrong = f"({NOW} + interval '{wrong_days} 00:00:00.000' day(3) to second(3))"
    mark = f"case when {known} <= {latest} then {known} when {known} <= {wrong} then {latest} end"
    return f"({mark} - interval '{disorder}' day(3) to second(3))"


def test_the_statements_of_a_view_are_those_of_the_file(golden: Golden) -> None:
    sql = view_sql(rows(delay="90s"), hidden(PLACES.catalog), begin=BEGIN)
    golden.check("flink-view.sql", sql.text)


def test_the_statements_of_history_are_those_of_the_file(golden: Golden) -> None:
    catalog = hidden(PLACES.catalog)
    sql = history_sql(rows(), catalog, snapshot_id=7, after_us=10_000_000, until_us=90_000_000)
    golden.check("flink-history.sql", sql.text)


def test_the_statements_of_a_view_of_many_tiles_are_those_of_the_file(golden: Golden) -> None:
    sql = view_sql(rows(**MANY), hidden(PLACES.catalog), begin=BEGIN)
    session = python_session(FlinkAccess(uri="", gateway_uri="", python="/opt/pyflink/bin/python"))
    golden.check("flink-view-many.sql", replace(sql, session=session).text)


def test_views_call_python_only_if_they_have_more_tiles_than_events_are_copied_to() -> None:
    assert "window_values" in text(**MANY)
    assert "window_values" not in text(hop="1m", aggregates=window(f"{TILES_MAX}m"))
    assert "window_values" in text(hop="1m", aggregates=window(f"{TILES_MAX + 1}m"))


def test_views_keep_moments_where_copies_to_each_end_would_cost_more() -> None:
    few = 3 * COPIES_PER_MOMENT  # of one window: a moment to enter, one to leave, one of a period
    assert "view moments" not in text(hop="1m", aggregates=window(f"{few}m"))
    assert "view moments" in text(hop="1m", aggregates=window(f"{few + 1}m"))


@pytest.mark.parametrize("of", [None, "price"])
def test_counts_are_sums_of_long_numbers(of: str | None) -> None:
    counted = {"name": "seen", "take": "count", "windows": ["1h"]} | ({"of": of} if of else {})
    added = re.search(r"sum\((.*)\) as _s0$", text(aggregates=[counted]), re.MULTILINE)
    assert added is not None
    assert not re.search(r"\b[01]\b(?! as bigint)", added[1])


def test_each_period_of_sums_ends_with_its_state() -> None:
    said = text(hop="1m", aggregates=window("1h"))
    period = "_at_ms - mod(_at_ms + _shift_ms, 3600000)"
    assert f"partition by `small`, `day`, {period} order by" in said
    assert "range between interval '0 01:00:00.000' day(3) to second(3) preceding" in said


def test_python_that_is_not_there_is_refused_with_what_was_asked(tmp_path: Path) -> None:
    here = "http://127.0.0.1:8083"
    restore = ("flink", "restore", "features.recent")
    for python in ("", str(tmp_path / "python")):
        access = FlinkAccess(uri=here, gateway_uri=here, python=python)
        with refused(
            FlinkPythonMissingError, view="features.recent", python=python, command=restore
        ):
            refuse_python(access, view="features.recent", command=restore)
    access = FlinkAccess(uri=here, gateway_uri=here, python=sys.executable)
    refuse_python(access, view="features.recent", command=restore)
    other = "http://flink.internal:8083"
    access = FlinkAccess(uri=other, gateway_uri=other, python="/there/python")
    refuse_python(access, view="features.recent", command=restore)


def test_secrets_are_not_in_what_is_shown() -> None:
    shown = view_sql(rows(), hidden(PLACES.catalog), begin=BEGIN).text
    assert "'tangerine'" in text()
    assert "tangerine" not in shown
    assert f"'{HIDDEN}'" in shown


def test_what_was_there_before_moves_no_watermark() -> None:
    setup = view_sql(rows(), PLACES.catalog, begin=BEGIN).setup
    news, history = (
        next(s for s in setup if f"table {name} (" in s) for name in ("news", "history")
    )
    assert "'start-snapshot-id' = '8'" in news
    assert f"watermark for _known as {mark_of('0 00:00:10.000')}" in news
    assert "'snapshot-id' = '7'" in history
    assert "watermark for _known as to_timestamp_ltz(0, 3)" in history
    assert "history" not in text(Begin(after_us=0, snapshot_id=8, history_id=None))


def test_times_that_records_bring_wait_as_long_as_records_may_be_late() -> None:
    for known_at in ({"after_event": "0s"}, {"column": "at"}):
        assert f"watermark for _known as {mark_of('0 00:20:00.000')}" in text(known_at=known_at)


def test_no_row_moves_the_watermark_beyond_when_its_contract_lets_it_be_known() -> None:
    latest = f"({NOW} + interval '1 00:00:00.000' day(3) to second(3))"
    mark = mark_of("0 00:20:00.000", latest=latest, wrong_days=2)
    assert f"watermark for _known as {mark}" in text(known_at={"after_event": "1d"})


def test_the_delay_of_a_view_moves_no_watermark() -> None:
    """Of two events the one that comes first may be known last, by a delay that is longer than the disorder."""
    (delayed,), (plain,) = (
        re.findall("watermark for _known as .*known_at.*", text(delay=delay))
        for delay in ("90s", "0s")
    )
    assert delayed == plain


def test_rows_that_may_be_one_event_are_told_apart_only_where_the_stream_has_a_key() -> None:
    assert "min(_place) over" in text()
    assert "min(_place) over" not in text(key=None)


def test_the_state_ends_by_the_time_of_events_and_never_by_the_clock() -> None:
    assert "state.ttl" not in text()
    assert "unbounded" not in text()


def test_a_plan_is_that_of_the_declaration_and_of_where_it_begins() -> None:
    first = view_sql(rows(), PLACES.catalog, begin=BEGIN)
    assert first.plan == view_sql(rows(), hidden(PLACES.catalog), begin=BEGIN).plan
    assert first.plan != view_sql(rows(lateness="2h"), PLACES.catalog, begin=BEGIN).plan


@pytest.mark.parametrize(
    ("ms", "written"),
    [(1, "0 00:00:00.001"), (86_399_999, "0 23:59:59.999"), (999 * 86_400_000, "999 00:00:00.000")],
)
def test_durations_are_written_to_the_millisecond(ms: int, written: str) -> None:
    assert interval(ms) == f"interval '{written}' day(3) to second(3)"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"lateness": "1000d"}, "aggregates"),
    ],
)
def test_what_sql_cannot_say_is_refused_by_its_key(more: dict[str, Any], key: str) -> None:
    with refused(FlinkCannotViewError, view="features.recent", key=key):
        refuse_view(rows(**more))


def test_a_view_that_sql_can_say_is_not_refused() -> None:
    refuse_view(rows())


def test_the_namespace_raw_is_quoted_wherever_it_is_named() -> None:
    assert not re.search(r"[^`.]\braw\.", text())
