"""`headrace tables cleanup | trash | restore | empty-trash`, on a real lake."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.storage.locations import local_path
from headrace.tables.writer import write_batches
from tests.conftest import ROOT
from tests.tables.factories import add, events, events_table, ids_of

pytestmark = pytest.mark.slow

Headrace = Callable[..., Result]
DAY_S = 86_400


@pytest.fixture
def headrace(settings: Settings) -> Headrace:
    """Run a command against the test's own lake."""
    env = {
        "HEADRACE_LAKE": str(ROOT / "lake" / "lake.toml"),
        "HEADRACE_STATE_DIR": str(settings.state_dir),
    }
    return lambda *words: CliRunner().invoke(make_app(), list(words), env=env)


@pytest.fixture
def orphan(lake: Lake) -> Path:
    """A file that a writer left behind 100 h ago, beside a table of one row."""
    table = events_table(lake)
    add(table, [1])
    (file,) = write_batches(table, [events([2])])
    lake.registry.end_writes([w.write_id for w in lake.registry.writes()])
    for path in lake.settings.warehouse.rglob("*"):
        os.utime(path, (time.time() - 100 * 3600,) * 2)
    return Path(local_path(file.file_path))


def run_in_trash(headrace: Headrace) -> str:
    (run,) = json.loads(headrace("tables", "trash", "raw.events", "--output", "json").stdout)
    return run["run"]


def test_cleanup_shows_the_plan_with_bytes_and_changes_nothing(
    orphan: Path, headrace: Headrace
) -> None:
    result = headrace("tables", "cleanup", "raw.events")
    assert result.exit_code == 0
    assert "1 orphan file older than 3d" in result.stdout
    assert "data" in result.stdout
    assert "stay: 5 referenced (" in result.stdout
    assert "--apply" in result.stdout
    assert orphan.exists()


def test_cleanup_apply_moves_files_and_says_how_to_undo(
    lake: Lake, orphan: Path, headrace: Headrace
) -> None:
    content = orphan.read_bytes()
    result = headrace("tables", "cleanup", "raw.events", "--older-than", "4d", "--apply")
    assert result.exit_code == 0
    run = run_in_trash(headrace)
    assert f"headrace tables restore raw.events {run}" in result.stdout
    assert not orphan.exists()
    assert ids_of(lake.table("raw.events")) == [1]
    again = headrace("tables", "cleanup", "raw.events", "--apply")
    assert "no orphan file older than 3d" in again.stdout
    dry = headrace("tables", "restore", "raw.events", run)
    assert "1 files" in dry.stdout
    assert "--apply" in dry.stdout
    assert not orphan.exists()
    assert headrace("tables", "restore", "raw.events", run, "--apply").exit_code == 0
    assert orphan.read_bytes() == content
    assert "is empty" in headrace("tables", "trash", "raw.events").stdout


def test_a_file_in_the_way_of_a_restore_is_named(orphan: Path, headrace: Headrace) -> None:
    headrace("tables", "cleanup", "raw.events", "--apply")
    orphan.write_text("another")
    result = headrace("tables", "restore", "raw.events", run_in_trash(headrace), "--apply")
    assert f"another file has its place: data/event_time_day=2024-05-01/{orphan.name}" in (
        result.stdout
    )


def test_a_shorter_age_is_refused_and_a_wrong_one_is_wrong_usage(
    orphan: Path, headrace: Headrace
) -> None:
    refused = headrace("tables", "cleanup", "raw.events", "--older-than", "71h", "--apply")
    assert refused.exit_code == 1
    assert "profiles.local.cleanup_age_hours" in refused.stderr
    assert orphan.exists()
    wrong = headrace("tables", "cleanup", "raw.events", "--older-than", "soon")
    assert wrong.exit_code == 2
    assert "is not a duration" in wrong.stderr


def test_the_trash_lists_runs_and_is_emptied_only_with_apply_and_after_the_window(
    orphan: Path, lake: Lake, headrace: Headrace
) -> None:
    headrace("tables", "cleanup", "raw.events", "--apply")
    assert run_in_trash(headrace) in headrace("tables", "trash", "raw.events").stdout
    result = headrace("tables", "empty-trash", "raw.events", "--apply")
    assert "nothing in the trash of raw.events is beyond" in result.stdout
    (manifest,) = lake.settings.warehouse.rglob("manifest.json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"moved_at": "2024-05-01T00:00:00+00:00"}))
    dry = headrace("tables", "empty-trash", "raw.events")
    assert "1 files" in dry.stdout
    assert "--apply" in dry.stdout
    assert manifest.exists()
    done = headrace("tables", "empty-trash", "raw.events", "--apply")
    assert "1 files of 1 runs are deleted" in done.stdout
    assert not manifest.exists()
    assert not orphan.exists()


def test_all_of_it_as_json_is_one_document_each(orphan: Path, headrace: Headrace) -> None:
    as_json = ("--output", "json")
    plan = json.loads(headrace("tables", "cleanup", "raw.events", *as_json).stdout)
    assert (plan["files"], plan["bytes"], plan["applied"]) == (1, orphan.stat().st_size, False)
    assert plan["older_than_s"] == 3 * DAY_S
    assert [each["kind"] for each in plan["kinds"]] == ["data"]
    assert {each["reason"] for each in plan["kept"]} >= {"referenced", "in flight", "too young"}
    (listed,) = plan["paths"]
    assert listed["path"].endswith(orphan.name)
    assert listed["age_s"] > 99 * 3600
    done = json.loads(headrace("tables", "cleanup", "raw.events", "--apply", *as_json).stdout)
    assert (done["applied"], done["left"]) == (True, [])
    (run,) = json.loads(headrace("tables", "trash", "raw.events", *as_json).stdout)
    assert (run["run"], run["files"]) == (done["run"], 1)
    empty = headrace("tables", "empty-trash", "raw.events", "--apply", *as_json)
    assert json.loads(empty.stdout) == []
    restored = headrace("tables", "restore", "raw.events", run["run"], "--apply", *as_json)
    assert json.loads(restored.stdout)["in_the_way"] == []
    assert json.loads(headrace("tables", "trash", "raw.events", *as_json).stdout) == []


def test_an_unknown_run_or_table_is_named(orphan: Path, headrace: Headrace) -> None:
    assert orphan.exists()
    for words in (("restore", "raw.events", "nonsense"), ("cleanup", "raw.nothing")):
        result = headrace("tables", *words)
        assert result.exit_code == 1
        assert words[-1] in result.stderr
        assert "Traceback" not in result.stderr
