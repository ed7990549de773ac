"""How a model's columns change its table's: not at all, by additions, or by `on_schema_change`."""

from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from headrace.definitions.stream import renamed_coordinates
from headrace.errors import (
    AlterRefusedError,
    ColumnReason,
    ContractError,
    ModelColumnsError,
    ModelTypeError,
    Remedy,
)
from headrace.iceberg import partitions, schema
from headrace.integrations.model_request import ModelRequest
from headrace.tables.alter import deleted_by
from headrace.tables.evolution.declare import former_names
from headrace.tables.evolution.plan import AlterPlan, plan_alter
from headrace.tables.evolution.protected_columns import roles_by_id
from headrace.tables.evolution.steps import (
    AddColumn,
    DropColumn,
    MakeOptional,
    RenameColumn,
    Step,
    WidenColumn,
)


@dataclass(frozen=True, kw_only=True)
class ColumnsPlan:
    """The columns of a model that are written, and how the table's columns change first."""

    names: tuple[str, ...]
    alter: AlterPlan


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """How a model's columns differ from its table's, by name."""

    added: tuple[pa.Field, ...]
    removed: tuple[pa.Field, ...]  # in the table but not in the model
    widened: tuple[pa.Field, ...]
    retyped: tuple[pa.Field, ...]  # to a type that existing values do not fit
    relaxed: tuple[str, ...]


def plan_columns(
    current: Table, wanted: pa.Schema, *, request: ModelRequest, all_rows: bool
) -> ColumnsPlan:
    """Decide which columns the table gets. Changes nothing.

    An explicit full refresh, which replaces `all_rows`, gives the table exactly the model's columns
    and types: a column of another type is dropped and comes back as a new one. Otherwise
    `on_schema_change` decides, for incremental models that set it; without it, columns are added and
    widened. A column that the model requires may be optional in the table: its rows are checked.

    Raises:
        ContractError: If the partitioning differs, or a column was renamed or dropped by hand.
        ModelColumnsError: If the columns differ and `on_schema_change` is `fail`.
        ModelTypeError: If a column has another type, which only a full refresh can change.

    """
    table, metadata = str(request.target), current.metadata
    _refuse_other_partitions(current, request)
    wanted = schema.to_arrow(schema.to_iceberg(wanted, table=table))
    have = schema.to_arrow(current.schema())
    renamed = _renames(have, wanted)
    have = pa.schema([each.with_name(renamed.get(each.name, each.name)) for each in have])
    found = _compare(have, wanted)
    names = tuple(wanted.names)
    if all_rows and request.full_refresh:
        more = _refreshed(metadata, found, table=table)
    elif request.on_schema_change == "ignore":
        more = ()
        names = tuple(name for name in names if name in have.names)
    else:
        more = _additions(metadata, found, request=request)
    steps = (*(RenameColumn(old, to=new) for old, new in renamed.items()), *more)
    # a full refresh leaves no data file, and so no delete file
    deletes = frozenset[int]() if all_rows else deleted_by(current, steps)
    # the other roles need a column of that name, which the model decides
    roles = roles_by_id(metadata, deleted_by=deletes)
    return ColumnsPlan(names=names, alter=plan_alter(metadata, steps, table=table, roles=roles))


def _refuse_other_partitions(current: Table, request: ModelRequest) -> None:
    have = partitions.terms_of(current.spec(), current.schema())
    said = tuple(partitions.Term.parse(text) for text in request.partition_by)
    if have != said:
        listed = [", ".join(str(term) for term in terms) or "nothing" for terms in (have, said)]
        raise ContractError(
            str(request.target),
            f"it is partitioned by ({listed[0]}), the model declares ({listed[1]})",
            reason=ColumnReason.PARTITIONED_OTHERWISE,
            remedy=Remedy.run_on_catalog(
                "tables",
                "alter",
                str(request.target),
                advice="declare how it is partitioned, or change its partitioning",
            ),
        )


def _renames(have: pa.Schema, wanted: pa.Schema) -> dict[str, str]:
    return {
        old: new
        for old, new in renamed_coordinates(have.names).items()
        if new in wanted.names and old not in wanted.names
    }


def _compare(have: pa.Schema, wanted: pa.Schema) -> _Difference:
    both = [(have.field(each.name), each) for each in wanted if each.name in have.names]
    other = [(old, new) for old, new in both if old.type != new.type]
    return _Difference(
        added=tuple(each for each in wanted if each.name not in have.names),
        removed=tuple(each for each in have if each.name not in wanted.names),
        widened=tuple(new for old, new in other if schema.is_wider(old.type, new.type)),
        retyped=tuple(new for old, new in other if not schema.is_wider(old.type, new.type)),
        relaxed=tuple(new.name for old, new in both if new.nullable and not old.nullable),
    )


def _refuse_any(found: _Difference, *, table: str) -> None:
    retyped = tuple(each.name for each in (*found.widened, *found.retyped))
    added, removed = (tuple(e.name for e in part) for part in (found.added, found.removed))
    if added or removed or retyped:
        raise ModelColumnsError(table, added=added, removed=removed, retyped=retyped)


def _additions(
    metadata: TableMetadata, found: _Difference, *, request: ModelRequest
) -> tuple[Step, ...]:
    table = str(request.target)
    if request.on_schema_change == "fail":
        _refuse_any(found, table=table)
    former = former_names(metadata)
    for each in found.added:
        if each.name in former:
            raise _was_altered(table, each.name, now=former[each.name])
    for each in found.retyped:
        have = schema.to_arrow(metadata.schema()).field(each.name).type
        raise ModelTypeError(
            table,
            each.name,
            f"it is {have} in the table and {each.type} in the model; cast it, or replace all rows "
            "with `dbt run --full-refresh`, which changes the type too",
        )
    gone: tuple[Step, ...]
    if request.on_schema_change == "sync_all_columns":
        gone = tuple(DropColumn(each.name) for each in found.removed)
        plan_alter(metadata, gone, table=table)  # refuses columns that something depends on
    else:
        gone = tuple(MakeOptional(each.name) for each in found.removed if not each.nullable)
    return (
        *gone,
        *(AddColumn(each.name, type=each.type) for each in found.added),
        *(WidenColumn(each.name, type=each.type) for each in found.widened),
        *(MakeOptional(name) for name in found.relaxed),
    )


def _was_altered(table: str, name: str, *, now: str | None) -> ContractError:
    what = "dropped from the table" if now is None else f"renamed to `{now}` in the table"
    return ContractError(
        table,
        f"column `{name}` was {what}",
        reason=ColumnReason.WAS_DROPPED if now is None else ColumnReason.WAS_RENAMED,
        column=name,
        remedy=Remedy.run_on_catalog(
            "tables",
            "alter",
            table,
            advice="change the model, let `dbt run --full-refresh` give the table the model's "
            "columns, or change the table back",
        ),
    )


def _refreshed(metadata: TableMetadata, found: _Difference, *, table: str) -> tuple[Step, ...]:
    # what is added comes before what goes: a table is never without a column
    added = tuple(AddColumn(each.name, type=each.type) for each in found.added)
    gone = tuple(each for each in found.removed if _may_go(metadata, each.name, added, table=table))
    kept = (each for each in found.removed if each not in gone)
    stay = len(metadata.schema().fields) - len(gone)
    is_alone = stay == len(found.retyped) == 1 and not added
    retype = _retyped_alone if is_alone else _retyped
    return (
        *added,
        *(DropColumn(each.name) for each in gone),
        *(step for each in found.retyped for step in retype(each)),
        *(WidenColumn(each.name, type=each.type) for each in found.widened),
        *(MakeOptional(name) for name in found.relaxed if name not in _names(found.retyped)),
        *(MakeOptional(each.name) for each in kept if not each.nullable),
    )


def _retyped(column: pa.Field) -> tuple[Step, ...]:
    return DropColumn(column.name), AddColumn(column.name, type=column.type)


def _retyped_alone(column: pa.Field) -> tuple[Step, ...]:
    """Replace a table's only column, which cannot be dropped before there is another."""
    former = f"former_{column.name}"
    added = AddColumn(column.name, type=column.type)
    return RenameColumn(column.name, to=former), added, DropColumn(former)


def _names(fields: tuple[pa.Field, ...]) -> frozenset[str]:
    return frozenset(each.name for each in fields)


def _may_go(metadata: TableMetadata, name: str, added: tuple[Step, ...], *, table: str) -> bool:
    try:
        plan_alter(metadata, (*added, DropColumn(name)), table=table)
    except AlterRefusedError:
        return False
    return True
