"""Flink and what it needs, started by the launcher for the tests of a run."""

import contextlib
import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

from headrace.errors import FlinkRefusedError
from headrace.flink.client import JobManager
from infra.launcher import run
from infra.launcher.cluster import Cluster

RUNNING = "HEADRACE_TEST_CLUSTER"
NEEDED = ("postgres", "s3", "kafka", "flink", "flink_worker", "flink_gateway")


@contextlib.contextmanager
def flink_servers() -> Generator[Cluster]:
    """Start the servers, or use the cluster that `RUNNING` names, and start what it lacks."""
    if RUNNING in os.environ:
        cluster = Cluster(Path(os.environ[RUNNING]).absolute())
        run.up(cluster, run.only(NEEDED), say=lambda _: None)
        yield cluster
        return
    # not pytest's folder: the user that PostgreSQL runs as may not enter that one
    with tempfile.TemporaryDirectory(prefix="headrace-flink-") as made:
        cluster = Cluster(Path(made) / "cluster")
        try:
            run.up(cluster, run.only(NEEDED), say=lambda _: None)
            yield cluster
        finally:
            run.down(cluster, say=lambda _: None)


def kill(cluster: Cluster, name: str) -> None:
    """End a server by SIGKILL, as a crash does."""
    pid = cluster.pid(name)
    assert pid is not None, f"{name} does not run"
    os.killpg(pid, signal.SIGKILL)
    run.reap(pid)
    run.stop(cluster, run.by_name(name))


def cancel_all(manager: JobManager, name: str) -> None:
    """Cancel the jobs whose names begin so."""
    for each in manager.jobs(name=name):
        if each.is_running:
            with contextlib.suppress(FlinkRefusedError):  # it ended meanwhile
                manager.cancel(each.id)


@contextlib.contextmanager
def paused(cluster: Cluster, name: str) -> Generator[None]:
    """Stop a server for a while, as one that hangs; it may be killed meanwhile.

    While the JobManager is, no checkpoint begins or completes, and so nothing is committed.
    """
    pid = cluster.pid(name)
    assert pid is not None, f"{name} does not run"
    os.killpg(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)


def start(cluster: Cluster, *names: str) -> None:
    """Start servers that were stopped or killed; returns once they are healthy."""
    run.up(cluster, run.only(names), say=lambda _: None)
