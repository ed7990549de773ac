"""Samples from a serving log: what was served is preferred, never from the future, and marked."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.cli.samples import sample_lines
from headrace.datasets.publish import publish
from headrace.datasets.rebuild import rebuild
from headrace.errors import DefinitionError, LeakError
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.column_sources import column_sources
from headrace.samples.inspect import inspect_sample
from headrace.samples.plan import plan_build
from headrace.samples.resolve import Recipe
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.samples.factories import TIME, Shop, at, day, fill, sample_set, settings_in

LOG = pa.schema(
    [
        *((name, pa.string()) for name in ("shown_id", "sample_set", "values", "views", "_source")),
        *((name, TIME) for name in ("at", "known_at")),
        pa.field("event_time", TIME, nullable=False),
        ("_source_partition", pa.int32()),
        ("_source_offset", pa.int64()),
    ]
)
SECOND = dt.timedelta(seconds=1)
NAME = TableName("raw", "served")
LOGGED = {"logged": {"log": "raw.served", "within": "30m"}}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Lake.open(settings_in(tmp_path)) as lake:
        lake.create(NAME, LOG, partition_by=["day(event_time)"])
        yield fill(Shop.open(lake))


class Log:
    """Answers as a server logs them, each for the moment at which it was given."""

    def __init__(self, shop: Shop) -> None:
        self._lake, self._lines = shop.lake, 0

    def add(self, *answers: dict[str, object]) -> None:
        table = self._lake.table(NAME)
        batch = pa.RecordBatch.from_pylist(list(answers), schema=LOG)
        operations.append(table, write_batches(table, [batch]), provenance=Provenance())

    def answer(
        self,
        shown_id: str,
        served: dt.datetime,
        rate: float | None,
        *,
        used: dt.datetime | None = None,
        **changes: object,
    ) -> dict[str, object]:
        """Make an answer; `used` is when the row used happened and was known, an hour ago by default."""
        self._lines += 1
        moment = (used or served - dt.timedelta(hours=1)).isoformat()
        row = {"status": "fresh", "event_time": moment, "known_at": moment}
        return {
            "shown_id": shown_id,
            "sample_set": "taps",
            "values": json.dumps({"rate": rate}),
            "views": json.dumps({"shop.rates": row}),
            "at": served,
            "event_time": served,
            "known_at": served,
            "_source": "served.jsonl",
            "_source_partition": 0,
            "_source_offset": self._lines,
            **changes,
        }


@pytest.fixture
def log(shop: Shop) -> Log:
    return Log(shop)


def rates(shop: Shop) -> dict[str, tuple[object, object]]:
    """Build, and return of each sample its rate and whether that is of the log."""
    build(shop.lake, sample_set(**LOGGED))
    return {name: (row["rate"], row["rates__logged"]) for name, row in shop.samples().items()}


def test_what_was_served_is_preferred_and_the_join_fills_the_rest(shop: Shop, log: Log) -> None:
    used = at(5)
    log.add(log.answer("d0-morning", at(8) - SECOND, 0.75, used=used))
    found = rates(shop)
    assert found["d0-morning"] == (0.75, True)
    assert found["d1-morning"] == (0.1, False)
    row = shop.samples()["d0-morning"]
    assert (row["rates__event_time"], row["rates__known_at"]) == (used, used)
    build(shop.lake, sample_set())
    assert shop.samples()["d0-morning"]["rate"] == 0.0


def test_an_inspected_sample_says_that_its_values_were_served(shop: Shop, log: Log) -> None:
    log.add(log.answer("d0-morning", at(8), 0.75, used=at(5)))
    build(shop.lake, sample_set(**LOGGED))
    table = sample_set().table
    (served,) = inspect_sample(shop.lake, [table], "d0-morning").features
    assert (served.logged, served.values) == (True, (("rate", 0.75),))
    assert served.used is not None
    assert served.used.event_time == at(5)
    lines = sample_lines(inspect_sample(shop.lake, [table], "d0-morning"))
    assert any("as served" in line and "05:00" in line for line in lines)
    assert not inspect_sample(shop.lake, [table], "d1-morning").features[0].logged


def test_an_answer_with_null_is_what_was_served_and_names_no_row(shop: Shop, log: Log) -> None:
    views = json.dumps({"shop.rates": {"status": "expired", "event_time": at(-99).isoformat()}})
    log.add(log.answer("d0-morning", at(8), None, views=views))
    assert rates(shop)["d0-morning"] == (None, True)
    assert shop.samples()["d0-morning"]["rates__event_time"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"values": "{}"},
        {"views": "{}"},
        {"sample_set": "another"},
        {"shown_id": "d9-morning"},
        {"at": at(8) + SECOND},
        {"event_time": at(8) + SECOND},
        {"event_time": at(7.5) - SECOND, "at": at(7)},
    ],
    ids=["no value", "no view", "set", "id", "asked of the future", "given later", "too old"],
)
def test_an_answer_that_is_not_of_the_exposure_or_lacks_the_view_is_not_used(
    shop: Shop, log: Log, changes: dict[str, object]
) -> None:
    log.add(log.answer("d0-morning", at(8), 0.75, used=at(5)) | changes)
    assert rates(shop)["d0-morning"] == (0.0, False)


def test_of_several_answers_the_last_counts_and_lines_written_twice_are_one(
    shop: Shop, log: Log
) -> None:
    last = log.answer("d0-morning", at(8) - SECOND, 0.75)
    first = log.answer("d0-morning", at(8) - 2 * SECOND, 0.5)
    log.add(last, first)
    log.add(last, last | {"_source_offset": 99}, first)
    assert rates(shop)["d0-morning"] == (0.75, True)
    assert len(shop.samples()) == 6


def test_a_late_log_builds_the_days_again_that_it_is_about(shop: Shop, log: Log) -> None:
    build(shop.lake, sample_set(**LOGGED))
    log.add(log.answer("d1-morning", at(8, day=1), 0.75))
    plan = plan_build(shop.lake, sample_set(**LOGGED))
    # an answer of the last half hour may be of an exposure past midnight
    assert plan.reasons == dict.fromkeys((day(1), day(2)), "the serving log changed")
    assert rates(shop)["d1-morning"] == (0.75, True)
    assert not plan_build(shop.lake, sample_set(**LOGGED)).reasons


def test_a_log_that_names_a_row_of_the_future_is_refused_as_a_leak(shop: Shop, log: Log) -> None:
    log.add(log.answer("d0-morning", at(8), 0.75, used=at(8)))
    with refused(LeakError):
        build(shop.lake, sample_set(**LOGGED))


def test_a_version_with_logged_features_is_computed_again_from_its_inputs(
    shop: Shop, log: Log
) -> None:
    log.add(log.answer("d0-morning", at(8), 0.75))
    shop.tap(("d0-morning", at(9), at(9), 1), watermark=at(0, day=9))
    said = sample_set(**LOGGED)
    build(shop.lake, said)
    lock = publish(shop.lake, said, allow_pending=True).lock
    assert "raw.served" in {pin.table for pin in lock.pins}
    log.add(log.answer("d0-morning", at(8), 0.25))
    assert rebuild(shop.lake, "taps").reproduced


def test_a_recipe_says_its_log_and_one_without_is_as_it_was(shop: Shop) -> None:
    plain = plan_build(shop.lake, sample_set()).recipe
    logged = plan_build(shop.lake, sample_set(**LOGGED)).recipe
    assert "served" not in plain.to_json()
    assert Recipe.from_json(logged.to_json()) == logged
    assert logged.code != plain.code
    of_rate = {(each.table, each.how) for each in column_sources(logged) if each.column == "rate"}
    assert of_rate == {("shop.rates", "as known then"), ("raw.served", "as served")}


def test_a_table_that_is_no_serving_log_is_refused(shop: Shop) -> None:
    with refused(DefinitionError) as caught:
        build(shop.lake, sample_set(logged={"log": "shop.shown", "id": "nothing"}))
    text = str(caught.value)
    assert all(f"`{name}`" in text for name in ("values", "views", "at", "sample_set", "nothing"))
    with refused(DefinitionError) as caught:
        build(shop.lake, sample_set(logged={"log": "raw.served", "id": "_source_offset"}))
    assert "`_source_offset` is int64" in str(caught.value)
