"""Plan how to align a table with its declaration, by adding and widening columns only.

Explicit changes (`alter.py`) are never undone: a declaration that does not reflect them is refused,
and the error names the change. A dropped column does not come back empty, and a renamed one is not
added again under its old name. The only columns that a declaration renames are row coordinates with
their former names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
from pyiceberg.table.metadata import TableMetadata

from headrace.definitions.stream import renamed_coordinates
from headrace.errors import ColumnReason, ContractError, Remedy
from headrace.iceberg import partitions, schema
from headrace.tables.evolution.steps import (
    AddColumn,
    MakeOptional,
    RenameColumn,
    SchemaStep,
    WidenColumn,
)


def plan_declared(
    metadata: TableMetadata, wanted: pa.Schema, *, terms: Sequence[partitions.Term], table: str
) -> tuple[SchemaStep, ...]:
    """Plan the steps from a table's columns to the declared ones; empty if they agree. Pure.

    Undeclared columns stay and become optional.

    Args:
        metadata: The current metadata of the table.
        wanted: The declared columns.
        terms: The declared partitioning.
        table: Name of the table in errors.

    Raises:
        ContractError: If the partitioning differs, if a type is narrowed or changed otherwise, if a
            new column is required, or if a declared column was dropped or renamed.

    """
    refuse_other_partitions(metadata, terms, table=table)
    steps: list[SchemaStep] = []
    for found in compare_columns(metadata, wanted, table=table).values():
        if isinstance(found, ContractError):
            raise found
        steps += found
    return tuple(steps)


def compare_columns(
    metadata: TableMetadata, wanted: pa.Schema, *, table: str
) -> dict[str, tuple[SchemaStep, ...] | ContractError]:
    """Return for each column the steps that the declaration asks for, or why it is refused. Pure.

    Renamed coordinates come first, then declared columns in their order, then undeclared ones.
    """
    # `wanted` in Iceberg's types, which have no large strings, small integers or milliseconds
    wanted = schema.to_arrow(schema.to_iceberg(wanted, table=table))
    have = schema.to_arrow(metadata.schema())
    renamed = _renamed(have, wanted)
    have = pa.schema([each.with_name(renamed.get(each.name, each.name)) for each in have])
    former = former_names(metadata)
    found: dict[str, tuple[SchemaStep, ...] | ContractError] = {
        old: (RenameColumn(old, to=new),) for old, new in renamed.items()
    }
    for each in wanted:
        try:
            found[each.name] = _column(have, each, former=former, table=table)
        except ContractError as error:
            found[each.name] = error
    for each in have:
        if each.name not in wanted.names:
            found[each.name] = () if each.nullable else (MakeOptional(each.name),)
    return found


def refuse_other_partitions(
    metadata: TableMetadata, terms: Sequence[partitions.Term], *, table: str
) -> None:
    """Refuse a declared partitioning that differs from the table's; coordinates may be renamed.

    Raises:
        ContractError: If the partitioning differs; it names both.

    """
    renamed = renamed_coordinates(metadata.schema().column_names)
    have = tuple(
        replace(term, column=renamed.get(term.column, term.column))
        for term in partitions.terms_of(metadata.spec(), metadata.schema())
    )
    if tuple(terms) != have:
        detail = f"it is partitioned by ({_listed(have)}), the declaration says ({_listed(terms)})"
        raise ContractError(table, detail, reason=ColumnReason.PARTITIONED_OTHERWISE)


def _column(
    have: pa.Schema, wanted: pa.Field, *, former: Mapping[str, str | None], table: str
) -> tuple[SchemaStep, ...]:
    name = wanted.name
    if name not in have.names:
        if name in former:
            raise _was_altered(table, name, now=former[name])
        if not wanted.nullable:
            raise ContractError(
                table,
                f"new column `{name}` is required, but older rows have no value for it",
                reason=ColumnReason.NO_VALUE_IN_OLDER_ROWS,
                column=name,
                remedy=Remedy(advice="declare it optional"),
            )
        return (AddColumn(name, type=wanted.type),)
    old = have.field(name)
    if old.nullable and not wanted.nullable:
        detail = f"`{name}` is optional and cannot become required"
        reason = ColumnReason.OPTIONAL_TO_REQUIRED
        raise ContractError(table, detail, reason=reason, column=name)
    steps: tuple[SchemaStep, ...] = ()
    if old.type != wanted.type:
        if not schema.is_wider(old.type, wanted.type):
            detail = f"`{name}` is {old.type} and cannot become {wanted.type}"
            raise ContractError(table, detail, reason=ColumnReason.NOT_WIDER, column=name)
        steps = (WidenColumn(name, type=wanted.type),)
    if wanted.nullable and not old.nullable:
        steps = (*steps, MakeOptional(name))
    return steps


def _renamed(have: pa.Schema, wanted: pa.Schema) -> dict[str, str]:
    """Find row coordinates that have former names in the table and current ones in `wanted`."""
    found = renamed_coordinates(have.names)
    return {
        old: new for old, new in found.items() if new in wanted.names and old not in wanted.names
    }


def former_names(metadata: TableMetadata) -> dict[str, str | None]:
    """Find column names of older schemas that are unused now. Pure.

    Returns the current name of each column, None for a dropped one.
    """
    now = {field.field_id: field.name for field in metadata.schema().fields}
    former: dict[str, str | None] = {}
    for older in sorted(metadata.schemas, key=lambda each: each.schema_id):
        former.update((field.name, now.get(field.field_id)) for field in older.fields)
    return {name: to for name, to in former.items() if name not in now.values()}


def _was_altered(table: str, name: str, *, now: str | None) -> ContractError:
    if now is None:
        reason, detail = ColumnReason.WAS_DROPPED, f"column `{name}` was dropped from the table"
        advice = "leave it out of the declaration, or add it again, empty in older rows"
    else:
        reason, detail = ColumnReason.WAS_RENAMED, f"column `{name}` was renamed to `{now}`"
        advice = "declare it by that name, or rename it back"
    remedy = Remedy.run_on_catalog("tables", "alter", table, advice=advice)
    return ContractError(table, detail, reason=reason, column=name, remedy=remedy)


def _listed(terms: Sequence[partitions.Term]) -> str:
    return ", ".join(str(term) for term in terms) or "nothing"
