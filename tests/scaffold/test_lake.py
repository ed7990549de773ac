"""What `init` writes, and what it leaves alone."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.errors import SettingsError
from headrace.scaffold.lake import LakePlan, Step, apply_lake, plan_lake
from infra.launcher.cluster import free_port
from tests.waiting import WAIT_S, wait_until

MACRO = "dbt_project/dbt_packages/headrace/macros/trailing_sums.sql"


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments))


def steps(plan: LakePlan) -> Mapping[str, Step]:
    return {file.path: file.step for file in plan.files}


def content(root: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    apply_lake(plan_lake(tmp_path))
    before = content(tmp_path)
    again = plan_lake(tmp_path)
    assert again.changed == ()
    apply_lake(again)
    assert content(tmp_path) == before


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    plan = plan_lake(tmp_path)
    apply_lake(plan)
    assert steps(plan)["README.md"] is Step.KEEP
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "notes.txt").read_text() == "mine too"
    assert (tmp_path / "lake" / "lake.toml").is_file()


def test_in_a_lake_macros_are_renewed_and_examples_do_not_come_back(tmp_path: Path) -> None:
    apply_lake(plan_lake(tmp_path))
    fresh = (tmp_path / MACRO).read_bytes()
    (tmp_path / MACRO).write_text("of an earlier version")
    (tmp_path / "lake" / "streams" / "impressions.yaml").unlink()
    (tmp_path / "dbt_project" / "models" / "sources.yml").unlink()
    plan = plan_lake(tmp_path)
    assert [file.path for file in plan.changed] == [MACRO]
    apply_lake(plan)
    assert (tmp_path / MACRO).read_bytes() == fresh
    assert not (tmp_path / "lake" / "streams" / "impressions.yaml").exists()


def test_a_run_that_was_killed_is_completed_by_the_next(tmp_path: Path) -> None:
    whole = plan_lake(tmp_path)
    for count in range(0, len(whole.files), 5):
        part = LakePlan(root=tmp_path, files=whole.files[:count])
        apply_lake(part)
    apply_lake(plan_lake(tmp_path))
    assert {str(path.relative_to(tmp_path)) for path in content(tmp_path)} == set(steps(whole))


def test_a_lake_without_a_dbt_project_gets_one_without_examples(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text("[profiles.local]\n")
    apply_lake(plan_lake(tmp_path))
    assert (tmp_path / "dbt_project" / "dbt_project.yml").is_file()
    assert (tmp_path / MACRO).is_file()
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / "lake").glob("s*"))


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("no folder")
    done = headrace("init", str(tmp_path), "--output", "json")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["code"] == "settings"
    with pytest.raises(SettingsError):
        apply_lake(plan_lake(tmp_path))


def test_its_declarations_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert headrace("init", str(tmp_path)).exit_code == 0
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    checked = json.loads(headrace("check", "--output", "json").stdout)
    assert checked == {"fine": 2, "problems": [], "warnings": []}
    assert len((tmp_path / "README.md").read_text().splitlines()) <= 10


@pytest.mark.slow
def test_the_pages_of_a_lake_are_served_on_loopback_until_a_signal(tmp_path: Path) -> None:
    apply_lake(plan_lake(tmp_path))
    port = free_port()
    run = "from headrace.cli.main import run; run()"
    command = [sys.executable, "-c", run, "ui", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        try:
            assert wait_until(lambda: answers(port), seconds=WAIT_S)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=WAIT_S) in (0, -signal.SIGTERM)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as answer:
            return answer.read() == b"ok"
    except OSError:
        return False
