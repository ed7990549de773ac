"""`headrace ingest run --follow`, as a service manager runs it: a process that signals end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.follow import Following
from headrace.cli.main import make_app
from headrace.cli.output import Format, output_of
from headrace.config import Settings
from headrace.ingest.progress import Phase, Progress
from tests.ingest.factories import write_things
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow

STREAM = """\
stream: things
table: raw.things
source: {files: "things/*.csv"}
format: csv
event_time: at
known_at: {after_event: 0s}
commit: {every: 100ms}
fields:
  id: {type: string, required: true}
  at: {type: timestamptz, required: true}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    (tmp_path / "lake" / "lake.toml").write_text('profile = "p"\n[profiles.p]\n')
    (tmp_path / "lake" / "streams" / "things.yaml").write_text(STREAM)
    return Settings.load(env={}, path=tmp_path / "lake" / "lake.toml")


@pytest.fixture
def service(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    words = ("ingest", "run", "things", "--follow", "--metrics-port", "0")
    running = subprocess.Popen(
        [sys.executable, "-c", "from headrace.cli.main import run; run()", *words],
        env=os.environ | {"HEADRACE_LAKE": str(settings.declarations / "lake.toml")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield running
    running.kill()
    running.communicate()


def scraped(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_service_commits_what_comes_tells_metrics_and_ends_well_on_a_signal(
    settings: Settings, service: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert service.stdout is not None
    found = re.fullmatch(r"metrics at http://127.0.0.1:(\d+)/metrics\n", service.stdout.readline())
    assert found is not None
    port = int(found[1])
    write_things(settings.data_dir, "a", ["good", "missing", "good"], format_="csv")

    def told(name: str) -> float:
        return scraped(port).get(f'headrace_ingest_{name}{{stream="things"}}', -1.0)

    assert wait_until(lambda: told("rows_total") == 2, seconds=WAIT_S)
    letters = 'headrace_ingest_dead_letters_total{code="missing_required",stream="things"}'
    # a commit is counted metric by metric, and its time is told with the next report
    assert wait_until(lambda: letters in scraped(port) and told("seconds_since_commit") >= 0)
    now = scraped(port)
    assert (now[letters], told("up"), told("commit_seconds_count")) == (1, 1, 1)
    assert told("commit_attempts_total") == 2  # rows and dead letters
    assert told("commit_conflicts_total") == 0
    assert 0 <= told("seconds_since_commit") < WAIT_S
    assert told("watermark_age_seconds") > 86_400
    service.send_signal(number)
    printed, complained = service.communicate(timeout=WAIT_S)
    assert (service.returncode, complained) == (0, "")
    assert "2 rows, 1 dead letters of 1 partitions" in printed
    assert printed.splitlines()[-1].startswith("things  stopped after 1 commits, 2 rows")
    with Lake.existing(settings) as lake:
        assert lake.table("raw.things").head().row_count == 2


def test_options_of_following_need_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(settings.declarations / "lake.toml"))
    done = CliRunner().invoke(make_app(), ["ingest", "run", "--every-s", "1"])
    assert (done.exit_code, "--follow" in done.output) == (2, True)


def test_an_accepted_gap_names_its_range_and_one_stream(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(settings.declarations / "lake.toml"))

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(make_app(), ["ingest", "run", *words])
        return done.exit_code, done.output

    assert run("things", "--accept-gap", "3:100-200")[0] == 0
    assert run("things", "--accept-gap", "3:200-100")[0] == 2
    (settings.declarations / "streams" / "others.yaml").write_text(
        STREAM.replace("things", "others")
    )
    code, output = run("--accept-gap", "3:100-200")
    assert (code, "name only that one" in " ".join(output.split())) == (2, True)


def test_a_stream_that_fails_makes_the_service_end_with_its_status(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(settings.declarations / "lake.toml"))
    folder = settings.data_dir / "things"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"PAR1")
    done = CliRunner().invoke(make_app(), ["ingest", "run", "--follow"])
    assert done.exit_code == 1
    assert "source-file" in done.output
    said = CliRunner().invoke(make_app(), ["ingest", "status"]).output
    assert "things: failed: `things/a.csv` cannot be ingested" in said


def test_a_stream_that_waits_says_why_once_and_that_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = Following(output_of(Format.TEXT), every_s=None, rows=None, mib=None)
    well = Progress(stream="things", phase=Phase.FOLLOWING)
    away = replace(well, phase=Phase.RETRYING, error_code="topic-unreachable", error="`t` is away")
    for progress in (well, away, away, well, well):
        told.changed(progress)
    assert capsys.readouterr().out.splitlines() == [
        "things  tries again: topic-unreachable: `t` is away",
        "things  goes on",
    ]
