"""Deciding how a table becomes what a declaration says: only additive and widening changes.

A change that a person made by hand (`alter.py`) is never undone: a declaration that still says what
was before is refused, and the error names the change. A dropped column does not come back empty, a
renamed one does not get a twin. The one rename that a declaration makes is that of row coordinates
by their former names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
from pyiceberg.table.metadata import TableMetadata

from headrace.definitions.stream import renamed_coordinates
from headrace.errors import ContractError
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
    """Decide the steps from a table's columns to the declared ones; none if they agree. Pure.

    Columns that are no longer declared stay, optional.

    Args:
        metadata: The table as it is.
        wanted: The declared columns.
        terms: The declared partitioning.
        table: What to call the table in errors.

    Raises:
        ContractError: If the partitioning differs, or for a narrowing, a change of kind, a new
            required column, or a column that was dropped or renamed.

    """
    refuse_other_partitions(metadata, terms, table=table)
    # what is wanted as tables keep it: large strings, small integers and milliseconds do not exist
    wanted = schema.to_arrow(schema.to_iceberg(wanted, table=table))
    have = schema.to_arrow(metadata.schema())
    renamed = _renamed(have, wanted)
    have = pa.schema([each.with_name(renamed.get(each.name, each.name)) for each in have])
    former = former_names(metadata)
    gone = (each for each in have if each.name not in wanted.names and not each.nullable)
    return (
        *(RenameColumn(old, to=new) for old, new in renamed.items()),
        *(step for each in wanted for step in _column(have, each, former=former, table=table)),
        *(MakeOptional(each.name) for each in gone),
    )


def refuse_other_partitions(
    metadata: TableMetadata, terms: Sequence[partitions.Term], *, table: str
) -> None:
    """Refuse a partitioning other than the table's, whose coordinates may have former names.

    Raises:
        ContractError: Naming both.

    """
    renamed = renamed_coordinates(metadata.schema().column_names)
    have = tuple(
        replace(term, column=renamed.get(term.column, term.column))
        for term in partitions.terms_of(metadata.spec(), metadata.schema())
    )
    if tuple(terms) != have:
        detail = f"it is partitioned by ({_listed(have)}), the declaration says ({_listed(terms)})"
        raise ContractError(table, detail)


def _column(
    have: pa.Schema, wanted: pa.Field, *, former: Mapping[str, str | None], table: str
) -> tuple[SchemaStep, ...]:
    name = wanted.name
    if name not in have.names:
        if name in former:
            raise ContractError(table, _was_altered(name, now=former[name]))
        if not wanted.nullable:
            detail = f"new column `{name}` is required, but older rows have no value for it"
            raise ContractError(table, f"{detail}; declare it optional")
        return (AddColumn(name, type=wanted.type),)
    old = have.field(name)
    if old.nullable and not wanted.nullable:
        raise ContractError(table, f"`{name}` is optional and cannot become required")
    steps: tuple[SchemaStep, ...] = ()
    if old.type != wanted.type:
        if not schema.is_wider(old.type, wanted.type):
            raise ContractError(table, f"`{name}` is {old.type} and cannot become {wanted.type}")
        steps = (WidenColumn(name, type=wanted.type),)
    if wanted.nullable and not old.nullable:
        steps = (*steps, MakeOptional(name))
    return steps


def _renamed(have: pa.Schema, wanted: pa.Schema) -> dict[str, str]:
    """Find the coordinates that the table has by their former names and the declaration by today's."""
    found = renamed_coordinates(have.names)
    return {
        old: new for old, new in found.items() if new in wanted.names and old not in wanted.names
    }


def former_names(metadata: TableMetadata) -> dict[str, str | None]:
    """Find names of columns in older schemas that none has now. Pure.

    Returns what each is called now, None for a column that was dropped.
    """
    now = {field.field_id: field.name for field in metadata.schema().fields}
    former: dict[str, str | None] = {}
    for older in sorted(metadata.schemas, key=lambda each: each.schema_id):
        former.update((field.name, now.get(field.field_id)) for field in older.fields)
    return {name: to for name, to in former.items() if name not in now.values()}


def _was_altered(name: str, *, now: str | None) -> str:
    if now is None:
        return (
            f"column `{name}` was dropped from the table; leave it out of the declaration, or add it "
            "again with `headrace tables alter`, empty in older rows"
        )
    return (
        f"column `{name}` was renamed to `{now}`; declare it by that name, or rename it back with "
        "`headrace tables alter`"
    )


def _listed(terms: Sequence[partitions.Term]) -> str:
    return ", ".join(str(term) for term in terms) or "nothing"
