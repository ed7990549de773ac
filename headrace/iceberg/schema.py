"""Convert between Arrow schemas and the Iceberg schemas of tables."""

# pyright: reportPrivateUsage=false

from collections.abc import Iterable, Sequence

import pyarrow as pa
from pyiceberg.io.pyarrow import UnsupportedPyArrowTypeException, schema_to_pyarrow, visit_pyarrow
from pyiceberg.io.pyarrow import _ConvertToIcebergWithoutIDs as ConvertWithoutIds
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table.name_mapping import MappedField, NameMapping
from pyiceberg.types import NestedField

from headrace.errors import (
    ColumnReason,
    ContractError,
    Remedy,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.iceberg.pyiceberg_calls import fields_by_id
from headrace.identifiers import is_reserved

FIELD_ID = b"PARQUET:field_id"


def to_iceberg(schema: pa.Schema, *, table: str) -> Schema:
    """Convert a schema and number its fields from 1; non-nullable fields become `required`.

    Raises:
        ContractError: If a column has a type that Iceberg tables do not support.

    """
    try:
        return assign_fresh_schema_ids(visit_pyarrow(schema, ConvertWithoutIds()))
    except (UnsupportedPyArrowTypeException, ValueError) as error:
        reason = ColumnReason.UNSUPPORTED_TYPE
        raise ContractError(table, str(error), reason=reason) from error


def to_arrow(schema: Schema, *, field_ids: bool = False) -> pa.Schema:
    """Convert a schema, with plain (32-bit offset) strings and lists; `required` means non-null."""
    arrow = schema_to_pyarrow(schema, include_field_ids=field_ids)
    return pa.schema([_plain(field) for field in arrow])


def is_wider(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether `new` is a widening of `old` that Iceberg allows."""
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return old.scale == new.scale and new.precision >= old.precision
    return (old, new) in {(pa.int32(), pa.int64()), (pa.float32(), pa.float64())}


def arrow_type(field: NestedField) -> pa.DataType:
    """Convert the type of one field, at any depth."""
    return to_arrow(Schema(field)).field(0).type


def refuse_reserved(names: Iterable[str], *, table: str) -> None:
    """Refuse names that Iceberg reserves for metadata columns: Spark could not read the table.

    Raises:
        ContractError: If a column has such a name; it names the first one.

    """
    for name in names:
        if is_reserved(name):
            raise ContractError(
                table,
                f"`{name}` is reserved by Iceberg for a metadata column",
                reason=ColumnReason.RESERVED_NAME,
                column=name,
                remedy=Remedy(advice="rename the column"),
            )


def refuse_defaults(schema: Schema, *, table: str) -> None:
    """Refuse column default values: rows without a value would be read as null.

    PyIceberg 0.12 writes them to tables of format version 2, which does not define them.

    Raises:
        UnsupportedTableError: If a column has one; it names the column.

    """
    for field in fields_by_id(schema).values():
        if field.initial_default is not None:
            column = schema.find_column_name(field.field_id)
            raise UnsupportedTableError(
                table,
                f"column `{column}` has a default value, which only format version 3 has",
                reason=UnsupportedReason.DEFAULT_VALUE,
                column=column,
            )


def field_id(field: pa.Field) -> int | None:
    """Return the Iceberg field id of a Parquet column, if it has one."""
    raw = (field.metadata or {}).get(FIELD_ID)
    return None if raw is None else int(raw)


def identified(found: pa.Schema, mapping: NameMapping | None) -> pa.Schema:
    """Add field ids from a table's name mapping to the schema of a file without ids.

    Fields that are not in the mapping do not belong to the table and are left out. A file that has
    ids keeps them, as the format requires.
    """
    if mapping is None or any(field_id(field) is not None for field in found):
        return found
    known = ((field, _mapped(field.name, mapping.root)) for field in found)
    return pa.schema([_identified(field, each) for field, each in known if each is not None])


def _mapped(name: str, among: Sequence[MappedField]) -> MappedField | None:
    return next((m for m in among if name in m.names and m.field_id is not None), None)


def _identified(field: pa.Field, mapped: MappedField | None) -> pa.Field:
    if mapped is None:
        return field
    kind, inner = field.type, mapped.fields
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = pa.list_(_identified(kind.value_field, _mapped("element", inner)))
    elif pa.types.is_map(kind):
        key = _identified(kind.key_field, _mapped("key", inner))
        kind = pa.map_(key, _identified(kind.item_field, _mapped("value", inner)))
    elif pa.types.is_struct(kind):
        children = (kind.field(i) for i in range(kind.num_fields))
        kind = pa.struct([_identified(child, _mapped(child.name, inner)) for child in children])
    return field.with_type(kind).with_metadata({FIELD_ID: str(mapped.field_id).encode()})


def _plain(field: pa.Field) -> pa.Field:
    kept = {k: v for k, v in (field.metadata or {}).items() if k == FIELD_ID}
    return field.with_type(_plain_type(field.type)).with_metadata(kept or None)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_plain(kind.field(i)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_field), _plain(kind.item_field))
    return kind
