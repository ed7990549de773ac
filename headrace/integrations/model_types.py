"""Choose the Arrow type of a model's columns; refuse types that tables would change silently."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from headrace.definitions.types import TIMESTAMP
from headrace.errors import ModelTypeError
from headrace.integrations.model_request import ModelRequest

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

_KEPT: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int32(),
    "smallint": pa.int32(),
    "utinyint": pa.int32(),
    "usmallint": pa.int32(),
    "integer": pa.int32(),
    "uinteger": pa.int64(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "varchar": pa.string(),
    "blob": pa.binary(),
    "date": pa.date32(),
    "timestamp with time zone": TIMESTAMP,
}
_NESTED = ("decimal", "list", "struct")
_ADVICE = {
    "hugeint": "a sum of integers is HUGEINT in DuckDB: write `cast(sum(…) as bigint)`",
    "uhugeint": "write `cast(… as bigint)`",
    "ubigint": "values beyond 2^63 do not fit a table: map them to bigint bit by bit",
    "timestamp": "times are timestamptz, UTC: write `cast(… as timestamp with time zone)`",
    "timestamp_s": "write `cast(… as timestamp with time zone)`",
    "timestamp_ms": "write `cast(… as timestamp with time zone)`",
    "timestamp_ns": "write `cast(… as timestamp with time zone)`",
}


def arrow_schema(
    names: Sequence[str], types: Sequence["DuckDBPyType"], request: ModelRequest
) -> pa.Schema:
    """Give a model's columns their table types, checked against what its YAML declares.

    Columns with a `not_null` constraint become required.

    Raises:
        ModelTypeError: Naming the column, its type, and what to write instead.

    """
    table = str(request.target)
    found = [
        (name, _arrow_type(kind, column=name, table=table), str(kind))
        for name, kind in zip(names, types, strict=True)
    ]
    return _checked(found, request)


def kept_schema(found: pa.Schema, request: ModelRequest) -> pa.Schema:
    """Give the columns that a server's query returns their table types, checked like `arrow_schema`.

    Raises:
        ModelTypeError: Naming the column, its type, and what to write instead.

    """
    table = str(request.target)
    typed = [
        (each.name, _kept_type(each.type, column=each.name, table=table), str(each.type))
        for each in found
    ]
    return _checked(typed, request)


def _checked(found: Sequence[tuple[str, pa.DataType, str]], request: ModelRequest) -> pa.Schema:
    """Check columns, given as name, type and what the engine calls the type, by their declaration."""
    fields: list[pa.Field] = []
    table = str(request.target)
    for name, arrow, kind in found:
        rule = request.columns.get(name)
        if rule is not None and rule.declared is not None and rule.declared.arrow != arrow:
            detail = f"it is declared {rule.declared.text}, the SQL gives {kind}"
            raise ModelTypeError(table, name, detail)
        fields.append(pa.field(name, arrow, nullable=rule is None or not rule.required))
    names = [name for name, _, _ in found]
    for name in request.columns:
        if name not in names:
            detail = f"it is declared, but the SQL returns only {', '.join(names)}"
            raise ModelTypeError(table, name, detail)
    return pa.schema(fields)


def _kept_type(kind: pa.DataType, *, column: str, table: str) -> pa.DataType:
    if kind in (pa.int8(), pa.int16()):
        return pa.int32()
    if kind in _KEPT.values() or pa.types.is_decimal(kind):
        return kind
    if pa.types.is_list(kind):
        child = _kept_type(kind.value_type, column=column, table=table)
        return pa.list_(pa.field("element", child))
    if pa.types.is_struct(kind):
        fields = (kind.field(n) for n in range(kind.num_fields))
        return pa.struct(
            [pa.field(f.name, _kept_type(f.type, column=column, table=table)) for f in fields]
        )
    advice = "cast it to a type that contracts know"
    if pa.types.is_timestamp(kind):
        advice = _ADVICE["timestamp"]
    raise ModelTypeError(table, column, f"its type {kind} cannot be kept: {advice}")


def _arrow_type(kind: "DuckDBPyType", *, column: str, table: str) -> pa.DataType:
    text = str(kind).lower()
    if text in _KEPT:
        return _KEPT[text]
    children = cast("list[tuple[str, Any]]", kind.children) if kind.id in _NESTED else []
    if kind.id == "decimal":
        sizes = dict(children)
        return pa.decimal128(sizes["precision"], sizes["scale"])
    if kind.id == "list":
        child = _arrow_type(children[0][1], column=column, table=table)
        return pa.list_(pa.field("element", child))
    if kind.id == "struct":
        return pa.struct(
            [
                pa.field(name, _arrow_type(child, column=column, table=table))
                for name, child in children
            ]
        )
    advice = _ADVICE.get(text, "cast it to a type that contracts know")
    raise ModelTypeError(table, column, f"its type {kind} cannot be kept: {advice}")
