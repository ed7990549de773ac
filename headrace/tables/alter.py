"""Changes of a table's columns and partitioning that a person asks for, planned and then applied.

`declare.py` brings a table in line with a declaration, which only adds and widens. Here columns are
also dropped, moved and renamed, and the partitioning changes. No data file is touched: older files
and snapshots are read through the new schema by field id, and keep the partition spec they have.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import pyarrow as pa
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import TableUpdate

from headrace.errors import CommitConflictError
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
from headrace.tables.evolution.updates import is_true, requirements_of, updates_of
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
    """Decide what steps make of a table as it is now; changes nothing.

    Raises:
        AlterRefusedError, InvalidNameError: See `plan_alter`.

    """
    return _plan(table.iceberg(), steps, table=str(table.name))


def apply_alter(table: LakeTable, plan: AlterPlan) -> None:
    """Make a plan true, in one swap of metadata; appends and compaction may land meanwhile.

    Raises:
        CommitConflictError: If columns or partitioning changed since the plan was made; nothing
            was changed.
        AlterRefusedError: If rows came to be deleted by a column it drops or widens.
        CatalogBusyError: If it lost every race with other commits; nothing was changed.
        DatabaseUnavailableError: If the catalog does not answer; `headrace tables show` tells
            whether it landed.

    """

    def unchanged(current: Table) -> AlterPlan:
        if state_of(current.metadata) != plan.made_from:
            detail = "its columns or partitioning changed since the plan was made"
            raise CommitConflictError(plan.table, detail)
        return _plan(current, plan.steps, table=plan.table)

    _land(table, unchanged)


def alter(table: LakeTable, *steps: Step) -> AlterPlan:
    """Take steps on a table as it is now, all of them or none. Returns what was done.

    Raises:
        AlterRefusedError, InvalidNameError: See `plan_alter`; nothing was changed.
        CatalogBusyError, DatabaseUnavailableError: See `apply_alter`.

    """
    return _land(table, lambda current: _plan(current, steps, table=str(table.name)))


def add_column(table: LakeTable, path: str, kind: pa.DataType) -> AlterPlan:
    """Add an optional column, also inside of a struct (`address.city`). Raises: see `alter`."""
    return alter(table, AddColumn(path, type=kind))


def drop_column(table: LakeTable, path: str) -> AlterPlan:
    """Drop a column; one added later under its name does not get its values. Raises: see `alter`."""
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
    """Allow null in a column; there is no way back. Raises: see `alter`."""
    return alter(table, MakeOptional(path))


def repartition(table: LakeTable, *, partition_by: Sequence[str]) -> AlterPlan:
    """Partition what is written from now on by terms such as `day(event_time)`.

    Files that are there keep their spec, and are read all the same, until compaction rewrites
    them. Raises: see `alter`.
    """
    return alter(table, Repartition(tuple(partition_by)))


def _plan(current: Table, steps: Sequence[Step], *, table: str) -> AlterPlan:
    return plan_alter(current.metadata, steps, table=table, deleted_by=deleted_by(current, steps))


def deleted_by(current: Table, steps: Sequence[Step]) -> frozenset[int]:
    """Find the columns of every branch's equality deletes, if a step could harm one; their ids."""
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
        if plan is not None and is_true(plan, current.metadata):
            return ()  # it landed and its answer was lost: its steps cannot be taken twice
        plan = plan_of(current)
        return updates_of(plan, current.metadata)

    commit_updates(table, updates, requirements_of=requirements_of)
    if plan is None:
        msg = "unreachable: updates are planned before they land"
        raise AssertionError(msg)
    return plan
