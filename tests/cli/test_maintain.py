"""`headrace maintain`, on a real lake, in this process and as one that is told to stop."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.failures import EXIT_TRY_AGAIN
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.tables.lake import LakeTable
from tests.conftest import ROOT
from tests.disks import room_for
from tests.maintenance.queue.test_full_disk import texts_table
from tests.tables.factories import add, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

Headrace = Callable[..., Result]
FINISHED = ("--cold-after-s", "0")


def environment(settings: Settings) -> dict[str, str]:
    return {
        "HEADRACE_LAKE": str(ROOT / "lake" / "lake.toml"),
        "HEADRACE_STATE_DIR": str(settings.state_dir),
    }


@pytest.fixture
def headrace(settings: Settings) -> Headrace:
    """Run a command against the test's own lake."""
    return lambda *words: CliRunner().invoke(make_app(), list(words), env=environment(settings))


@pytest.fixture
def untidy(lake: Lake) -> LakeTable:
    """A table of six small files over two days."""
    table = events_table(lake)
    for number in range(6):
        add(table, [number], day=number % 2)
    return table


def test_an_empty_lake_has_nothing_to_do(lake: Lake, headrace: Headrace) -> None:
    _ = lake
    for words in (("maintain",), ("maintain", "--plan")):
        result = headrace(*words)
        assert result.exit_code == 0
        assert result.stdout.startswith("nothing to do")


def test_the_plan_shows_the_queue_with_reasons_and_changes_nothing(
    untidy: LakeTable, headrace: Headrace
) -> None:
    at = untidy.iceberg().metadata_location
    result = headrace("maintain", "--plan", *FINISHED)
    assert result.exit_code == 0
    assert "2 actions" in result.stdout
    assert "3 of 3 files small" in result.stdout
    assert "2 fewer files, scans save" in result.stdout
    assert "nothing was changed" in result.stdout
    assert untidy.iceberg().metadata_location == at


def test_what_is_still_written_to_waits_and_the_plan_says_until_when(
    untidy: LakeTable, headrace: Headrace
) -> None:
    _ = untidy
    text = headrace("maintain", "--plan").stdout
    assert "nothing to do now" in text
    assert "still written to" in text
    shown = json.loads(headrace("maintain", "--plan", "--output", "json").stdout)
    assert shown["actions"] == []
    assert [each["partition"] for each in shown["waiting"]] == ["2024-05-01", "2024-05-02"]
    assert all(each["until"].endswith("+00:00") for each in shown["waiting"])
    assert "2 wait" in headrace("maintain", "--apply").stdout


def test_maintain_does_what_the_plan_says_and_then_finds_nothing(
    untidy: LakeTable, headrace: Headrace
) -> None:
    result = headrace("maintain", "--apply", *FINISHED)
    assert result.exit_code == 0
    assert result.stdout.count("3 files → 1, 3 rows") == 2
    assert "2 done" in result.stdout
    assert len(untidy.head().files()) == 2
    assert ids_of(untidy) == list(range(6))
    assert "every table is in shape" in headrace("maintain", "--plan", *FINISHED).stdout


def test_as_json_a_round_is_one_document(untidy: LakeTable, headrace: Headrace) -> None:
    _ = untidy
    planned = json.loads(headrace("maintain", "--plan", *FINISHED, "--output", "json").stdout)
    rates = [each["gain_s_per_mib"] for each in planned["actions"]]
    assert rates == sorted(rates, reverse=True)
    done = json.loads(headrace("maintain", "--apply", *FINISHED, "--output", "json").stdout)
    assert [each["outcome"] for each in done["results"]] == ["done", "done"]
    assert done["bytes_rewritten"] == planned["cost_bytes"]


def test_only_the_tables_that_are_named_are_maintained(
    untidy: LakeTable, lake: Lake, headrace: Headrace
) -> None:
    other = events_table(lake, "raw.other")
    for number in range(3):
        add(other, [number])
    assert headrace("maintain", "--apply", "raw.other", *FINISHED).exit_code == 0
    assert len(other.head().files()) == 1
    assert len(untidy.head().files()) == 6


def test_a_table_that_is_not_there_is_said_before_anything_is_done(
    untidy: LakeTable, headrace: Headrace
) -> None:
    result = headrace("maintain", "--apply", "raw.events", "raw.nothing", *FINISHED)
    assert result.exit_code == 1
    assert "raw.nothing" in result.stderr
    assert len(untidy.head().files()) == 6


def test_a_budget_of_seconds_that_is_spent_says_so(untidy: LakeTable, headrace: Headrace) -> None:
    result = headrace("maintain", "--apply", "--budget-s", "0", *FINISHED)
    assert result.exit_code == 0
    assert "stopped" in result.stdout
    assert len(untidy.head().files()) == 6


def test_a_plan_cannot_be_followed(headrace: Headrace) -> None:
    assert headrace("maintain", "--plan", "--apply").exit_code == 2
    assert headrace("maintain", "--follow").exit_code == 2
    assert headrace("maintain", "--apply", "--metrics-port", "0").exit_code == 2


def test_what_failed_is_named_and_the_command_fails_after_the_rest_is_done(
    untidy: LakeTable, headrace: Headrace
) -> None:
    first = untidy.head().files()[0]
    Path(first.path).write_bytes(b"PAR1")
    result = headrace("maintain", "--apply", *FINISHED)
    assert result.exit_code == 1
    assert "corrupt-file" in result.stderr
    assert "1 failed" in result.stdout
    assert "1 done" in result.stdout
    assert len(untidy.head().files()) == 4


def test_maintenance_without_room_fails_with_the_status_for_trying_again(
    lake: Lake, settings: Settings, headrace: Headrace
) -> None:
    table = texts_table(lake, files=10)
    before = {path for path in settings.warehouse.rglob("*") if path.is_file()}
    databases = max(path.stat().st_size for path in settings.state_dir.glob("*.db*"))
    with room_for(databases + 200_000):
        result = headrace("maintain", "--apply", *FINISHED)
    assert result.exit_code == EXIT_TRY_AGAIN
    assert "1 failed" in result.stdout
    assert result.stderr.startswith("storage-full")
    assert {path for path in settings.warehouse.rglob("*") if path.is_file()} == before
    assert headrace("maintain", "--apply", *FINISHED).exit_code == 0
    assert len(table.head().files()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_following_maintains_what_comes_until_it_is_told_to_stop(
    untidy: LakeTable, settings: Settings, number: signal.Signals
) -> None:
    words = ("maintain", "--apply", "--follow", "--every-s", "0.2", "--metrics-port", "0")
    process = subprocess.Popen(
        [sys.executable, "-c", "from headrace.cli.main import run; run()", *words, *FINISHED],
        cwd=ROOT,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("metrics at ").strip()
        wait_until(lambda: len(untidy.head().files()) == 2)
        for at in range(6, 9):
            add(untidy, [at])
        wait_until(lambda: len(untidy.head().files()) == 2)
        wait_until(lambda: compactions(scraped(address)) >= 3)  # the last in one round or in two
        process.send_signal(number)
        printed, complaints = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == 0, complaints
    assert "3 files → 1" in printed
    assert complaints == ""
    assert ids_of(untidy) == list(range(9))


def compactions(metrics: str) -> float:
    done = (
        'headrace_maintenance_actions_total{action="major compaction",by="headrace",outcome="done"'
    )
    _, _, number = metrics.partition(f'{done},table="raw.events"}} ')
    return float(number.split()[0]) if number else 0


def scraped(address: str) -> str:
    with urlopen(address, timeout=WAIT_S) as answer:
        return answer.read().decode()


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
