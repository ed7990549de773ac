"""Plan the columns of a table without rows: as declared, whatever its former columns were."""

from collections.abc import Iterator, Sequence
from itertools import count

import pyarrow as pa
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import NestedField

from headrace.errors import AlterRefusedError, ColumnReason
from headrace.iceberg import schema
from headrace.tables.evolution.plan import (
    AlterPlan,
    next_spec,
    refuse_unfit_partitions,
    state_of,
)


def plan_anew(
    metadata: TableMetadata, wanted: pa.Schema, *, partition_by: Sequence[str], table: str
) -> AlterPlan:
    """Plan the columns that a table without rows gets, in one step. Pure.

    A column of the same name, type and requirement keeps its id. One of another type, or that
    becomes required, is another column by another id, so that older snapshots keep theirs. Columns
    that are not declared stay, and become optional.

    Raises:
        AlterRefusedError: If a partition spec, the sort order or files without field ids rely on a
            column that would be another one.
        ContractError: If a column has a type that tables do not support.

    """
    if metadata.name_mapping() is not None:
        detail = "its older files have no field ids, and rely on the names of its columns"
        raise AlterRefusedError(table, detail, reason=ColumnReason.OLDER_COLUMN_NAME)
    fields = tuple(_fields(metadata, wanted, table=table))
    ids = {each.field_id for each in fields}
    for each in metadata.sort_order().fields:
        if each.source_id not in ids:
            name = metadata.schema().find_column_name(each.source_id)
            detail = f"`{name}` is in its sort order and cannot become another column"
            raise AlterRefusedError(table, detail, reason=ColumnReason.IN_USE, column=name)
    keys = [key for key in metadata.schema().identifier_field_ids if key in ids]
    now = Schema(*fields, identifier_field_ids=keys)
    spec = next_spec(metadata, now, partition_by, table=table)
    refuse_unfit_partitions(metadata, now, spec, table=table)
    return AlterPlan(
        table=table,
        steps=(),
        schema=None if now == metadata.schema() else now,
        spec=None if spec.spec_id == metadata.default_spec_id else spec,
        name_mapping=None,
        notes=(),
        made_from=state_of(metadata),
    )


def _fields(metadata: TableMetadata, wanted: pa.Schema, *, table: str) -> Iterator[NestedField]:
    have = {field.name: field for field in metadata.schema().fields}
    next_id = count(metadata.last_column_id + 1)
    for fresh in schema.to_iceberg(wanted, table=table).fields:
        old = have.pop(fresh.name, None)
        if old is not None and _holds(old, fresh):
            yield _with(old, required=fresh.required)
        else:
            yield assign_fresh_schema_ids(Schema(fresh), lambda: next(next_id)).fields[0]
    for left in have.values():
        yield _with(left, required=False)


def _holds(old: NestedField, fresh: NestedField) -> bool:
    """Whether a column takes what is declared as it is."""
    same = schema.arrow_type(old) == schema.arrow_type(fresh)
    return same and (old.required or not fresh.required)


def _with(field: NestedField, *, required: bool) -> NestedField:
    return field.model_copy(update={"required": required})
