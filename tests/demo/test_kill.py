"""SIGKILL at any moment, then once more: the same content, to the last bit of its hash.

`make proofs` kills more often, from another seed: HEADRACE_KILLS=12 HEADRACE_KILL_SEED=… .
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from demo import run as demo
from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.versions import find_lockfile
from tests.conftest import ROOT, DemoLake, demo_environment, enter

KILLS = int(os.environ.get("HEADRACE_KILLS", "1"))
SEED = int(os.environ.get("HEADRACE_KILL_SEED", "7"))
# Progress lines after which a run is killed: from before the first write to after the last table.
LINES = range(16)
DELAY_S_MAX = 1.5


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_after(process: subprocess.Popen[str], *, lines: int, delay_s: float) -> bool:
    """Kill after some lines of progress and a moment; False if it ended before that."""
    assert process.stdout is not None
    for _ in range(lines):
        if not process.stdout.readline():
            break
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
def test_a_demo_killed_at_random_moments_completes_to_the_same_content(
    demo_lake: DemoLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = demo_environment(tmp_path / "state")
    if KILLS == 1:  # dbt parses its own macros for a third of a run: take what it parsed before
        shutil.copytree(demo_lake.settings.state_dir / "dbt", tmp_path / "state" / "dbt")
    chance = random.Random(SEED)
    moments: list[tuple[int, float]] = []
    for _ in range(KILLS):
        moment = (chance.choice(LINES), round(chance.uniform(0, DELAY_S_MAX), 2))
        process = start(environment)
        if kill_after(process, lines=moment[0], delay_s=moment[1]):
            moments.append(moment)
    enter(environment, monkeypatch)
    assert demo.main() == 0, f"killed at {moments}"  # here: a start imports for 6 s of CPU
    settings = Settings.load(env=environment, path=ROOT / "lake" / "lake.toml")
    with Lake.open(settings) as lake, Lake.open(demo_lake.settings) as undisturbed:
        mine, other = find_lockfile(lake, "ctr"), find_lockfile(undisturbed, "ctr")
        assert mine.content_hash == other.content_hash, f"killed at {moments}"
        assert (mine.version, mine.rows, mine.labels) == (1, other.rows, other.labels)
        for name in undisturbed.names():
            rows = lake.table(name).head().row_count
            assert rows == undisturbed.table(name).head().row_count, f"{name}, killed at {moments}"
    with dg.DagsterInstance.from_config(str(settings.state_dir / "dagster")) as instance:
        statuses = [run.status for run in instance.get_runs()]
    # none is left unfinished; one that was killed after its graph, while training, is a success
    assert statuses[0] == dg.DagsterRunStatus.SUCCESS
    assert set(statuses[1:]) <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert moments, "every run ended before it could be killed"
