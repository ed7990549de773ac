"""Bringing an existing table in line with a schema: only additive and widening changes.

What a person changed by hand (`alter.py`) is never undone: a declaration that still says what was
before is refused, and names what happened. A dropped column does not come back empty, a renamed one
does not get a twin. The one rename that a declaration makes is that of row coordinates by their
former names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import IcebergType

from headrace.definitions.stream import renamed_coordinates
from headrace.errors import ContractError
from headrace.iceberg import column_metrics, partitions, schema


@dataclass(frozen=True, kw_only=True)
class EvolutionPlan:
    """The steps from what a table is to what is wanted; empty when they agree."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    added: tuple[pa.Field, ...] = ()
    widened: tuple[pa.Field, ...] = ()
    relaxed: tuple[str, ...] = ()
    properties: Mapping[str, str]

    @property
    def changes_schema(self) -> bool:
        """Whether a schema commit is needed."""
        return bool(self.renamed or self.added or self.widened or self.relaxed)


def plan_evolution(
    have: pa.Schema,
    wanted: pa.Schema,
    *,
    table: str,
    properties: Mapping[str, str],
    former: Mapping[str, str | None] | None = None,
) -> EvolutionPlan:
    """Decide how `have` becomes `wanted`. Pure. Columns that are no longer wanted stay, optional.

    Args:
        have: The table's schema.
        wanted: The declared one.
        table: What to call the table in errors.
        properties: Properties to set.
        former: Names that columns had once, with what each is called now, or None if it was dropped.

    Raises:
        ContractError: For a narrowing, a change of kind, a new required column, or a column that
            was dropped or renamed.

    """
    former = former or {}
    renamed = _renamed(have, wanted)
    have = pa.schema([each.with_name(renamed.get(each.name, each.name)) for each in have])
    added: list[pa.Field] = []
    widened: list[pa.Field] = []
    relaxed: list[str] = []
    for column in wanted:
        if column.name not in have.names:
            if column.name in former:
                raise ContractError(table, _was_altered(column.name, now=former[column.name]))
            if not column.nullable:
                raise ContractError(
                    table,
                    f"new column `{column.name}` is required, but older rows have no value for it; "
                    "declare it optional",
                )
            added.append(column)
            continue
        old = have.field(column.name)
        if old.nullable and not column.nullable:
            raise ContractError(table, f"`{column.name}` is optional and cannot become required")
        if old.type != column.type:
            if not is_wider(old.type, column.type):
                raise ContractError(
                    table, f"`{column.name}` is {old.type} and cannot become {column.type}"
                )
            widened.append(column)
        if column.nullable and not old.nullable:
            relaxed.append(column.name)
    missing = [f.name for f in have if f.name not in wanted.names and not f.nullable]
    return EvolutionPlan(
        renamed=renamed,
        added=tuple(added),
        widened=tuple(widened),
        relaxed=(*relaxed, *missing),
        properties=properties,
    )


def _renamed(have: pa.Schema, wanted: pa.Schema) -> dict[str, str]:
    """Find the coordinates that the table has by their former names and the declaration by today's."""
    found = renamed_coordinates(have.names)
    return {
        old: new for old, new in found.items() if new in wanted.names and old not in wanted.names
    }


def former_names(metadata: TableMetadata) -> dict[str, str | None]:
    """Find names of columns in older schemas that none has now: see `plan_evolution`. Pure."""
    now = {field.field_id: field.name for field in metadata.schema().fields}
    former: dict[str, str | None] = {}
    for older in sorted(metadata.schemas, key=lambda each: each.schema_id):
        former.update((field.name, now.get(field.field_id)) for field in older.fields)
    return {name: to for name, to in former.items() if name not in now.values()}


def bring_in_line(
    table: Table,
    wanted: pa.Schema,
    *,
    terms: Sequence[partitions.Term],
    properties: Mapping[str, str],
) -> None:
    """Plan and apply; a table that already fits is not touched.

    Raises:
        ContractError: See `plan_evolution`; also if the partitioning differs.

    """
    name = ".".join(table.name())
    renamed = renamed_coordinates(table.schema().column_names)
    have_terms = tuple(
        replace(term, column=renamed.get(term.column, term.column))
        for term in partitions.terms_of(table.spec(), table.schema())
    )
    if tuple(terms) != have_terms:
        raise ContractError(
            name,
            f"it is partitioned by ({_listed(have_terms)}), the declaration says ({_listed(terms)})",
        )
    changed = {k: v for k, v in properties.items() if table.properties.get(k) != v}
    # what is wanted as tables keep it: large strings, small integers and milliseconds do not exist
    wanted = schema.to_arrow(schema.to_iceberg(wanted, table=name))
    plan = plan_evolution(
        schema.to_arrow(table.schema()),
        wanted,
        table=name,
        properties=changed,
        former=former_names(table.metadata),
    )
    if not plan.changes_schema and not plan.properties:
        return
    with table.transaction() as transaction:
        if plan.renamed:
            with transaction.update_schema() as update:
                for old, new in plan.renamed.items():
                    update.rename_column(old, new)
            moved = column_metrics.renamed(table.properties, plan.renamed)
            transaction.remove_properties(*(name for name, said in moved.items() if said is None))
            transaction.set_properties({name: said for name, said in moved.items() if said})
        if plan.added or plan.widened or plan.relaxed:
            with transaction.update_schema() as update:
                for each in plan.added:
                    update.add_column(each.name, _iceberg_type(each, table=name))
                for each in plan.widened:
                    update.update_column(each.name, field_type=_iceberg_type(each, table=name))
                for column in plan.relaxed:
                    update.make_column_optional(column)
        if plan.properties:
            transaction.set_properties(dict(plan.properties))


def _was_altered(name: str, *, now: str | None) -> str:
    if now is None:
        return (
            f"column `{name}` was dropped from the table; leave it out of the declaration, or add it "
            "anew with `headrace tables alter`, empty in older rows"
        )
    return (
        f"column `{name}` was renamed to `{now}`; declare it by that name, or rename it back with "
        "`headrace tables alter`"
    )


def _iceberg_type(field: pa.Field, *, table: str) -> IcebergType:
    return schema.to_iceberg(pa.schema([field]), table=table).fields[0].field_type


def is_wider(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether every value of one type is one of the other, by the widenings that tables know."""
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return old.scale == new.scale and new.precision >= old.precision
    return (old, new) in {(pa.int32(), pa.int64()), (pa.float32(), pa.float64())}


def _listed(terms: Sequence[partitions.Term]) -> str:
    return ", ".join(str(term) for term in terms) or "nothing"
