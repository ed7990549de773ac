"""What is wrong with a job of Flink that runs, from what its JobManager says; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.flink.client import failures_in, root_exception

RESTARTS_MAX = 3  # within the window
RESTARTS_WINDOW_MS = 10 * 60 * 1000
FAILED_MAX = 3  # checkpoints in a row
# a sink commits an empty snapshot after ten checkpoints without a record, and counts again when its job starts again
UNCOMMITTED_MAX = 22
RESTARTS, CHECKPOINTS, NO_COMMIT = "restarts", "checkpoints-fail", "nothing-commits"
CHANGED = "declaration-changed"
SCHEMAS = "schemas-unavailable"
REGISTRY = "registry-unavailable"
NO_SLOTS = "no-slots"
ORDER = "tables-out-of-order"
WIDENED, MADE_AGAIN = "column-widened", "table-made-again"
BEGINS_AGAIN = frozenset({WIDENED, MADE_AGAIN})  # another job mends them, and nothing else
_SCHEDULER = "jobmanager.scheduler"
WAITING = "CREATED"  # Flink's word for a job to which no worker was given


@dataclass(frozen=True, kw_only=True)
class Health:
    """The state of a job: `faults` are empty if it is well.

    Args:
        state: Flink's word.
        restarts: How often it failed within the last ten minutes.
        checkpoint: The number of its newest checkpoint; 0 before the first.
        committed: The number of the newest checkpoint whose rows are in the table.
        root: The root exception of its newest failure; empty if there was none.
        faults: What is wrong, by name.
        late_repeats: How many rows of a key that came before were left out because they came late.

    """

    state: str
    restarts: int
    checkpoint: int
    committed: int
    root: str
    faults: Mapping[str, str]
    late_repeats: int = 0


def health(
    state: str,
    *,
    exceptions: Mapping[str, Any],
    checkpoints: Mapping[str, Any],
    committed: int,
    now_ms: int,
) -> Health:
    """Judge a job by what the JobManager says of its failures and checkpoints."""
    root = root_exception(exceptions)
    failed_ms = [each.at_ms for each in failures_in(exceptions)]
    restarts = sum(now_ms - at_ms < RESTARTS_WINDOW_MS for at_ms in failed_ms)
    completed = (checkpoints.get("latest") or {}).get("completed") or {}
    # of a copy: what is in the table is complete
    number = max(int(completed.get("id") or 0), committed)
    faults: dict[str, str] = {}
    if restarts >= RESTARTS_MAX:
        faults[RESTARTS] = (
            f"{restarts} times in ten minutes, at last because of {root or 'nothing'}"
        )
    failed = _failed(checkpoints)
    if failed >= FAILED_MAX:
        faults[CHECKPOINTS] = f"{failed} in a row; {_why(checkpoints) or root or 'see its log'}"
    faults |= not_committed(number, committed=committed)
    return Health(
        state=state,
        restarts=restarts,
        checkpoint=number,
        committed=committed,
        root=root,
        faults=faults,
    )


def not_committed(checkpoint: int, *, committed: int, table: str = "the table") -> dict[str, str]:
    """Name checkpoints that are complete and not in a table, if there are more than an idle job leaves."""
    if checkpoint - committed <= UNCOMMITTED_MAX:
        return {}
    what = f"checkpoint {checkpoint} is complete, and the newest in {table} is {committed}"
    return {NO_COMMIT: what}


def changed(before: str, now: str) -> dict[str, str]:
    """Name a plan of a job that is another than that of what is declared now; an earlier version noted none."""
    if before in ("", now):
        return {}
    return {CHANGED: f"it runs by plan `{before}`, and its declaration is now `{now}`"}


def no_slots(overview: Mapping[str, Any]) -> dict[str, str]:
    """Name why a job waits for workers, from what the JobManager says of them; nothing if it soon has one."""
    if overview["slots-available"]:
        return {}
    workers, slots = overview["taskmanagers"], overview["slots-total"]
    return {NO_SLOTS: f"it waits for a slot; none is free, of {slots} of {workers} TaskManagers"}


def out_of_order(settings: Mapping[str, str]) -> dict[str, str]:
    """Name why a job that lost a worker may read files of its tables after later ones, if it may."""
    if settings.get(_SCHEDULER, "").lower() == "adaptive":
        return {}
    what = "once a worker died, files may be read after later ones, whose rows are then late"
    return {ORDER: f"its JobManager does not run with `{_SCHEDULER}: adaptive`: {what}"}


def _failed(checkpoints: Mapping[str, Any]) -> int:
    """Count the failed checkpoints since the last that completed; those in progress do not count."""
    count = 0
    for each in checkpoints.get("history") or ():
        if each["status"] == "COMPLETED":
            break
        count += each["status"] == "FAILED"
    return count


def _why(checkpoints: Mapping[str, Any]) -> str:
    failed = (checkpoints.get("latest") or {}).get("failed") or {}
    return str(failed.get("failure_message") or "")
