"""What is wrong with a job, told from recorded answers of a JobManager."""

from typing import Any

from headrace.flink.health import (
    CHECKPOINTS,
    NO_COMMIT,
    NO_SLOTS,
    RESTARTS,
    Health,
    health,
    no_slots,
)

NOW_MS = 1_800_000_000_000
TRACE = """org.apache.flink.runtime.JobException: Recovery is suppressed
\tat org.apache.flink.runtime.Executor.fail(Executor.java:180)
Caused by: java.lang.RuntimeException: one or more fetchers have encountered exception
\tat org.apache.flink.connector.SplitFetcherManager.check(SplitFetcherManager.java:263)
Caused by: org.apache.kafka.clients.consumer.NoOffsetForPartitionException: no offset for things-1
\tat org.apache.kafka.clients.consumer.Consumer.poll(Consumer.java:1)
"""


def judged(
    *, failures_ms: tuple[int, ...] = (), statuses: str = "", committed: int = 7, completed: int = 7
) -> Health:
    entries = [{"timestamp": NOW_MS - ago, "stacktrace": TRACE} for ago in failures_ms]
    words = {"C": "COMPLETED", "F": "FAILED", "P": "IN_PROGRESS"}
    checkpoints: dict[str, Any] = {
        "latest": {
            "completed": {"id": completed},
            "failed": {"failure_message": "Checkpoint expired"},
        },
        "history": [{"status": words[each]} for each in statuses],
    }
    return health(
        "RUNNING",
        exceptions={"exceptionHistory": {"entries": entries}},
        checkpoints=checkpoints,
        committed=committed,
        now_ms=NOW_MS,
    )


def test_a_job_without_failures_whose_checkpoints_are_in_the_table_is_well() -> None:
    found = judged(statuses="PCCC")
    assert found.faults == {}
    assert (found.checkpoint, found.committed, found.root) == (7, 7, "")


def test_a_new_job_without_any_checkpoint_is_well() -> None:
    found = health("INITIALIZING", exceptions={}, checkpoints={}, committed=0, now_ms=NOW_MS)
    assert found.faults == {}


def test_a_job_that_restarts_for_ever_is_named_with_its_root_exception() -> None:
    found = judged(failures_ms=(1_000, 5_000, 9_000))
    assert set(found.faults) == {RESTARTS}
    assert found.root == (
        "org.apache.kafka.clients.consumer.NoOffsetForPartitionException: no offset for things-1"
    )
    assert found.root in found.faults[RESTARTS]


def test_what_is_in_the_table_is_complete_though_the_copy_does_not_say_so_yet() -> None:
    assert judged(completed=7, committed=9).checkpoint == 9


def test_restarts_of_long_ago_do_not_count() -> None:
    assert judged(failures_ms=(1_000, 700_000, 800_000)).faults == {}


def test_checkpoints_that_fail_in_a_row_are_named() -> None:
    assert set(judged(statuses="PFFFC").faults) == {CHECKPOINTS}
    assert judged(statuses="FFCFF").faults == {}


def test_checkpoints_that_complete_and_are_not_committed_are_named() -> None:
    assert set(judged(completed=30, committed=7).faults) == {NO_COMMIT}
    # an idle job commits after ten checkpoints, and it may just have started again
    assert judged(completed=29, committed=7).faults == {}


def test_a_job_for_which_no_slot_is_free_is_named() -> None:
    full = {"taskmanagers": 1, "slots-total": 4, "slots-available": 0}
    found = no_slots(full)
    assert set(found) == {NO_SLOTS}
    assert "of 4 of 1 TaskManagers" in found[NO_SLOTS]
    assert no_slots({**full, "slots-available": 1}) == {}
