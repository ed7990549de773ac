"""Decides which commits of a table a window view folds in, from what happened since it was published."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pyiceberg.table.snapshots import Operation, Snapshot

from headrace.serving.plan import Mode, PublishPlan, history_since
from headrace.serving.store import ViewState
from headrace.tables.lake import OpenLake
from headrace.tables.version import FileEntry, TableVersion

_STEP_ROWS = 100_000  # events held in memory, and entities with their tiles
_COMMIT_ROWS_MAX = 1_000_000  # of a larger commit, all events of the windows are read by the engine


@dataclass(frozen=True, kw_only=True)
class Step:
    """Commits that are folded in at once: their files, and the position after the last of them."""

    snapshot_id: int
    position: int
    files: tuple[FileEntry, ...]

    @property
    def rows(self) -> int:
        """How many events it has."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """What a publication does: `steps` where it is `incremental`."""

    mode: Mode
    steps: tuple[Step, ...] = ()


def plan_windows(
    lake: OpenLake, head: TableVersion, state: ViewState, before: ViewState | None
) -> WindowPlan:
    """Plan bringing a view from the state `before` to `state`, which is that of `head`."""
    if before is None:
        return WindowPlan(mode="full")
    found = history_since(lake, head, before)
    if isinstance(found, PublishPlan):
        return WindowPlan(mode=found.mode)
    if not state.same_shape(before):
        return WindowPlan(mode="full")
    if not found.operations and head.snapshot_id == before.snapshot_id:
        return WindowPlan(mode="unchanged")
    commits = _appends(head, before.snapshot_id)
    if commits is None or any(each.rows > _COMMIT_ROWS_MAX for each in commits):
        return WindowPlan(mode="full")
    return WindowPlan(mode="incremental", steps=tuple(_together(commits)))


def _appends(head: TableVersion, since: int) -> list[Step] | None:
    """List the commits after a snapshot, oldest first; None if they are not all there or no appends.

    A compaction adds no event: what it rewrote is read where it was appended, from files that stay
    until clean-up.
    """
    found: list[Step] = []
    snapshot = head.snapshot
    while snapshot is not None and snapshot.snapshot_id != since:
        operation = None if snapshot.summary is None else snapshot.summary.operation
        if operation not in (Operation.APPEND, Operation.REPLACE):
            return None
        files = _added(head, snapshot) if operation is Operation.APPEND else ()
        position = snapshot.sequence_number
        if position is None:
            return None
        found.append(Step(snapshot_id=snapshot.snapshot_id, position=position, files=files))
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else head.metadata.snapshot_by_id(parent)
    return None if snapshot is None else found[::-1]


def _added(head: TableVersion, snapshot: Snapshot) -> tuple[FileEntry, ...]:
    """List the files that a commit appended."""
    then = replace(head, snapshot_id=snapshot.snapshot_id)
    position = snapshot.sequence_number
    files = then.files_in(lambda manifest: manifest.sequence_number == position)
    return tuple(file for file in files if file.sequence == position)


def _together(commits: list[Step]) -> Iterator[Step]:
    """Join commits to steps of about so many events."""
    step: Step | None = None
    for commit in commits:
        if step is not None and step.rows + commit.rows > _STEP_ROWS:
            yield step
            step = None
        files = commit.files if step is None else (*step.files, *commit.files)
        step = replace(commit, files=files)
    if step is not None:
        yield step
