"""Stops a job with a savepoint, also one that has just failed and is coming back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.flink.client import RUNNING, Failure, JobManager, failures_in

STOP_S_MAX = 180.0
# in a row, by one exception, while it is waited for: a catalog that is away for some seconds is waited for
ALIKE_MAX = 5
# of one savepoint, which a session lets take ten minutes: what nobody waits for stops the job all the same
SAVEPOINT_S_MAX = 630.0
_POLL_S = 0.5
_GONE = "FlinkJobNotFoundException"
_READY = ("RUNNING", "FINISHED")  # a task that has read all of a bounded table is finished


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """How a job ended: `savepoint` is empty if it did not stop as asked, and `why` says the reason.

    `alike` are failures in a row by one exception, the newest first, where it was given up because of them.
    """

    savepoint: str
    why: str
    alike: tuple[Failure, ...] = ()


def silent(_: str) -> None:
    """Say nothing."""


def stop_with_savepoint(
    manager: JobManager,
    job_id: str,
    *,
    seconds: float = STOP_S_MAX,
    say: Callable[[str], None] = silent,
) -> Stopped:
    """Ask a job to stop until it does, as long as it comes back from what failed.

    Flink takes a savepoint only while all tasks run, and a job that fails in the middle of it starts again.
    One that fails again and again by one exception is given up.

    Args:
        manager: Who knows the job.
        job_id: Its id.
        seconds: How long to try; a savepoint that is begun by then is waited for.
        say: Is told of each failure meanwhile.

    Raises:
        FlinkUnavailableError: If the JobManager does not answer.
        FlinkRefusedError: If it does not know the job.

    """
    deadline_s = time.monotonic() + seconds
    why, told = "", 0
    before_ms = max((each.at_ms for each in _failures(manager, job_id)), default=0)
    while True:
        state, waiting = _look(manager, job_id)
        if state not in RUNNING:
            return Stopped(savepoint="", why=why or f"its state is {state}")
        if not waiting:
            found = _once(manager, job_id)
            if found.savepoint:
                return found
            # a job that ended by the first is told to run for some seconds more
            why = why if why and _GONE in found.why else found.why
        failed = [each for each in _failures(manager, job_id) if each.at_ms > before_ms]
        if len(failed) > told:
            told = len(failed)
            say(f"it failed {told} times meanwhile, at last because of {failed[0].root}")
        if alike := _alike(failed):
            return Stopped(savepoint="", why=why, alike=alike)
        if time.monotonic() >= deadline_s:
            said = (why, waiting, f"after {seconds:.0f} s")
            return Stopped(savepoint="", why="; ".join(each for each in said if each))
        time.sleep(_POLL_S)


def _once(manager: JobManager, job_id: str) -> Stopped:
    deadline_s = time.monotonic() + SAVEPOINT_S_MAX
    request = manager.stop(job_id)
    while True:
        location, why = manager.savepoint(job_id, request)
        state = manager.state(job_id)
        # the savepoint alone is not enough: the last commit follows it
        if location and state == "FINISHED":
            return Stopped(savepoint=location, why="")
        if why or (location and state != "RUNNING") or time.monotonic() >= deadline_s:
            wrote = location or "not written"
            return Stopped(
                savepoint="", why=why or f"its state is {state}, its savepoint is {wrote}"
            )
        time.sleep(_POLL_S)


def _failures(manager: JobManager, job_id: str) -> tuple[Failure, ...]:
    return failures_in(manager.ask(f"/jobs/{job_id}/exceptions"))


def _alike(failed: Sequence[Failure]) -> tuple[Failure, ...]:
    """Return the newest failures if there are as many as are waited for, and all have one root exception.

    What it says of itself may have an offset or a value in it.
    """
    newest = tuple(failed[:ALIKE_MAX])
    reasons = {each.root.partition(":")[0] for each in newest}
    return newest if len(newest) == ALIKE_MAX and len(reasons) == 1 else ()


def _look(manager: JobManager, job_id: str) -> tuple[str, str]:
    """Return a job's state, and which tasks do not run yet; empty if all do.

    The tasks are those of some seconds ago: a savepoint that is asked for too early fails.
    """
    state = manager.state(job_id)
    if state != "RUNNING":
        return state, f"its state is {state}"
    said = manager.ask(f"/jobs/{job_id}")
    counts: dict[str, int] = {}
    for vertex in said.get("vertices") or ():
        tasks: Mapping[str, Any] = vertex["tasks"]
        for task_state, count in tasks.items():
            if count and task_state not in _READY:
                counts[task_state] = counts.get(task_state, 0) + int(count)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return state, f"of its tasks, {listed}" if counts else ""
