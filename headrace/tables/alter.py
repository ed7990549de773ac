"""Changes of a table's columns and partitioning that a person asks for, planned and then applied.

`evolve.py` brings a table in line with a declaration, which only adds and widens. Here columns also
go, move and get other names, and the partitioning changes. No data file is touched: older files and
snapshots are read through the new schema by field id, and keep the partition scheme they have.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import pyarrow as pa
from pyiceberg.manifest import ManifestContent
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertLastAssignedPartitionId,
    SetCurrentSchemaUpdate,
    SetDefaultSpecUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
)

from headrace.errors import CommitConflictError
from headrace.tables.alter_plan import AlterPlan, plan_alter, state_of
from headrace.tables.alter_steps import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    Repartition,
    Step,
    WidenColumn,
)
from headrace.tables.attempt import commit_updates
from headrace.tables.lake import LakeTable
from headrace.tables.manifests import live_entries, manifests_of

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

_NAME_MAPPING = "schema.name-mapping.default"
_LAST = -1  # "the one just added", in updates that set a schema or scheme


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

    Files that are there keep their scheme, and are read all the same, until compaction rewrites
    them. Raises: see `alter`.
    """
    return alter(table, Repartition(tuple(partition_by)))


def _plan(current: Table, steps: Sequence[Step], *, table: str) -> AlterPlan:
    return plan_alter(current.metadata, steps, table=table, deleted_by=_deleted_by(current, steps))


def _deleted_by(current: Table, steps: Sequence[Step]) -> frozenset[int]:
    """Find the columns of every branch's equality deletes, if a step could harm one."""
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

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        nonlocal plan
        if plan is not None and _is_true(plan, current.metadata):
            return ()  # it landed and its answer was lost: its steps cannot be taken twice
        plan = plan_of(current)
        return _updates(plan, current.metadata)

    commit_updates(table, updates_of, requirements_of=_requirements)
    if plan is None:
        msg = "unreachable: updates are planned before they land"
        raise AssertionError(msg)
    return plan


def _updates(plan: AlterPlan, metadata: TableMetadata) -> tuple[TableUpdate, ...]:
    updates: list[TableUpdate] = []
    if plan.schema is not None:
        known = [each.schema_id for each in metadata.schemas if each == plan.schema]
        if not known:
            schema_id = 1 + max(each.schema_id for each in metadata.schemas)
            keys = plan.schema.identifier_field_ids
            schema = Schema(*plan.schema.fields, schema_id=schema_id, identifier_field_ids=keys)
            updates.append(AddSchemaUpdate(schema=schema))
        updates.append(
            SetCurrentSchemaUpdate.model_validate({"schema-id": known[0] if known else _LAST})
        )
    if plan.spec is not None:
        is_known = plan.spec.spec_id in metadata.specs()
        if not is_known:
            updates.append(AddPartitionSpecUpdate(spec=plan.spec))
        spec_id = plan.spec.spec_id if is_known else _LAST
        updates.append(SetDefaultSpecUpdate.model_validate({"spec-id": spec_id}))
    if plan.name_mapping is not None:
        mapping = {_NAME_MAPPING: plan.name_mapping.model_dump_json()}
        updates.append(SetPropertiesUpdate(updates=mapping))
    return tuple(updates)


def _requirements(metadata: TableMetadata) -> tuple[TableRequirement, ...]:
    return (
        AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id}),
        AssertLastAssignedFieldId.model_validate(
            {"last-assigned-field-id": metadata.last_column_id}
        ),
        AssertDefaultSpecId.model_validate({"default-spec-id": metadata.default_spec_id}),
        AssertLastAssignedPartitionId.model_validate(
            {"last-assigned-partition-id": metadata.last_partition_id}
        ),
    )


def _is_true(plan: AlterPlan, metadata: TableMetadata) -> bool:
    if str(metadata.table_uuid) != plan.made_from[0]:
        return False
    schema_fits = plan.schema is None or plan.schema == metadata.schema()
    return schema_fits and (plan.spec is None or plan.spec.fields == metadata.spec().fields)
