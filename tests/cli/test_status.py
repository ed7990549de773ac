"""`headrace status`: it reads a real lake, and says what the pages say."""

import datetime as dt
import json
import os
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace import clock
from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.cli.output import as_age
from headrace.definitions.load import load_streams
from headrace.ingest.progress import Phase, Progress, write
from headrace.ingest.run import ingest
from headrace.registry.checks import record_check
from headrace.standing.read import read_lake
from tests.conftest import ROOT
from tests.ingest.factories import write_clicks
from tests.tables.factories import add, events_table

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (8_000, "2 h"), (200_000, "2 d"), (-5, "0 s")],
)
def test_ages_have_one_unit(seconds: int, shown: str) -> None:
    assert as_age(NOW - dt.timedelta(seconds=seconds), now=NOW) == shown


@pytest.fixture
def headrace(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    return lambda *words: CliRunner().invoke(make_app(), list(words))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "trouble", "stale"),
    [(Phase.FAILED, "failed gone", True), (Phase.RETRYING, "", True), (None, "", False)],
)
def test_a_stream_is_judged_by_what_its_service_said_last(
    lake: Lake, phase: Phase | None, trouble: str, stale: bool
) -> None:
    declared = load_streams(lake.settings)["clicks"]
    write_clicks(lake.settings.data_dir, file="a", count=3)
    ingest(lake, declared)  # events of 2019
    if phase is not None:
        said = Progress(stream="clicks", phase=phase, updated_ms=clock.now_ms(), error="gone")
        write(lake.settings, said)
    (found,) = [
        each for each in read_lake(lake.settings).standing.streams if each.stream == "clicks"
    ]
    assert (found.trouble, found.stale) == (trouble, stale)


@pytest.mark.slow
def test_the_status_of_a_stream_says_what_ended_the_service_before(
    lake: Lake, headrace: Callable[..., Result]
) -> None:
    said = Progress(
        stream="clicks",
        phase=Phase.STOPPED,
        updated_ms=clock.now_ms(),
        former_error="fenced: another writer",
        former_ended_ms=1_714_564_800_000,
    )
    write(lake.settings, said)
    result = headrace("ingest", "status", "clicks")
    told = "clicks: a service before ended at 2024-05-01 12:00:00 UTC with fenced: another writer"
    assert told in result.stdout
    status = headrace("status").stdout
    assert "behind  stream clicks: was followed until" in status
    assert "→ headrace ingest run clicks --follow" in status


def damage(lake: Lake, table: str) -> str:
    """Cut the metadata of a table off, so that it cannot be read; return its path."""
    location = lake.table(table).iceberg().metadata_location.removeprefix("file://")
    os.truncate(location, 10)
    return location


@pytest.mark.slow
def test_status_reads_a_real_lake_and_survives_a_table_that_cannot_be_read(
    lake: Lake, headrace: Callable[..., Result]
) -> None:
    for number in range(9):
        add(events_table(lake), [number])
    record_check(lake.registry, "raw.events", "no_duplicates", passed=False)
    damaged = add(events_table(lake, "raw.other"), [1])
    assert damaged is not None
    damage(lake, "raw.other")
    result = headrace("status", "--output", "json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    kinds = [each["kind"] for each in told["findings"]]
    assert kinds == sorted(kinds, key=["wrong", "behind", "slow", "unused"].index)
    assert "raw.other" in {each["subject"] for each in told["findings"]}
    texts = " ".join(each["text"] for each in told["findings"])
    assert "`no_duplicates` of raw.events" in texts
    (lake.settings.state_dir / "online.db").write_bytes(b"no database" * 500)
    text = headrace("status").stdout
    assert "→ headrace" in text
    assert "online store      cannot be read" in text


@pytest.mark.slow
def test_a_stream_whose_table_cannot_be_read_hides_no_other(
    lake: Lake, headrace: Callable[..., Result]
) -> None:
    declared = load_streams(lake.settings)
    write_clicks(lake.settings.data_dir, file="a", count=3)
    ingest(lake, declared["clicks"])
    add(events_table(lake, "raw.impressions"), [1])
    location = damage(lake, "raw.impressions")
    result = headrace("ingest", "status", "--output", "json")
    assert result.exit_code == 1, result.output
    told = {each["stream"]: each for each in json.loads(result.stdout)}
    assert told["clicks"]["rows"] == 3
    assert told["clicks"]["error"] is None
    damaged = told["impressions"]
    assert (damaged["table"], damaged["rows"], damaged["waiting"]) == (
        "raw.impressions",
        None,
        None,
    )
    assert location in damaged["error"]
    assert json.loads(result.stderr)["code"] == "corrupt-file"
    text = headrace("ingest", "status")
    assert "clicks" in text.stdout
    assert location in text.stderr
    standing = json.loads(headrace("status", "--output", "json").stdout)
    rows = {each["stream"]: each["rows"] for each in standing["streams"]}
    assert rows == {"clicks": 3, "impressions": None, "items": 0}
