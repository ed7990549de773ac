"""A job is asked to stop until it does, as long as it comes back from what failed; recorded replies."""

from typing import Any

import pytest

from headrace.flink import stopping
from headrace.flink.client import JobManager
from headrace.flink.stopping import Stopped, stop_with_savepoint
from headrace.flink_access import FlinkAccess
from tests.flink.replies import answering

JOB, STOP, SAVEPOINT = "GET /jobs/c1", "POST /jobs/c1/stop", "GET /jobs/c1/savepoints/r1"
NOT_EXECUTED = (
    "org.apache.flink.util.SerializedThrowable: java.util.concurrent.CompletionException\n"
    "Caused by: org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint triggering task "
    "Source: news (1/1) is not being executed at the moment. Aborting checkpoint.\n"
)
Reply = tuple[int, Any]


def job(state: str, **tasks: int) -> Reply:
    return (200, {"state": state, "vertices": [{"tasks": {"CANCELED": 0, "RUNNING": 1} | tasks}]})


def savepoint(*, location: str = "", failure: str = "") -> Reply:
    done = {"location": location} if location else {"failure-cause": {"stack-trace": failure}}
    return (200, {"operation": done})


WRITTEN = savepoint(location="s3://lake/s-1")


def stopped(
    jobs: list[Reply], savepoints: list[Reply], monkeypatch: pytest.MonkeyPatch, *, seconds: float
) -> tuple[Stopped, int]:
    """Stop a job that answers so; return what came of it, and how often it was asked to."""
    monkeypatch.setattr(stopping, "_POLL_S", 0.01)
    replies = {JOB: jobs, STOP: [(202, {"request-id": "r1"})], SAVEPOINT: savepoints}
    with answering(replies) as (address, asked):
        manager = JobManager(FlinkAccess(uri=address, gateway_uri=address))
        found = stop_with_savepoint(manager, "c1", seconds=seconds)
    return found, sum(key == STOP for key, _ in asked)


def test_a_job_is_asked_once_all_its_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        job("RESTARTING"),
        job("RUNNING", SCHEDULED=2),
        job("RUNNING", INITIALIZING=1),
        job("RUNNING", FINISHED=1),
        job("FINISHED"),
    ]
    found, asked = stopped(jobs, [WRITTEN], monkeypatch, seconds=60)
    assert found == Stopped(savepoint="s3://lake/s-1", why="")
    assert asked == 1


def test_a_savepoint_that_is_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job("RUNNING")] * 4 + [job("FINISHED")]
    found, asked = stopped(jobs, [(200, {})] * 3 + [WRITTEN], monkeypatch, seconds=0)
    assert found == Stopped(savepoint="s3://lake/s-1", why="")
    assert asked == 1


def test_why_a_job_ended_is_said_though_it_is_told_to_run_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cause = "java.sql.SQLException: the connection was closed"
    gone = (
        "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (c1)"
    )
    jobs = [job("RUNNING")] * 4 + [job("FAILED")]
    found, asked = stopped(
        jobs, [savepoint(failure=cause), savepoint(failure=gone)], monkeypatch, seconds=60
    )
    assert found == Stopped(savepoint="", why=cause)
    assert asked == 2


def test_a_savepoint_that_fails_is_asked_for_again_while_the_job_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = [job("RUNNING"), job("RUNNING"), job("RESTARTING"), job("RUNNING"), job("FINISHED")]
    failed = savepoint(failure=NOT_EXECUTED)
    found, asked = stopped(jobs, [failed, WRITTEN], monkeypatch, seconds=60)
    assert found == Stopped(savepoint="s3://lake/s-1", why="")
    assert asked == 2


def test_a_job_that_fails_after_its_savepoint_is_stopped_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = [job("RUNNING"), job("RUNNING"), job("FAILING"), job("RUNNING"), job("FINISHED")]
    found, asked = stopped(jobs, [WRITTEN], monkeypatch, seconds=60)
    assert found == Stopped(savepoint="s3://lake/s-1", why="")
    assert asked == 2


@pytest.mark.parametrize(
    ("jobs", "why"),
    [
        ([job("RESTARTING")], "its state is RESTARTING; after 0 s"),
        (
            [job("RUNNING", SCHEDULED=2, DEPLOYING=1)],
            "of its tasks, 1 DEPLOYING, 2 SCHEDULED; after 0 s",
        ),
        ([job("FAILED")], "its state is FAILED"),
    ],
)
def test_a_job_that_does_not_come_back_is_not_stopped_and_says_why(
    jobs: list[Reply], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, asked = stopped(jobs, [WRITTEN], monkeypatch, seconds=0)
    assert found == Stopped(savepoint="", why=why)
    assert asked == 0


def test_the_reason_of_the_last_failure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job("RUNNING"), job("RUNNING"), job("FAILED")]
    failed = savepoint(failure=NOT_EXECUTED)
    found, asked = stopped(jobs, [failed], monkeypatch, seconds=60)
    assert found.savepoint == ""
    assert "is not being executed at the moment" in found.why
    assert asked == 1
