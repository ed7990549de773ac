"""A round of maintenance: read states, plan, perform within a budget; once or repeatedly."""

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headrace import clock
from headrace.errors import LakeError
from headrace.identifiers import TableName
from headrace.maintenance.health.state import TableState, table_state
from headrace.maintenance.queue.actions import Action
from headrace.maintenance.queue.others import Others
from headrace.maintenance.queue.perform import ActionResult, Outcome, run_action
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.tables.lake import OpenLake
from headrace.tables.readable import read_each

_LOOK_S = 1.0  # how often to look whether a writer asked


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The states of tables, and the errors of tables that could not be read."""

    states: tuple[TableState, ...]
    unreadable: Mapping[TableName, LakeError]


@dataclass(frozen=True, kw_only=True)
class MaintenanceRun:
    """One round: its plan, its results, and why it stopped before the end of the queue, if it did."""

    plan: MaintenancePlan
    results: tuple[ActionResult, ...]
    unreadable: Mapping[TableName, LakeError]
    stopped_by: str
    elapsed_s: float

    @property
    def bytes(self) -> int:
        """Bytes rewritten."""
        return sum(result.bytes for result in self.results)

    @property
    def errors(self) -> tuple[LakeError, ...]:
        """Errors that need a person: unreadable tables and failed actions."""
        failed = (result.error for result in self.results if result.outcome is Outcome.FAILED)
        return (*self.unreadable.values(), *(error for error in failed if error is not None))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of one round; None means no limit. A started action always runs to its end.

    Args:
        bytes: Most bytes to rewrite.
        seconds: No action starts after this many seconds.

    """

    bytes: int | None = None
    seconds: float | None = None


def survey(
    lake: OpenLake, names: Sequence[TableName] = (), *, cold_after_s: float | None = None
) -> Survey:
    """Read the states of some tables, or of all; an unreadable table does not stop the others."""
    read = read_each(
        lake, lambda table: table_state(table, cold_after_s=cold_after_s), names=names or None
    )
    return Survey(states=read.found, unreadable=read.unreadable)


def maintain(
    lake: OpenLake,
    names: Sequence[TableName] = (),
    *,
    others: Others | None = None,
    budget: Budget = Budget(),
    cold_after_s: float | None = None,
    stop: threading.Event | None = None,
    planned: Callable[[MaintenancePlan], None] = lambda _: None,
    step: Callable[[Action], None] = lambda _: None,
) -> MaintenanceRun:
    """Plan and perform a round of maintenance; rows and change feeds of tables do not change.

    Safe beside running writers and other maintenance: an action invalidated by a concurrent commit
    is left to the next round. Idempotent: without new writes a second run finds nothing to do.
    It deletes no file of the lake.

    Args:
        lake: The lake.
        names: Tables; all if none is named.
        others: Tables of another format that are maintained too.
        budget: When to stop.
        cold_after_s: See `table_state`.
        stop: Once it is set, no further action starts.
        planned: Called with the plan before it is performed.
        step: Called after every step of an action.

    """
    started = time.monotonic()
    found = survey(lake, names, cold_after_s=cold_after_s)
    now = dt.datetime.now(dt.UTC)
    more = () if others is None else others.proposed()
    plan = plan_maintenance(found.states, others=more, budget_bytes=budget.bytes, now=now)
    planned(plan)
    results: list[ActionResult] = []
    stopped_by, run_id = "", f"maintain-{uuid.uuid4().hex[:12]}"
    for action in plan.actions:
        stopped_by = _why_stop(results, budget, stop, elapsed_s=time.monotonic() - started)
        if stopped_by:
            break
        results.append(
            run_action(lake, action, others=others, run_id=run_id, step=lambda a=action: step(a))
        )
    return MaintenanceRun(
        plan=plan,
        results=tuple(results),
        unreadable=found.unreadable,
        stopped_by=stopped_by,
        elapsed_s=time.monotonic() - started,
    )


def follow(
    round_: Callable[[], object],
    *,
    interval_s: float,
    stop: threading.Event,
    failed: Callable[[LakeError], None],
    asked_ms: Callable[[], int | None] = lambda: None,
) -> None:
    """Run rounds until `stop` is set, which ends the loop after the current action.

    The next round begins after `interval_s`, or as soon as `asked_ms` says that a writer asked for
    maintenance after the last one began. If a round fails with a retryable error, such as a locked
    catalog, `failed` is called with it.

    Raises:
        LakeError: If a round fails with an error that is not retryable.

    """
    while not stop.is_set():
        began_ms = clock.now_ms()
        try:
            round_()
        except LakeError as error:
            if not error.retryable:
                raise
            failed(error)
        _wait(
            stop,
            seconds=interval_s,
            is_asked=lambda began_ms=began_ms: _is_after(began_ms, asked_ms),
        )


def _wait(stop: threading.Event, *, seconds: float, is_asked: Callable[[], bool]) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if stop.wait(min(left_s, _LOOK_S)) or is_asked():
            return


def _is_after(began_ms: int, asked_ms: Callable[[], int | None]) -> bool:
    try:
        return (asked_ms() or 0) > began_ms
    except LakeError:  # the registry is busy: the next look may find it, the next round will
        return False


def _why_stop(
    results: Sequence[ActionResult],
    budget: Budget,
    stop: threading.Event | None,
    *,
    elapsed_s: float,
) -> str:
    if stop is not None and stop.is_set():
        return "it was asked to stop"
    if budget.seconds is not None and elapsed_s >= budget.seconds:
        return f"the budget of {budget.seconds:g} s is spent"
    if budget.bytes is not None and sum(each.bytes for each in results) >= budget.bytes:
        return "the budget of bytes is spent"
    return ""
