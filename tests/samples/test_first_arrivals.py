"""Samples of raw streams whose producers send some events twice."""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.engines.trino_dialect import TrinoDialect
from headrace.errors import DuplicateExposureError
from headrace.ingest.retry import apply_retry
from headrace.ingest.run import ingest
from headrace.samples.build import build
from headrace.samples.first_arrivals import Repeats, first_arrivals_sql
from headrace.samples.plan import plan_build
from headrace.samples.resolve import Recipe, resolve
from headrace.samples.times import Span
from tests.amounts import examples
from tests.raising import refused
from tests.samples.factories import MIDNIGHT, TIME, at, settings_in

HOUR = dt.timedelta(hours=1)
DAY = Span.of_day((MIDNIGHT + 24 * HOUR).date())
REPEATS = Repeats(table="raw.shown", key="id", arrival=("_source_offset",))
SAMPLES: dict[str, Any] = {
    "samples": "feed",
    "table": "samples.feed",
    "exposures": {"table": "raw.shown", "id": "id", "entities": ["item"]},
    "labels": [{"name": "clicks", "stream": "raw.clicks", "window": "2h", "value": "count"}],
}


def stream(name: str, **changes: Any) -> Stream:  # noqa: ANN401
    fields = {
        "id": {"type": "string", "required": True},
        "click": {"type": "string", "required": True},
        "item": {"type": "long"},
        "at": {"type": "timestamptz", "required": True},
        "known": {"type": "timestamptz", "required": True},
    }
    said: dict[str, Any] = {
        "stream": name,
        "table": f"raw.{name}",
        "source": {"files": f"{name}/*", "complete_files": True},
        "format": "json",
        "key": "id" if name == "shown" else "click",
        "event_time": "at",
        "known_at": {"column": "known"},
        "fields": fields,
    }
    return Stream.model_validate(said | changes)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    given = settings_in(tmp_path)
    (given.declarations / "streams" / "taps.yaml").unlink()
    with Lake.open(replace(given, data_dir=tmp_path / "data")) as opened:
        yield opened


def take(lake: Lake, contract: Stream, *rows: tuple[str, str, dt.datetime, dt.datetime]) -> None:
    said = json.dumps(contract.model_dump(mode="json", exclude_none=True))
    (lake.settings.declarations / "streams" / f"{contract.name}.yaml").write_text(said)
    folder = lake.settings.data_dir / contract.name
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "id": of,
                "click": click,
                "item": 1,
                "at": when.isoformat(),
                "known": known.isoformat(),
            }
        )
        for of, click, when, known in rows
    ]
    (folder / f"{len(list(folder.iterdir()))}.jsonl").write_text("\n".join(lines))
    assert ingest(lake, contract).rows == len(rows)


def built(lake: Lake) -> dict[str, tuple[dt.datetime, int]]:
    build(lake, SampleSet.model_validate(SAMPLES))
    rows = lake.table("samples.feed").head().to_arrow().to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows)
    return {row["sample_id"]: (row["event_time"], row["clicks"]) for row in rows}


def test_an_event_that_was_sent_twice_is_one_sample_and_one_label(lake: Lake) -> None:
    shown, clicks = stream("shown"), stream("clicks")
    take(lake, shown, ("a", "", at(9), at(9)), ("a", "", at(9), at(10)), ("b", "", at(23), at(23)))
    take(lake, shown, ("b", "", at(1, day=1), at(1, day=1)))  # a copy of the day before
    take(lake, clicks, ("a", "c", at(9.5), at(9.5)), ("a", "c", at(9.6), at(9.7)))
    take(lake, clicks, ("b", "d", at(23.5), at(23.5)), ("b", "e", at(24.5), at(24.5)))

    assert built(lake) == {"a": (at(9), 1), "b": (at(23), 2)}


def test_a_copy_that_comes_after_its_day_was_built_leaves_the_sample_as_it_is(lake: Lake) -> None:
    shown, clicks = stream("shown"), stream("clicks")
    take(lake, shown, ("a", "", at(23), at(23)))
    take(lake, clicks, ("a", "c", at(23.5), at(23.5)))
    before = built(lake)
    take(lake, shown, ("a", "", at(2, day=1), at(30)), ("c", "", at(3, day=1), at(30)))
    take(lake, clicks, ("a", "c", at(23.7), at(31)))

    assert built(lake) == before | {"c": (at(3, day=1), 0)}


def test_the_first_event_of_the_next_day_is_dropped_when_one_before_it_comes_late(
    lake: Lake,
) -> None:
    shown = stream("shown")
    take(lake, stream("clicks"), ("x", "c", at(1), at(1)))
    take(lake, shown, ("a", "", at(1, day=1), at(40)), ("z", "", at(2), at(2)))
    assert built(lake)["a"] == (at(1, day=1), 0)
    take(lake, shown, ("a", "", at(23), at(39)))  # it arrived before, but was committed after

    assert built(lake) == {"a": (at(23), 0), "z": (at(2), 0)}


def test_an_event_is_dropped_when_one_of_the_next_day_that_arrived_before_comes_late(
    lake: Lake,
) -> None:
    shown, clicks = stream("shown"), stream("clicks")
    take(lake, clicks, ("z", "c", at(25), at(50)), ("x", "d", at(1), at(1)))
    take(lake, shown, ("a", "", at(23), at(40)), ("z", "", at(23.5), at(24)))
    assert built(lake) == {"a": (at(23), 0), "z": (at(23.5), 1)}
    take(lake, shown, ("a", "", at(1, day=1), at(39)))  # arrived before, but was committed after
    take(lake, clicks, ("z", "c", at(26), at(49)))  # so did this one, which no window has

    assert built(lake) == {"a": (at(1, day=1), 0), "z": (at(23.5), 0)}


def test_an_event_counts_again_when_the_one_of_the_next_day_that_it_repeated_is_removed(
    lake: Lake,
) -> None:
    shown = stream("shown", known_at="ingested")
    take(lake, stream("clicks"), ("x", "c", at(1), at(1)))
    take(lake, shown, ("a", "", at(1, day=1), at(1)))
    take(lake, shown, ("a", "", at(23), at(1)), ("z", "", at(2), at(2)))
    assert built(lake) == {"a": (at(1, day=1), 0), "z": (at(2), 0)}
    take(lake, shown, ("b", "", at(2, day=1), at(1)))
    plan = plan_build(lake, SampleSet.model_validate(SAMPLES))
    assert list(plan.reasons) == [at(0, day=1).date()]  # what comes later arrived later
    apply_retry(lake, shown, "shown/0.jsonl")

    assert built(lake) == {"a": (at(23), 0), "b": (at(2, day=1), 0), "z": (at(2), 0)}


def test_a_recipe_whose_records_do_not_say_when_they_were_known_is_as_it_was(lake: Lake) -> None:
    take(lake, stream("clicks", known_at="ingested"), ("x", "c", at(1), at(1)))
    take(lake, stream("shown"), ("a", "", at(1), at(1)))
    recipe = resolve(lake, SampleSet.model_validate(SAMPLES))
    told = {each["table"]: each.get("told") for each in json.loads(recipe.to_json())["repeats"]}
    assert told == {"raw.clicks": None, "raw.shown": True}
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_copies_further_apart_are_two_events_and_refused_in_one_day_alone(lake: Lake) -> None:
    take(lake, stream("clicks"), ("x", "c", at(1), at(1)))
    take(lake, stream("shown", key=None), ("a", "", at(1), at(1)), ("a", "", at(2), at(2)))
    with refused(DuplicateExposureError, example="a", ids=1):  # nothing says that `id` is a key
        built(lake)


def test_a_recipe_says_what_may_be_repeated_and_else_is_as_it_was(lake: Lake) -> None:
    take(lake, stream("clicks"), ("x", "c", at(1), at(1)))
    take(lake, stream("shown"), ("a", "", at(1), at(1)))
    recipe = resolve(lake, SampleSet.model_validate(SAMPLES))
    assert [(each.table, each.key) for each in recipe.repeats] == [
        ("raw.clicks", "click"),
        ("raw.shown", "id"),
    ]
    assert Recipe.from_json(recipe.to_json()) == recipe
    plain = replace(recipe, repeats=())
    assert "repeats" not in json.loads(plain.to_json())
    assert Recipe.from_json(plain.to_json()) == plain


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'; set threads = 1; create schema raw")
        yield opened


moments = st.one_of(
    st.sampled_from([0, 24, 48]),
    st.integers(-12, 60),
).map(lambda hours: MIDNIGHT + hours * HOUR)
logs = st.lists(st.tuples(st.sampled_from("abc"), moments, st.integers(0, 5)), max_size=8)


@settings(max_examples=examples(300, few=25))
@given(rows=logs)
def test_what_is_kept_of_a_day_is_what_no_earlier_arrival_of_its_key_repeats(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, dt.datetime, int]]
) -> None:
    log = [
        {"id": key, "event_time": when, "known_at": when + late * HOUR, "_source_offset": n}
        for n, (key, when, late) in enumerate(rows)
    ]
    kept = [
        row["_source_offset"]
        for row in log
        if DAY.first is not None
        and DAY.first <= row["event_time"] < DAY.end
        and not any(
            other["id"] == row["id"]
            and (other["known_at"], other["_source_offset"])
            < (row["known_at"], row["_source_offset"])
            and abs(other["event_time"] - row["event_time"]) <= 24 * HOUR
            for other in log
        )
    ]
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("event_time", TIME),
            ("known_at", TIME),
            ("_source_offset", pa.int64()),
        ]
    )
    sql = first_arrivals_sql(REPEATS, DAY, dialect=DuckDBDialect())
    connection.register("given", pa.Table.from_pylist(log, schema))
    connection.execute("create or replace table raw.shown as from given")
    found = connection.sql(f"select _source_offset from {sql} order by 1").fetchall()
    assert [offset for (offset,) in found] == kept


def test_trino_can_read_the_same_rule() -> None:
    sql = first_arrivals_sql(REPEATS, DAY, dialect=TrinoDialect())
    assert sqlglot.parse_one(f"select * from {sql}", read="trino")
