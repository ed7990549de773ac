"""Flink for benchmarks: its servers, a lake on them, and what their processes spend."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT, process_cpu_s, status_mib
from headrace.api import Lake
from headrace.identifiers import TableName
from infra.launcher.cluster import Cluster
from infra.launcher.exports import environment
from tests.flink.streams import settings_of

_PROCESSES = ("flink", "flink_worker", "flink_gateway")
_WAIT_S_MAX = 240.0
_POLL_S = 0.25


def flink_pids(cluster: Cluster) -> tuple[int, ...]:
    """Return the processes of Flink: JobManager, TaskManager and gateway."""
    found = [cluster.pid(name) for name in _PROCESSES]
    return tuple(pid for pid in found if pid is not None)


def cpu_s(*pids: int) -> float:
    """Return the CPU time that processes have used since their start."""
    return sum(map(process_cpu_s, pids))


def rss_mib(*pids: int) -> float:
    """Return the memory that processes have now."""
    return sum(status_mib(pid, "VmRSS") for pid in pids)


@contextmanager
def lake_on(cluster: Path, folder: Path) -> Generator[Lake]:
    """Open a lake on the servers, with its state in a folder."""
    with Lake.open(settings_of(Cluster(cluster), folder)) as lake:
        yield lake


@contextmanager
def command(cluster: Path, folder: Path, *arguments: str) -> "Generator[subprocess.Popen[bytes]]":
    """Run a command of headrace in the lake of a folder until the block ends, with a log of its first word."""
    program = str(Path(sys.executable).with_name("headrace"))
    variables = {**os.environ, **environment(Cluster(cluster))}
    variables["HEADRACE_LAKE"] = str(folder / "lake" / "lake.toml")
    with (folder / f"{arguments[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [program, *arguments], cwd=ROOT, env=variables, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def rows_of(lake: Lake, table: TableName) -> int:
    """Count the rows of a table; 0 if there is none."""
    return lake.table(table).head().row_count if lake.exists(table) else 0


def wait_for(condition: Callable[[], bool], *, what: str, seconds: float = _WAIT_S_MAX) -> None:
    """Wait for a condition.

    Raises:
        RuntimeError: If it does not come true in time.

    """
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            msg = f"{what} did not happen in {seconds:.0f} s"
            raise RuntimeError(msg)
        time.sleep(_POLL_S)
