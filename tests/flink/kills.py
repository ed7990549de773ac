"""A worker that is killed when a checkpoint is complete and its commit is not."""

import time

from headrace.flink.client import JobManager
from infra.launcher import flink, run
from infra.launcher.cluster import Cluster
from tests.flink.servers import kill, start
from tests.flink.streams import Written, until

BETWEEN = "10 s"  # of checkpoints: long enough to send records and to stop the catalog
NEVER = "1 d"  # of checkpoints that a test asks for itself


def kill_before_a_commit(written: Written, cluster: Cluster, *, first: int, count: int) -> None:
    """Send records, and kill the worker between the checkpoint that has them and its commit.

    They are sent when a checkpoint is over, and the catalog is away before the next one: no commit succeeds.
    """
    job, manager = written.job.owner.jobs[-1], written.job.manager
    before_ms, newest = _failed_ms(manager, job), _complete(manager, job)
    until(lambda: _complete(manager, job) > newest)
    before = _complete(manager, job)
    written.send(count, first=first)
    run.stop(cluster, run.by_name("postgres"))
    until(lambda: _failed_ms(manager, job) > before_ms)
    until(lambda: _complete(manager, job) > before)
    kill(cluster, "flink_worker")
    start(cluster, "postgres")
    assert written.job.committed(written.job.owner) <= before
    start(cluster, "flink_worker")


def _complete(manager: JobManager, job: str) -> int:
    """Return the newest checkpoint that the JobManager says is complete, 0 while it says none.

    It answers from a copy that it makes every few seconds: what is committed may not be in it yet.
    """
    completed = manager.ask(f"/jobs/{job}/checkpoints")["latest"]["completed"]
    return int(completed["id"]) if completed else 0


def checkpoint(written: Written) -> bool:
    """Ask a job for a checkpoint, and return whether one was made: none is while a task does not run."""
    job = written.job
    url = f"{job.manager.address}/jobs/{job.owner.jobs[-1]}/checkpoints"
    asked = flink.ask(url, method="POST", body={"checkpointType": "CONFIGURED"})["request-id"]
    while (said := flink.ask(f"{url}/{asked}"))["status"]["id"] != "COMPLETED":
        time.sleep(0.2)
    return "checkpointId" in said["operation"]


def failures(manager: JobManager, job: str) -> list[int]:
    """Return when a job failed, the newest time first, in milliseconds; the JobManager keeps some of them."""
    entries = manager.ask(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]
    return [int(each["timestamp"]) for each in entries]


def _failed_ms(manager: JobManager, job: str) -> int:
    return max(failures(manager, job), default=0)
