"""The macros for usual features, against definitions so plain that they are obviously right."""

import datetime as dt
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from tests.amounts import examples
from tests.dbt.raw_lake import START
from tests.dbt.usual_views import (
    DELAY,
    HOUR,
    LOG,
    Event,
    hour_before,
    log_rows,
    looked_up,
    recent_truth,
    values_truth,
    write_models,
)
from tests.integrations.conftest import Project, project, project_folder

__all__ = ["project", "project_folder"]
MICROSECOND = dt.timedelta(microseconds=1)
Run = Callable[[str, Sequence[Event]], list[dict[str, Any]]]


@pytest.fixture
def models(project: Project, lake: Lake) -> Project:
    write_models(project, lake)
    return project


@pytest.fixture(scope="module")
def feature(project_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run a model's SQL, as a first build renders it, on a plain DuckDB table."""
    root = tmp_path_factory.mktemp("lake")
    (root / "lake").mkdir()
    (root / "lake" / "lake.toml").write_text("[profiles.local]\n")
    with Lake.open(Settings.load(env={}, path=root / "lake" / "lake.toml")) as lake:
        # pytest offers no fixture of this scope that needs a narrower one
        made = project.__wrapped__(project_folder, lake)
        write_models(made, lake)
        assert made.run() == {"recent": "replaced", "spending": "replaced"}
    folder = project_folder / "target" / "compiled" / "headrace" / "models"
    sql = {name: (folder / f"{name}.sql").read_text() for name in ("recent", "spending")}
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set threads = 1")
        connection.execute("create schema raw")

        def run(model: str, events: Sequence[Event]) -> list[dict[str, Any]]:
            connection.register("given", pa.Table.from_pylist(log_rows(events), schema=LOG))
            connection.execute("create or replace table raw.log as from given")
            return connection.sql(sql[model]).to_arrow_table().to_pylist()

        yield run


lateness = st.one_of(
    st.just(dt.timedelta(0)),
    st.sampled_from([-HOUR, MICROSECOND, HOUR, HOUR + MICROSECOND, 24 * HOUR, 40 * HOUR]),
    st.integers(0, 20).map(lambda minutes: dt.timedelta(minutes=minutes * 7)),
    st.integers(0, 8).map(lambda hours: hours * 7 * HOUR),
)
moments = st.one_of(
    st.integers(0, 72).map(lambda hours: hours * HOUR),
    st.integers(0, 72 * 60).map(lambda minutes: dt.timedelta(minutes=minutes)),
    st.integers(0, 6).map(lambda hours: (hours + 1) * HOUR - MICROSECOND),
).map(lambda offset: START + offset)
logs = st.lists(
    st.builds(
        lambda user, item, price, at, late: Event(user, item, price, at, at + late),
        st.integers(1, 2),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([3, 4, -1, None]),
        moments,
        lateness,
    ),
    max_size=12,
)
many_examples = settings(
    max_examples=examples(150, few=20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def probes(events: Sequence[Event], rows: Sequence[dict[str, Any]]) -> list[dt.datetime]:
    edges = {r[name] for r in rows for name in ("known_at", "event_time")}
    edges |= {e.known + DELAY for e in events}
    found = sorted({edge + step for edge in edges for step in (0 * HOUR, MICROSECOND, HOUR)})
    return found[:: max(1, len(found) // 40)]


@many_examples
@given(events=logs)
def test_a_look_up_finds_the_last_events_that_were_known_before(
    feature: Run, events: list[Event]
) -> None:
    rows = feature("recent", events)

    assert len({(r["user_id"], r["event_time"], r["known_at"]) for r in rows}) == len(rows)
    for user_id in (1, 2):
        for at in probes(events, rows):
            found = looked_up(rows, user_id=user_id, at=at)
            items, prices = recent_truth(events, user_id=user_id, at=at)
            assert (found["item_last_3"] if found else []) == items
            assert (found["price_last_3"] if found else []) == prices
            known = [e.at for e in events if e.user_id == user_id and e.known + DELAY < at]
            assert (found and found["event_time"]) == max(known, default=None)


@many_examples
@given(events=logs)
def test_a_look_up_finds_what_the_windows_held_of_what_was_known_before(
    feature: Run, events: list[Event]
) -> None:
    rows = feature("spending", events)
    times = ("user_id", "event_time", "known_at")

    assert len({tuple(r[name] for name in times) for r in rows}) == len(rows)
    for row in rows:
        known = max(row["event_time"], row["known_at"] - DELAY)
        counted = {name: value for name, value in row.items() if name not in times}
        assert counted == values_truth(
            events, user_id=row["user_id"], hour=row["event_time"], known=known
        )
    for user_id in (1, 2):
        for at in probes(events, rows):
            found = looked_up(rows, user_id=user_id, at=at)
            hour = hour_before(at)
            known = max(hour, at - DELAY - MICROSECOND)
            truth = values_truth(events, user_id=user_id, hour=hour, known=known)
            nothing = values_truth([], user_id=user_id, hour=hour, known=known)
            assert {name: found[name] for name in truth} == truth if found else truth == nothing


def log(rng: random.Random, *, first_hour: int, hours: int, rows: int) -> list[Event]:
    found: list[Event] = []
    for _ in range(rows):
        at = START + dt.timedelta(hours=first_hour, seconds=rng.randrange(hours * 3600))
        late = dt.timedelta(seconds=rng.choice([0, 0, 5, 5_000, 90_000, 250_000]))
        item, price = rng.choice(["a", "b", None]), rng.choice([1, 2, 3, None])
        found.append(Event(rng.randrange(2), item, price, at, at + late))
    return found


def test_increments_with_late_input_give_the_rows_of_a_full_build(models: Project) -> None:
    rng = random.Random(5)
    increments = [
        log(rng, first_hour=0, hours=72, rows=40),
        log(rng, first_hour=24, hours=24, rows=4),  # late input alone
        log(rng, first_hour=200, hours=3, rows=6),
        log(rng, first_hour=10, hours=200, rows=4),
    ]
    done, offset = [], 0
    for increment in increments:
        models.events(*log_rows(increment, first_offset=offset), table="raw.log")
        offset += len(increment)
        done.append(models.run())
    assert (
        done
        == [dict.fromkeys(("recent", "spending"), "replaced")]
        + [dict.fromkeys(("recent", "spending"), "overwritten")] * 3
    )
    bit_by_bit = {name: models.rows(name) for name in ("recent", "spending")}

    models.run("--full-refresh")

    assert {name: models.rows(name) for name in ("recent", "spending")} == bit_by_bit
    assert all(bit_by_bit.values())


def test_a_model_that_rebuilds_fewer_days_than_its_events_reach_is_refused(
    project: Project, lake: Lake
) -> None:
    write_models(project, lake, reach_days=1)
    refused = project.run()
    assert all("reach_days: 1" in message for message in refused.values())
    assert not lake.exists("out.recent")


def test_a_kind_of_value_that_there_is_not_is_named(models: Project) -> None:
    path = models.folder / "models" / "spending.sql"
    path.write_text(path.read_text().replace("mean price", "median price"))
    with pytest.raises(Exception, match="median price"):
        models.run()


def test_a_sum_of_numbers_that_are_not_whole_is_refused(models: Project) -> None:
    path = models.folder / "models" / "spending.sql"
    path.write_text(path.read_text().replace("sum price", "sum price/2.0"))
    (message,) = [said for name, said in models.run().items() if "spending" in name]
    assert "No function matches" in message


_CHEAP = """
with events as (
    select user_id, event_time, known_at, price / 2.0 as half from {{ source('raw', 'log') }}
)

select * from ({{ headrace.trailing_sums(
    events='events', entity=['user_id'], measures=['half'], windows={'1d': 24}, delay='5m'
) }}) as sums
"""


def test_trailing_sums_refuse_numbers_that_are_not_whole(models: Project, lake: Lake) -> None:
    models.model(
        "recent", _CHEAP, "    config: {meta: {headrace: {entity: [user_id], delay: 5m}}}\n"
    )
    assert "No function matches" in models.run("--select", "recent")["recent"]
    assert not lake.exists("out.recent")


def test_the_macros_compile_for_trino(models: Project, tmp_path: Path) -> None:
    # without a server it fails after it has compiled; what other tests have parsed is for DuckDB
    models.run("--target", "cluster", "--target-path", str(tmp_path))
    folder = tmp_path / "compiled" / "headrace" / "models"
    for path in folder.glob("*.sql"):
        sql = path.read_text()
        assert sqlglot.parse_one(sql, read="trino")
        assert "to_unixtime" in sql
        assert not re.search(r"epoch_us|make_timestamptz|generate_series|//", sql)
