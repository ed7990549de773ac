"""Perform one action of the queue. To add a kind of action, add it to `_RUN`."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from headrace.engines.open import open_rewriter
from headrace.engines.rewriting import FileRewriter
from headrace.errors import CommitConflictError, LakeError, Remedy, advised
from headrace.identifiers import TableName
from headrace.maintenance.cleanup.cleanup import plan_cleanup
from headrace.maintenance.compaction import minor_major
from headrace.maintenance.compaction.compact import PASSES_MAX, apply_compaction
from headrace.maintenance.health.limits import apply_limits
from headrace.maintenance.health.state import table_state
from headrace.maintenance.health.wording import counted, size_text
from headrace.maintenance.queue.actions import Action, Executor, Kind, cleaning_up
from headrace.maintenance.queue.others import Others
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable, OpenLake

Step = Callable[[], None]
# the only retryable error that the next action may not meet too, unlike a full disk
_LOST = CommitConflictError


class Outcome(StrEnum):
    """How an action ended; after `FAILED` the command exits with its error."""

    DONE = "done"
    NOTHING = "nothing left"  # another process did it already, or the files are gone
    LOST = "lost"  # a concurrent commit won: the next round plans it again
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """The result of one action."""

    action: Action
    outcome: Outcome
    detail: str
    bytes: int
    elapsed_s: float
    remedy: Remedy | None = None
    error: LakeError | None = field(default=None, repr=False)

    def text(self, *, catalog: str | None = None) -> str:
        """Say what became of it, and what to do; the commands go to `catalog`, if it is given."""
        return advised(self.detail, self.remedy, catalog=catalog)


def run_action(
    lake: OpenLake,
    action: Action,
    *,
    others: Others | None = None,
    run_id: str = "",
    step: Step = lambda: None,
) -> ActionResult:
    """Perform one action, by `others` if it is of one of their tables.

    Lake errors become the outcome; anything else propagates.

    `step` is called once per step of the action, however the action ends.
    """
    started = time.monotonic()
    pending = len(action.steps)

    def count() -> None:
        nonlocal pending
        if pending:
            pending -= 1
            step()

    error: LakeError | None = None
    try:
        if isinstance(action.table, TableName):
            done = _RUN[action.kind](lake.table(action.table), action, run_id, count)
        else:
            done = _by_others(others, action)
        outcome = Outcome.DONE if done.changed else Outcome.NOTHING
    except LakeError as raised:
        error, done = raised, _Done(detail=raised.message, remedy=raised.remedy)
        outcome = Outcome.LOST if isinstance(raised, _LOST) else Outcome.FAILED
    while pending:
        count()
    return ActionResult(
        action=action,
        outcome=outcome,
        detail=done.detail,
        bytes=done.bytes,
        elapsed_s=time.monotonic() - started,
        remedy=done.remedy,
        error=error,
    )


@dataclass(frozen=True, kw_only=True)
class _Done:
    detail: str
    bytes: int = 0
    changed: bool = False
    remedy: Remedy | None = None


def _by_others(others: Others | None, action: Action) -> _Done:
    if others is None:
        msg = f"`{action.table}` is a table of another format"
        raise ValueError(msg)
    detail = others.perform(action)
    said = detail or "nothing left to do"
    return _Done(detail=said, bytes=action.cost_bytes if detail else 0, changed=bool(detail))


def _compact(table: LakeTable, action: Action, run_id: str, step: Step) -> _Done:
    minor = action.kind is Kind.MINOR
    make = minor_major.minor_plan if minor else minor_major.major_plan
    plan = make(table.head(), target_bytes=table.target_file_bytes(), partition=action.partition)
    plan = minor_major.first(plan, steps=len(action.steps))
    if not plan:
        return _Done(detail="nothing left to compact")
    # files shrink when they are merged: a major compaction repeats until nothing is left to do
    once = minor or action.steps_left > 0
    with contextlib.ExitStack() as stack:
        server: FileRewriter | None = None
        if action.executor is Executor.SERVER:
            server = open_rewriter(table.lake.settings)
            if server is not None:
                stack.enter_context(server)
        done = apply_compaction(
            table,
            plan,
            run_id=run_id,
            progress=lambda at, _total: step() if at else None,
            passes_max=1 if once else PASSES_MAX,
            server=server,
        )
    return _Done(
        detail=f"{counted(done.files_before, 'file')} → {done.files_after:,}, {done.rows:,} rows",
        bytes=plan.bytes_in,
        changed=done.changed,
    )


def _rewrite_manifests(table: LakeTable, action: Action, run_id: str, _step: Step) -> _Done:
    state = table_state(table)
    before = state.layout.manifests
    if not before.pays:
        return _Done(detail="the manifests are in order already")
    operations.rewrite_manifests(table, provenance=Provenance(run_id=run_id))
    after = table_state(table).layout.manifests
    return _Done(
        detail=f"{counted(before.manifests, 'manifest')} → {after.manifests:,}, "
        f"{before.entries:,} files",
        bytes=action.cost_bytes,
        changed=True,
    )


def _expire(table: LakeTable, action: Action, _run_id: str, _step: Step) -> _Done:
    gone = operations.expire(
        table,
        keep=table.lake.settings.snapshots_kept,
        before_ms=table.lake.now_ms(),
    )
    return _Done(
        detail=f"{counted(len(gone), 'snapshot')} expired",
        bytes=action.cost_bytes if gone else 0,
        changed=bool(gone),
    )


def _find_orphans(table: LakeTable, _action: Action, _run_id: str, _step: Step) -> _Done:
    plan = plan_cleanup(table)
    if not plan:
        return _Done(detail="no orphan files", changed=True)
    found = f"{counted(len(plan.files), 'orphan file')}, {size_text(plan.bytes)}"
    if plan.uploads:
        found += f", {counted(len(plan.uploads), 'unfinished upload')}"
    return _Done(detail=found, changed=True, remedy=cleaning_up(table.name))


def _limit(table: LakeTable, action: Action, _run_id: str, _step: Step) -> _Done:
    done = apply_limits(table)
    said = [f"{len(done.schemas)} schemas dropped"] if done.schemas else []
    if done.properties:
        said.append(f"{len(done.properties)} properties set")
    return _Done(
        detail=", ".join(said) or "the metadata is limited already",
        bytes=action.cost_bytes if done else 0,
        changed=bool(done),
    )


_RUN: Mapping[Kind, Callable[[LakeTable, Action, str, Step], _Done]] = {
    Kind.MINOR: _compact,
    Kind.MAJOR: _compact,
    Kind.MANIFESTS: _rewrite_manifests,
    Kind.EXPIRE: _expire,
    Kind.LIMITS: _limit,
    Kind.FIND_ORPHANS: _find_orphans,
}
