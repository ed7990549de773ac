"""A job is asked to stop until it does, as long as it comes back from what failed; recorded replies."""

from collections.abc import Sequence
from typing import Any

import pytest

from headrace.flink import stopping
from headrace.flink.client import JobManager
from headrace.flink.stopping import ALIKE_MAX, Stopped, stop_with_savepoint
from headrace.flink_access import FlinkAccess
from tests.flink.replies import answering

JOB, STOP, SAVEPOINT = "GET /jobs/c1", "POST /jobs/c1/stop", "GET /jobs/c1/savepoints/r1"
STATE, FAILURES = "GET /jobs/c1/status", "GET /jobs/c1/exceptions"
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


def failed(*roots: str) -> Reply:
    """Return what is said of failures, the newest first."""
    entries = [
        {"timestamp": len(roots) - number, "stacktrace": f"job failed\nCaused by: {root}\n"}
        for number, root in enumerate(roots)
    ]
    return (200, {"exceptionHistory": {"entries": entries}})


def stopped(
    jobs: list[Reply],
    savepoints: list[Reply],
    monkeypatch: pytest.MonkeyPatch,
    *,
    seconds: float,
    failures: Sequence[Reply] = (),
    said: list[str] | None = None,
) -> tuple[Stopped, int]:
    """Stop a job that answers so; return what came of it, and how often it was asked to.

    Its tasks are told from a copy, and its state is not.
    """
    monkeypatch.setattr(stopping, "_POLL_S", 0.01)
    replies = {
        STATE: [(200, {"status": body["state"]}) for _, body in jobs],
        JOB: [each for each in jobs if each[1]["state"] == "RUNNING"],
        STOP: [(202, {"request-id": "r1"})],
        SAVEPOINT: savepoints,
        FAILURES: [*failures] or [(200, {})],
    }
    with answering(replies) as (address, asked):
        manager = JobManager(FlinkAccess(uri=address, gateway_uri=address))
        told = [] if said is None else said
        found = stop_with_savepoint(manager, "c1", seconds=seconds, say=told.append)
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


def test_a_job_that_fails_for_ever_for_one_reason_is_given_up_and_each_failure_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = [f"java.lang.NumberFormatException: '{each}'" for each in range(ALIKE_MAX + 1)]
    failures = [failed(*away[:count]) for count in range(1, ALIKE_MAX + 2)]  # one is of before
    said = list[str]()
    found, asked = stopped(
        [job("RESTARTING")], [], monkeypatch, seconds=60, failures=failures, said=said
    )
    assert [each.root for each in found.alike] == away[:ALIKE_MAX]
    assert (found.savepoint, asked) == ("", 0)
    assert said == [
        f"it failed {count} times meanwhile, at last because of {away[0]}"
        for count in range(1, ALIKE_MAX + 1)
    ]


def test_a_job_that_fails_for_several_reasons_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another reason than before: something changes, and it may come back."""
    jobs = [*[job("RESTARTING")] * 3, job("RUNNING"), job("FINISHED")]
    failures = [(200, {}), failed("no worker", *["no catalog"] * (ALIKE_MAX - 1))]
    found, asked = stopped(jobs, [WRITTEN], monkeypatch, seconds=60, failures=failures)
    assert found == Stopped(savepoint="s3://lake/s-1", why="")
    assert asked == 1
