"""The SQL of live samples: one golden file, what holds for every sample set, and what is refused by name."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.dml.delete import delete_where
from headrace.errors import FlinkCannotSamplesError, LakeError, NothingToFollowError
from headrace.flink.begin import Begin
from headrace.flink.live_samples import live_samples
from headrace.flink.places import hidden
from headrace.flink.sample_begin import begins_now, begins_of, noted
from headrace.flink.sample_sql import samples_sql
from headrace.flink.session import SESSION
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance, move_properties
from headrace.tables.declare import declare_table
from infra.launcher.cluster import Cluster
from tests.flink.contracts import PLACES
from tests.flink.events import NOON, microseconds
from tests.flink.sample_events import Sampled, happened
from tests.golden.golden import Golden
from tests.raising import refused
from tests.samples.factories import settings_in

BEGIN = Begin(after_us=1_767_225_600_000_000, snapshot_id=8, history_id=7)
TAPS: dict[str, Any] = {"stream": "raw.things_taps", "key": "shown_id", "window": "30s"}


@pytest.fixture
def sampled(tmp_path: Path) -> Iterator[Sampled]:
    """Two streams in a lake of this host; no job is started."""
    with Lake.open(settings_in(tmp_path)) as lake:
        yield Sampled.make(lake, Cluster(tmp_path / "none"), "things")


def text(sampled: Sampled, begin: Begin = BEGIN, **changes: object) -> str:
    live = live_samples(sampled.lake, sampled.sample_set("clicked", **changes))
    tables: list[str] = ["raw.things_shown", "raw.things_taps"]
    begins = dict.fromkeys(tables, begin)
    return samples_sql(live, hidden(PLACES.catalog), begins=begins).text


def test_the_statements_are_those_of_the_file(sampled: Sampled, golden: Golden) -> None:
    golden.check("flink-samples.sql", text(sampled, keep_negatives={"rate": 0.25, "salt": "v1"}))


def test_secrets_are_not_in_what_is_shown(sampled: Sampled) -> None:
    assert "tangerine" in str(PLACES.catalog)
    assert "tangerine" not in text(sampled)


def test_the_state_ends_by_the_time_of_events_and_never_by_the_clock(sampled: Sampled) -> None:
    said = text(sampled)
    assert "unbounded" not in said
    assert "state.ttl" not in said


def test_no_source_is_ever_taken_for_idle(sampled: Sampled) -> None:
    assert "idle" not in text(sampled)
    assert not [key for key in SESSION if "idle" in key]


def test_every_session_is_in_utc() -> None:
    assert SESSION["table.local-time-zone"] == "UTC"


def test_every_sample_is_kept_unless_negatives_are_thinned(sampled: Sampled) -> None:
    assert "md5" not in text(sampled)
    assert "md5" in text(sampled, keep_negatives={"rate": 0.25, "salt": "v1"})


def test_what_has_no_history_is_read_from_its_first_snapshot(sampled: Sampled) -> None:
    first = Begin(after_us=0, snapshot_id=8, history_id=None)
    assert "_before" in text(sampled)
    assert "_before" not in text(sampled, first)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"features": [{"view": "features.any", "columns": ["a"]}]}, "features"),
        ({"labels": []}, "labels"),
        (
            {
                "labels": [{"name": "force", "value": "force", **TAPS}],
                "keep_negatives": {"rate": 0.5, "salt": "s"},
            },
            "keep_negatives",
        ),
        ({"labels": [{"name": "tap", **TAPS, "window": "300d"}]}, None),
        ({"labels": [{"name": "tap", **TAPS, "window": "1000d"}]}, "labels"),
        (
            {"exposures": {"table": "raw.things_taps", "id": "shown_id", "entities": ["force"]}},
            "exposures",
        ),
    ],
)
def test_what_sql_cannot_say_is_refused_by_its_key(
    sampled: Sampled, changes: dict[str, Any], key: str | None
) -> None:
    declared = sampled.sample_set("clicked", **changes)
    if key is None:
        live_samples(sampled.lake, declared)
        return
    with refused(FlinkCannotSamplesError, samples="clicked", key=key):
        live_samples(sampled.lake, declared)


def test_a_table_of_no_stream_is_refused(sampled: Sampled) -> None:
    schema = sampled.taps.table_schema()
    declare_table(sampled.lake, TableName.parse("staging.taps"), schema)
    label = {"name": "tap", **TAPS, "stream": "staging.taps"}
    with refused(FlinkCannotSamplesError, key="labels"):
        live_samples(sampled.lake, sampled.sample_set("clicked", labels=[label]))


def test_a_job_begins_after_what_is_known_by_all_tables_and_after_its_newest_revision(
    sampled: Sampled,
) -> None:
    live = live_samples(sampled.lake, sampled.sample_set("clicked"))
    declare_table(sampled.lake, live.table, live.schema, partition_by=("day(event_time)",))
    shown, taps = happened(20, seconds=60, seed=1)
    sampled.add(shown, [])
    with refused(NothingToFollowError, subject=str(live.table), table=str(sampled.taps.table)):
        begins_now(sampled.lake, live)
    sampled.add([], taps)
    found = begins_now(sampled.lake, live)
    assert begins_of(noted(found)) == found
    newest = min(max(each["known_at"] for each in rows) for rows in (shown, taps))
    for each in found.values():
        assert each.after_us == microseconds(newest) - 30_000_000
        assert each.history_id is None
    # a job that wrote nothing is followed by one that begins where it did
    move_properties(sampled.lake.table(live.table), lambda _: noted(found))
    late = {"event_time": newest, "known_at": newest + dt.timedelta(hours=1)}
    sampled.add([{**shown[0], **late, "id": "later"}], [{**taps[0], **late, "tap_id": "later"}])
    again = begins_now(sampled.lake, live)
    assert {each.after_us for each in again.values()} == {microseconds(newest) - 30_000_000}
    assert again["raw.things_taps"].history_id == found["raw.things_taps"].snapshot_id


def test_a_job_begins_before_now_where_a_row_says_it_is_known_later(sampled: Sampled) -> None:
    live = live_samples(sampled.lake, sampled.sample_set("clicked"))
    declare_table(sampled.lake, live.table, live.schema, partition_by=("day(event_time)",))
    shown, taps = happened(2, seconds=60, seed=1)
    far = {"known_at": NOON + dt.timedelta(days=36500)}
    sampled.add([shown[0] | far], [{**taps[0], **far}])
    now_us = sampled.lake.now_ms() * 1000
    begins = begins_now(sampled.lake, live).values()
    assert all(0 <= each.after_us - (now_us - 30_000_000) < 60_000_000 for each in begins)


def test_a_job_reads_first_what_is_there_after_a_delete_at_the_head_of_its_table(
    sampled: Sampled,
) -> None:
    """The source passes over it: rows of before would stay in the job."""
    live = live_samples(sampled.lake, sampled.sample_set("clicked"))
    declare_table(sampled.lake, live.table, live.schema, partition_by=("day(event_time)",))
    shown, taps = happened(20, seconds=60, seed=1)
    sampled.add(shown, taps)
    name = TableName.parse("raw.things_shown")
    found = f"id = '{shown[0]['id']}'"  # its repeat too
    assert delete_where(sampled.lake.table(name), found, provenance=Provenance()).rows
    head = sampled.lake.table(name).head()
    begin = begins_now(sampled.lake, live)[str(name)]
    assert begin.snapshot_id == begin.history_id == head.snapshot_id


@pytest.mark.parametrize(
    ("name", "code"),
    [("samples.things_shown_clicked", "flink-cannot-reach"), ("samples.other", "not-declared")],
)
def test_commands_know_a_sample_set_by_its_table(
    sampled: Sampled, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    folder = sampled.lake.settings.declarations / "samples"
    folder.mkdir()
    (folder / "clicked.yaml").write_text(json.dumps(sampled.said("clicked")))
    monkeypatch.setenv("HEADRACE_LAKE", str(folder.parent / "lake.toml"))
    done = CliRunner().invoke(make_app(), ["flink", "submit", name, "--print", "--output", "json"])
    assert isinstance(done.exception, LakeError | SystemExit)
    assert code in (done.output + str(getattr(done.exception, "code", "")))
