"""A window view from the command line: declared, ingested, published, followed and looked up."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.main import make_app
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

STREAM = """\
stream: plays
table: raw.plays
source: {files: "plays/*.jsonl"}
format: json
key: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamptz, required: true}
  user_id: {type: long, required: true}
  item: {type: long}
"""
VIEW = """\
view: features.recent
events: raw.plays
entity: [user_id]
hop: 5m
aggregates:
  - {name: plays, take: count, windows: [1h, 1d]}
  - {name: items, take: last, of: item, keep: 3, windows: [1d]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("streams/plays", STREAM), ("windows/recent", VIEW)):
        path = tmp_path / "lake" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tmp_path / "lake" / "lake.toml").write_text('profile = "p"\n[profiles.p]\n')
    (tmp_path / ".headrace" / "data" / "plays").mkdir(parents=True)
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    return tmp_path


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), [*arguments, "--output", "json"])


def play(folder: Path, name: str, *items: int, minutes_ago: float = 0) -> None:
    at = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes_ago)
    lines = [
        json.dumps({"id": f"{name}{n}", "at": at.isoformat(), "user_id": 7, "item": item})
        for n, item in enumerate(items)
    ]
    (folder / ".headrace" / "data" / "plays" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    assert headrace("ingest", "run", "plays").exit_code == 0


def got(*entities: Mapping[str, object], at: str | None = None) -> list[dict[str, Any]]:
    moment = () if at is None else ("--at", at)
    done = headrace("online", "get", "features.recent", *map(json.dumps, entities), *moment)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_events_are_looked_up_as_soon_as_they_are_published(folder: Path) -> None:
    play(folder, "a", 1, 2, minutes_ago=90)
    play(folder, "b", 3)
    done = json.loads(headrace("online", "publish").output)
    assert [(one["view"], one["mode"], one["rows_changed"]) for one in done] == [
        ("features.recent", "full", 1)
    ]
    assert [(row["plays_1h"], row["plays_1d"], row["items_1d"]) for row in got({"user_id": 7})] == [
        (1, 3, [1, 2, 3])
    ]
    other, one = got({"user_id": 8}, {"user_id": 7})
    assert (other["plays_1d"], other["items_1d"], one["plays_1d"]) == (0, None, 3)
    (early,) = got({"user_id": 7}, at="2020-01-01T00:00:00Z")
    assert (early["status"], early["plays_1d"]) == ("not_yet_known", None)
    (status,) = json.loads(headrace("online", "status").output)
    assert (status["view"], status["rows"], status["up_to_date"]) == ("features.recent", 1, True)
    play(folder, "c", 4)
    (status,) = json.loads(headrace("online", "status").output)
    assert (status["up_to_date"], status["newer_commits"]) == (False, 1)


@pytest.mark.parametrize(
    "entity", ['{"user_id": ', "7", '{"user_id": "7"}', '{"user": 7}', '{"user_id": 7.0}']
)
def test_what_is_no_entity_is_refused(folder: Path, entity: str) -> None:
    play(folder, "a", 1)
    headrace("online", "publish")
    done = headrace("online", "get", "features.recent", entity)
    assert done.exit_code != 0
    assert "plays_1d" not in done.stdout


def test_a_view_that_is_not_published_and_a_time_without_zone_are_refused(folder: Path) -> None:
    for moment in ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00", "noon"):
        arguments = ("online", "get", "features.recent", '{"user_id": 7}', "--at", moment)
        assert headrace(*arguments).exit_code != 0


def test_following_takes_each_commit_until_it_is_told_to_stop(folder: Path) -> None:
    play(folder, "a", 1)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("headrace")), "online", "follow"]
        + ["--every-ms", "50", "--output", "json"],
        cwd=folder,
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert (first["view"], first["mode"], first["rows_changed"]) == ("features.recent", "full", 1)
    play(folder, "b", 2, minutes_ago=30)
    second = json.loads(process.stdout.readline())
    assert (second["mode"], second["rows_read"]) == ("incremental", 1)
    assert second["behind_s"] < WAIT_S
    (row,) = got({"user_id": 7})
    assert (row["plays_1d"], row["items_1d"]) == (2, [2, 1])
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=WAIT_S)
    assert (process.returncode, rest) == (0, "")
