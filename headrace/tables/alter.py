"""Alter the columns and partitioning of a table on request: plan, then apply.

`evolution/declare.py` aligns a table with a declaration, which only adds and widens columns. Here
columns can also be dropped, moved and renamed, and the partitioning changed. No data file is
touched: older files and snapshots are read through the new schema by field id, and files keep their
partition spec.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import pyarrow as pa
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import TableUpdate

from headrace.errors import CommitConflictError, ConflictReason
from headrace.iceberg.manifests import live_entries, manifests_of
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.evolution.plan import AlterPlan, plan_alter, state_of
from headrace.tables.evolution.steps import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    Repartition,
    Step,
    WidenColumn,
)
from headrace.tables.evolution.updates import is_applied, requirements_of, updates_of
from headrace.tables.lake import LakeTable

__all__ = [
    "AddColumn",
    "AlterPlan",
    "DropColumn",
    "MakeOptional",
    "MoveColumn",
    "RenameColumn",
    "Repartition",
    "Step",
    "WidenColumn",
    "add_column",
    "alter",
    "apply_alter",
    "drop_column",
    "make_optional",
    "move_column",
    "plan",
    "plan_alter",
    "rename_column",
    "repartition",
    "widen_column",
]


def plan(table: LakeTable, *steps: Step) -> AlterPlan:
    """Plan the effect of steps on the current table. Changes nothing.

    Raises:
        AlterRefusedError, InvalidNameError: See `plan_alter`.

    """
    return _plan(table.iceberg(), steps, table=str(table.name))


def apply_alter(table: LakeTable, plan: AlterPlan) -> None:
    """Apply a plan in one swap of metadata; concurrent appends and compaction do not conflict.

    Raises:
        CommitConflictError: If columns or partitioning changed since the plan was made; nothing
            was changed.
        AlterRefusedError: If equality deletes now use a column that the plan drops or widens.
        CatalogBusyError: If concurrent commits won every retry; nothing was changed.
        DatabaseUnavailableError: If the catalog does not answer; `headrace tables show` tells
            whether it landed.

    """

    def unchanged(current: Table) -> AlterPlan:
        if state_of(current.metadata) != plan.made_from:
            detail = "its columns or partitioning changed since the plan was made"
            reason = ConflictReason.COLUMNS_CHANGED
            raise CommitConflictError(plan.table, detail, reason=reason)
        return _plan(current, plan.steps, table=plan.table)

    _land(table, unchanged)


def alter(table: LakeTable, *steps: Step) -> AlterPlan:
    """Plan and apply steps atomically. Returns the plan that was applied.

    Raises:
        AlterRefusedError, InvalidNameError: See `plan_alter`; nothing was changed.
        CatalogBusyError, DatabaseUnavailableError: See `apply_alter`.

    """
    return _land(table, lambda current: _plan(current, steps, table=str(table.name)))


def add_column(table: LakeTable, path: str, kind: pa.DataType) -> AlterPlan:
    """Add an optional column, also inside of a struct (`address.city`). Raises: see `alter`."""
    return alter(table, AddColumn(path, type=kind))


def drop_column(table: LakeTable, path: str) -> AlterPlan:
    """Drop a column; a later column of the same name is a new one. Raises: see `alter`."""
    return alter(table, DropColumn(path))


def rename_column(table: LakeTable, path: str, *, to: str) -> AlterPlan:
    """Rename a column; `to` is a name, not a path. Raises: see `alter`."""
    return alter(table, RenameColumn(path, to=to))


def move_column(
    table: LakeTable, path: str, *, where: Literal["first", "before", "after"], other: str = ""
) -> AlterPlan:
    """Move a column to the start of its struct or beside `other`. Raises: see `alter`."""
    return alter(table, MoveColumn(path, where=where, other=other))


def widen_column(table: LakeTable, path: str, kind: pa.DataType) -> AlterPlan:
    """Widen a column, a list's `element` or a map's `value`. Raises: see `alter`."""
    return alter(table, WidenColumn(path, type=kind))


def make_optional(table: LakeTable, path: str) -> AlterPlan:
    """Allow null in a column; this cannot be undone. Raises: see `alter`."""
    return alter(table, MakeOptional(path))


def repartition(table: LakeTable, *, partition_by: Sequence[str]) -> AlterPlan:
    """Partition new files by terms such as `day(event_time)`.

    Existing files keep their spec and stay readable, until compaction rewrites them. Raises: see
    `alter`.
    """
    return alter(table, Repartition(tuple(partition_by)))


def _plan(current: Table, steps: Sequence[Step], *, table: str) -> AlterPlan:
    return plan_alter(current.metadata, steps, table=table, deleted_by=deleted_by(current, steps))


def deleted_by(current: Table, steps: Sequence[Step]) -> frozenset[int]:
    """Return the ids of columns used by equality deletes of any branch, if a step may affect one."""
    if not any(isinstance(step, DropColumn | WidenColumn) for step in steps):
        return frozenset()
    heads = {
        ref.snapshot_id
        for ref in current.metadata.refs.values()
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH
    }
    listed = {
        each.manifest_path: each
        for snapshot_id in heads
        for each in manifests_of(current.metadata.snapshot_by_id(snapshot_id), current.io)
    }
    entries = live_entries(listed.values(), current.io, content=ManifestContent.DELETES)
    return frozenset(key for entry in entries for key in entry.data_file.equality_ids or ())


def _land(table: LakeTable, plan_of: Callable[[Table], AlterPlan]) -> AlterPlan:
    plan: AlterPlan | None = None

    def updates(current: Table) -> tuple[TableUpdate, ...]:
        nonlocal plan
        if plan is not None and is_applied(plan, current.metadata):
            return ()  # it landed and its answer was lost: its steps cannot be applied twice
        plan = plan_of(current)
        return updates_of(plan, current.metadata)

    commit_updates(table, updates, requirements_of=requirements_of)
    if plan is None:
        msg = "unreachable: updates are planned before they land"
        raise AssertionError(msg)
    return plan
