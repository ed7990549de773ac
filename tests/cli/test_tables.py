"""`headrace tables`, on a real lake."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.failures import EXIT_FAILED
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.tables.refs.refs import tag
from tests.conftest import ROOT
from tests.tables.factories import add, events_table, ids_of

pytestmark = pytest.mark.slow

Headrace = Callable[..., Result]


@pytest.fixture
def headrace(settings: Settings) -> Headrace:
    """Run a command against the test's own lake."""
    env = {
        "HEADRACE_LAKE": str(ROOT / "lake" / "lake.toml"),
        "HEADRACE_STATE_DIR": str(settings.state_dir),
    }
    return lambda *words: CliRunner().invoke(make_app(), list(words), env=env)


@pytest.fixture
def many_files(lake: Lake) -> Lake:
    """A table of six small files over two days, tagged once; and a tidy one."""
    table = events_table(lake)
    for number in range(6):
        add(table, [number], day=number % 2)
    tag(table, "first", snapshot_id=table.head().snapshot_id or 0)
    add(events_table(lake, "raw.tidy"), [1])
    return lake


def test_a_read_of_a_lake_that_is_not_there_fails_and_creates_nothing(
    settings: Settings, headrace: Headrace
) -> None:
    for words in (
        ["tables", "list"],
        ["tables", "health"],
        ["maintain", "--plan"],
        ["ingest", "status"],
        ["samples", "build", "ctr"],
        ["samples", "inspect", "1"],
        ["datasets", "list"],
        ["datasets", "verify", "ctr"],
    ):
        result = headrace(*words)
        assert result.exit_code == EXIT_FAILED, words
        assert "headrace ingest run" in result.stderr
        assert not settings.state_dir.exists(), words


def test_without_tables_list_and_health_say_what_to_do_next(lake: Lake, headrace: Headrace) -> None:
    _ = lake
    for command in ("list", "health"):
        result = headrace("tables", command)
        assert result.exit_code == 0
        assert "headrace ingest run" in result.stdout
        assert json.loads(headrace("tables", command, "--output", "json").stdout) == []


def test_list_gives_rows_and_files_of_every_table(many_files: Lake, headrace: Headrace) -> None:
    _ = many_files
    text = headrace("tables", "list").stdout.splitlines()
    assert text[1].split()[:3] == ["raw.events", "6", "6"]
    (events, tidy) = json.loads(headrace("tables", "list", "--output", "json").stdout)
    assert (events["table"], events["rows"], events["files"]) == ("raw.events", 6, 6)
    assert events["bytes"] > 0
    assert events["committed"].endswith("+00:00")
    assert (tidy["table"], tidy["files"]) == ("raw.tidy", 1)


def test_show_gives_columns_tags_and_what_commits_did(many_files: Lake, headrace: Headrace) -> None:
    result = headrace("tables", "show", "raw.events", "--snapshots", "2", "--output", "json")
    shown = json.loads(result.stdout)
    head = str(many_files.table("raw.events").head().snapshot_id)
    assert shown["snapshot"] == head
    assert shown["partitioned_by"] == ["day(event_time)"]
    assert shown["columns"][0] == {"column": "id", "type": "int64", "required": True}
    assert shown["tags"] == {"first": head}
    assert shown["snapshots"][0]["snapshot"] == head
    assert len(shown["snapshots"]) == 2
    text = headrace("tables", "show", "raw.events").stdout
    assert "day(event_time)" in text
    assert "first" in text


def test_health_is_worst_first_and_says_what_fixing_gains(
    many_files: Lake, headrace: Headrace
) -> None:
    _ = many_files
    text = headrace("tables", "health").stdout.splitlines()
    assert [line.split()[0] for line in text[1:]] == ["raw.events", "raw.tidy"]
    assert "6 of 6 files are small" in text[1]
    assert "4 fewer files" in text[1]
    assert text[2].split()[1:] == ["100", "—"]


def test_health_of_one_table_shows_every_part(many_files: Lake, headrace: Headrace) -> None:
    _ = many_files
    text = headrace("tables", "health", "raw.events").stdout
    for part in ("small files", "snapshots", "manifests"):
        assert part in text
    (scored,) = json.loads(headrace("tables", "health", "raw.events", "--output", "json").stdout)
    assert scored["score"] == 100 + sum(-part["penalty"] for part in scored["parts"])


def test_compact_shows_the_plan_and_changes_nothing(many_files: Lake, headrace: Headrace) -> None:
    before = many_files.table("raw.events").head().snapshot_id
    result = headrace("tables", "compact", "raw.events")
    assert result.exit_code == 0
    assert "6 files → 2" in result.stdout
    assert "2024-05-01" in result.stdout
    assert "--apply" in result.stdout
    assert many_files.table("raw.events").head().snapshot_id == before


def test_compact_apply_rewrites_files_and_keeps_rows(many_files: Lake, headrace: Headrace) -> None:
    table = many_files.table("raw.events")
    rows = ids_of(table)
    result = headrace("tables", "compact", "raw.events", "--apply")
    assert result.exit_code == 0
    assert result.stdout.index("6 files → 2, ") < result.stdout.index("done: 6 files → 2")
    assert ids_of(table) == rows
    assert len(table.head().files()) == 2
    again = headrace("tables", "compact", "raw.events", "--apply")
    assert "nothing to compact" in again.stdout


def test_compact_as_json_is_one_document(many_files: Lake, headrace: Headrace) -> None:
    planned = json.loads(headrace("tables", "compact", "raw.events", "--output", "json").stdout)
    assert (planned["files_in"], planned["files_out"], planned["applied"]) == (6, 2, False)
    assert [each["files_in"] for each in planned["partitions"]] == [3, 3]
    result = headrace("tables", "compact", "raw.events", "--apply", "--output", "json")
    done = json.loads(result.stdout)
    assert done["applied"]
    assert done["snapshot_after"] == str(many_files.table("raw.events").head().snapshot_id)


def test_a_table_that_is_not_there_is_named_with_those_that_are(
    many_files: Lake, headrace: Headrace
) -> None:
    _ = many_files
    result = headrace("tables", "show", "raw.nothing")
    assert result.exit_code == 1
    assert "raw.nothing" in result.stderr
    assert "`raw.events`" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_name_that_is_no_table_name_is_refused(lake: Lake, headrace: Headrace) -> None:
    _ = lake
    result = headrace("tables", "compact", "../etc")
    assert result.exit_code == 1
    assert "invalid-name" in result.stderr


def test_one_damaged_table_hides_no_other(many_files: Lake, headrace: Headrace) -> None:
    damaged = Path(many_files.table("raw.events").head().metadata_location)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for command in ("list", "health"):
        shown = headrace("tables", command)
        assert shown.exit_code == EXIT_FAILED
        lines = [line.split() for line in shown.stdout.splitlines()[1:]]
        assert [line[0] for line in lines] == ["raw.events", "raw.tidy"]
        assert lines[0][-1] == "corrupt-file"
        assert str(damaged) in shown.stderr
        (events, tidy) = json.loads(headrace("tables", command, "--output", "json").stdout)
        assert (events["table"], events["error"]) == ("raw.events", "corrupt-file")
        assert tidy["table"] == "raw.tidy"
        assert "error" not in tidy


def test_a_name_without_its_namespace_is_said_beside_the_table_that_was_meant(
    many_files: Lake, headrace: Headrace
) -> None:
    _ = many_files
    for meant in ("events", "raw.event"):
        failed = headrace("tables", "show", meant, "--output", "json")
        assert failed.exit_code == EXIT_FAILED
        error = json.loads(failed.stderr)
        assert error["code"] == "table-not-found"
        assert error["facts"]["known"] == ["raw.events", "raw.tidy"]
        assert "`raw.events`" in error["message"]
        assert "raw.tidy" not in error["message"]
