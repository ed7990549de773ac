"""Skew: every planted cause of a difference is named, and what is right is called equal."""

import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.dml.delete import delete_where
from headrace.errors import ServingLogError
from headrace.identifiers import TableName
from headrace.ingest.run import ingest
from headrace.serving.publish import publish_view
from headrace.serving.server.log import ServingLog
from headrace.serving.skew import SkewReport, measure_skew
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.vectors import lookup_vectors
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.raising import refused
from tests.samples.factories import RATES, SHOWN, sample_set, settings_in
from tests.serving.conftest import add
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

TTL = dt.timedelta(hours=2)
LOG = Stream.model_validate(
    {
        "stream": "served",
        "table": "raw.served",
        "source": {"files": "served/*.jsonl", "complete_files": True},
        "format": "json",
        "event_time": "served_at",
        "fields": {
            "request_id": {"type": "string", "required": True},
            "row": {"type": "int", "required": True},
            "served_at": {"type": "timestamptz", "required": True},
            "at": {"type": "timestamptz", "required": True},
            "sample_set": {"type": "string", "required": True},
            "item": {"type": "long"},
            "score": {"type": "double"},
            "model": {"type": "string"},
            "took_ms": {"type": "double"},
            "values": {"type": "string", "required": True},
            "views": {"type": "string", "required": True},
        },
    }
)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def ago(minutes: float) -> dt.datetime:
    return now() - dt.timedelta(minutes=minutes)


class Served:
    """A lake with one view and its online store, of which requests are logged."""

    def __init__(self, lake: Lake, store: SQLiteOnlineStore) -> None:
        self.lake, self.store = lake, store
        view = FeatureView(view=TableName("shop", "rates"), entity=("item",), ttl=TTL)
        self.rates: LakeTable = lake.create(
            view.view,
            RATES,
            partition_by=["day(event_time)"],
            properties={"headrace.feature_view": view.to_property()},
        )
        lake.create(TableName("shop", "shown"), SHOWN, partition_by=["day(event_time)"])
        self.set: SampleSet = replaced(sample_set())
        self.log = ServingLog.of(lake.settings, LOG, every_s=0.01)

    def declare(self) -> Path:
        """Write the declarations of the log and of the sample set; return the lake's file."""
        folder = self.lake.settings.declarations
        (folder / "streams" / "served.yaml").write_text(LOG.model_dump_json())
        (folder / "samples").mkdir()
        said = {
            "samples": "taps",
            "table": "samples.taps",
            "exposures": {"table": "shop.shown", "id": "shown_id", "entities": ["item"]},
            "features": [{"view": "shop.rates", "columns": ["rate"]}],
        }
        (folder / "samples" / "taps.yaml").write_text(json.dumps(said))
        return folder / "lake.toml"

    def rate(self, item: int, rate: float, *, happened: dt.datetime) -> None:
        row = {"item": item, "event_time": happened, "known_at": happened, "rate": rate}
        add(self.rates, [row])

    def publish(self) -> None:
        publish_view(self.lake, self.store, self.rates.head())

    def ask(self, *items: int) -> None:
        entities = [{"item": item} for item in items]
        found = lookup_vectors(self.store, self.set.features, entities)
        self.log.note(self.set.name, entities, found, took_s=0.004)

    def logged(self) -> pa.Table:
        self.log.close()
        done = ingest(self.lake, LOG)
        assert done.dead_letters == 0
        return self.lake.table(LOG.table).head().to_arrow()

    def skew(self, log: pa.Table) -> SkewReport:
        return measure_skew(self.lake, self.set, log)


def replaced(found: SampleSet) -> SampleSet:
    return found.model_copy(update={"labels": ()})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    settings: Settings = settings_in(tmp_path)
    with Lake.open(settings) as lake, SQLiteOnlineStore(settings.online_store) as store:
        yield Served(lake, store)


def edited(log: pa.Table, item: int, **changes: Any) -> pa.Table:  # noqa: ANN401
    """Change what the log says of one item: `value`, and facts of the view."""
    rows: list[dict[str, Any]] = log.to_pylist()
    for row in rows:
        if row["item"] == item:
            said: dict[str, Any] = json.loads(row["values"])
            if "value" in changes:
                said["rate"] = changes["value"]
            views: dict[str, dict[str, Any]] = json.loads(row["views"])
            views["shop.rates"] |= {k: v for k, v in changes.items() if k != "value"}
            row |= {"values": json.dumps(said), "views": json.dumps(views)}
    return pa.Table.from_pylist(rows, log.schema)


def test_each_planted_cause_is_named(served: Served) -> None:
    for item in range(10):
        served.rate(item, item / 8, happened=ago(30))
    served.rate(4, 0.9, happened=ago(40))  # older than the newest: never used
    tie = ago(20)
    served.rate(5, 0.1, happened=tie)
    served.rate(5, 0.2, happened=tie)
    served.rate(6, 0.6, happened=ago(180))
    served.publish()
    served.rate(1, 0.11, happened=ago(10))  # in the table, not yet in the store
    time.sleep(0.01)
    served.ask(*range(10), 99)
    time.sleep(0.01)
    served.rate(2, 0.22, happened=ago(5))  # says that it was known before the request
    delete_where(served.rates, "item = 3", provenance=Provenance())
    value = served.rates.head().to_arrow().to_pylist()
    moment = next(each["event_time"] for each in value if each["item"] == 7)
    delete_where(served.rates, "item = 7", provenance=Provenance())
    served.rate(7, 0.77, happened=moment)  # computed otherwise since
    log = served.logged()
    log = edited(log, 5, value=0.1)
    log = edited(log, 6, value=None, status="expired")
    log = edited(log, 8, value=None, status="missing", event_time=None, known_at=None)
    log = edited(log, 9, value=1, status="fresh")
    served.rate(9, 1.0, happened=ago(200))
    report = served.skew(log)
    causes = {
        int(row["item"]): found.cause
        for found in report.examples
        for row in log.to_pylist()
        if (row["request_id"], row["row"]) == (found.request_id, found.row)
    }
    # 9 was 9/8: a number of another type and value is of another definition
    assert causes == {
        1: "staleness",
        2: "late_arrival",
        3: "removed",
        5: "tie",
        6: "ttl",
        7: "definition",
        8: "missing",
        9: "definition",
    }
    (rate,) = report.features
    assert rate.verdicts == {"equal": 3, "different": 5, "missing": 2, "extra": 1}
    assert (report.rows, report.mismatches) == (11, 8)
    assert Counter(rate.causes) == Counter(causes.values())


def test_a_row_that_was_held_back_is_staleness_and_no_fault_of_the_store(served: Served) -> None:
    happened = ago(30)
    known_at = now() + dt.timedelta(seconds=5)  # after the first request, however busy the machine
    row = {"item": 1, "event_time": happened, "known_at": known_at}
    add(served.rates, [{**row, "rate": 0.5}])
    served.publish()
    state = served.store.state(str(served.rates.name))
    assert state is not None
    assert state.held_back == (happened.date(),)
    served.ask(1)  # not known yet: missing is right
    assert wait_until(lambda: now() > known_at)
    served.ask(1)  # known, and nobody has published since
    report = served.skew(served.logged())
    (rate,) = report.features
    assert rate.verdicts == {"equal": 1, "missing": 1}
    assert rate.causes == {"staleness": 1}


def test_equal_numbers_of_other_types_are_told_apart_from_other_values(served: Served) -> None:
    served.rate(1, 2.0, happened=ago(10))
    served.publish()
    served.ask(1)
    log = edited(served.logged(), 1, value=2)
    (found,) = served.skew(log).examples
    assert (found.cause, found.served, found.expected) == ("type", 2, 2.0)


def test_causes_that_expired_snapshots_would_tell_are_unknown(served: Served) -> None:
    served.rate(1, 0.5, happened=ago(10))
    served.publish()
    served.ask(1)
    served.rate(1, 0.75, happened=ago(5))
    log = edited(served.logged(), 1, snapshot_id="1")
    assert [each.cause for each in served.skew(log).examples] == ["unknown"]


def test_what_was_served_by_the_rule_is_equal_whatever_came_later(served: Served) -> None:
    for item in range(20):
        served.rate(item, item / 32, happened=ago(30 + item))
    served.publish()
    served.ask(*range(20))
    served.ask(3, 3, 50)
    time.sleep(0.01)
    for item in range(20):
        served.rate(item, 1.0, happened=now())
    report = served.skew(served.logged())
    assert (report.rows, report.mismatches) == (23, 0)


def test_a_request_for_an_earlier_moment_is_judged_by_when_it_came(served: Served) -> None:
    served.rate(2, 0.2, happened=ago(60))
    served.rate(3, 0.1, happened=ago(50))
    served.rate(3, 0.3, happened=ago(10))
    served.publish()
    served.rate(1, 0.1, happened=ago(30))  # not published: the store is stale
    entities = [{"item": item} for item in (1, 2, 3)]
    found = lookup_vectors(served.store, served.set.features, entities, at=ago(20))
    served.log.note(served.set.name, entities, found)
    report = served.skew(served.logged())
    assert [each.cause for each in report.examples] == ["staleness", "superseded"]


def test_a_record_that_cannot_be_written_is_counted_and_the_log_goes_on(tmp_path: Path) -> None:
    log = ServingLog(tmp_path / "served", fields=("item",), every_s=0.05)
    log.note("ctr", [{"item": object()}, {"item": float("nan")}, {"item": 1}], _empty())
    log.close()
    assert (log.written, log.dropped) == (1, 2)
    (path,) = (tmp_path / "served").iterdir()
    assert json.loads(path.read_text()) == {"item": 1}
    lost = ServingLog(tmp_path / "lost", fields=("item",), every_s=0.01)
    lost.note("ctr", [{"item": object()}], _empty())
    lost.close()
    assert not (tmp_path / "lost").exists()  # no file without a line


def test_a_file_of_the_log_that_failed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str) -> None:
        raise RuntimeError(path)

    log = ServingLog(tmp_path / "served", fields=("item",), every_s=0.01)
    with monkeypatch.context() as patched:
        patched.setattr("headrace.storage.durable.sync_content", full)
        log.note("ctr", [{"item": 1}], _empty())
        assert wait_until(lambda: log.dropped == 1)
    log.note("ctr", [{"item": 2}], _empty())
    log.close()
    assert (log.written, log.dropped) == (1, 1)
    assert len(list((tmp_path / "served").iterdir())) == 1


def test_a_log_that_cannot_be_written_fast_enough_drops_and_counts(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    (settings.data_dir).parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("")  # no folder can be made here
    log = ServingLog(settings.data_dir / "served", fields=("row",), every_s=0.01)
    found = _empty()
    for _ in range(5):
        log.note("ctr", [{"item": 1}], found)
    log.close()
    assert (log.written, log.dropped) == (0, 5)


def _empty() -> Any:  # noqa: ANN401
    from headrace.serving.vectors import Vectors

    return Vectors(at=now(), views=())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "csv"},
        {"source": {"files": "served/*.jsonl"}},
        {"source": {"files": "*/served.jsonl", "complete_files": True}},
        {"fields": {"served_at": {"type": "timestamptz", "required": True}}},
    ],
)
def test_a_stream_that_is_no_serving_log_is_refused(
    tmp_path: Path, change: Mapping[str, Any]
) -> None:
    said = {**LOG.model_dump(mode="json"), **change}
    other = Stream.model_validate(said | {"known_at": "ingested"})
    with refused(ServingLogError, stream="served"):
        ServingLog.of(replace(settings_in(tmp_path)), other)


def test_the_command_shows_each_feature_and_fails_where_values_differ(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(served.declare()))
    served.rate(1, 0.5, happened=ago(10))
    served.publish()
    served.ask(1)
    served.logged()
    fine = CliRunner().invoke(make_app(), ["skew", "taps", "served"])
    assert (fine.exit_code, "0 values differ" in fine.output) == (0, True)
    delete_where(served.rates, "item = 1", provenance=Provenance())
    worse = CliRunner().invoke(make_app(), ["skew", "taps", "served", "--output", "json"])
    assert worse.exit_code == 1
    found = json.loads(worse.output)
    assert (found["mismatches"], found["examples"][0]["cause"]) == (1, "removed")
    text = CliRunner().invoke(make_app(), ["skew", "taps", "served"])
    assert "removed 1" in text.output
    none = CliRunner().invoke(make_app(), ["skew", "taps", "nothing"])
    assert (none.exit_code, "`served`" in none.output) == (1, True)
    clicks = LOG.model_dump() | {"stream": "clicks", "table": "raw.clicks"}
    clicks["fields"] = {"served_at": {"type": "timestamptz", "required": True}}
    folder = served.lake.settings.declarations / "streams"
    (folder / "clicks.yaml").write_text(json.dumps(clicks, default=str))
    other = CliRunner().invoke(make_app(), ["skew", "taps", "clicks"])
    assert (other.exit_code, "lacks the field `request_id`" in other.output) == (1, True)
