"""Rows of Trino's protocol as Arrow columns: exact decimals, microseconds in UTC, nested values, nulls.

The protocol sends JSON: numbers as numbers, decimals and times as text, rows as lists. A value that
Arrow's microseconds cannot hold exactly is refused, never rounded.
"""

import base64
import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

_UTC = " UTC"
_MICROSECONDS = 6
_PLAIN: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double": pa.float64(),
    "varchar": pa.string(),
    "char": pa.string(),
    "json": pa.string(),
    "varbinary": pa.binary(),
    "date": pa.date32(),
    "uuid": pa.uuid(),
    "unknown": pa.null(),
}


def schema_of(columns: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Give the columns of an answer their Arrow types.

    Raises:
        ValueError: If a column has a type that cannot be read exactly; it names the column.

    """
    return pa.schema([(each["name"], _type(each["typeSignature"], each)) for each in columns])


def batch_of(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Turn rows of the protocol into a batch of `schema`."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [_array(list(each), field.type) for each, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _type(signature: Mapping[str, Any], column: Mapping[str, Any]) -> pa.DataType:
    kind, arguments = signature["rawType"], [each["value"] for each in signature["arguments"]]
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "decimal":
        return pa.decimal128(*arguments)
    if kind in {"timestamp", "timestamp with time zone", "time"} and arguments[0] <= _MICROSECONDS:
        zone = "UTC" if kind.endswith("zone") else None
        return pa.time64("us") if kind == "time" else pa.timestamp("us", tz=zone)
    if kind == "array":
        return pa.list_(_type(arguments[0], column))
    if kind == "map":
        return pa.map_(*(_type(each, column) for each in arguments))
    if kind == "row":
        return pa.struct([_field(each, n, column) for n, each in enumerate(arguments)])
    msg = f"column `{column['name']}` is of type {column['type']}, cast it to one that tables have"
    raise ValueError(msg)


def _field(argument: Mapping[str, Any], number: int, column: Mapping[str, Any]) -> pa.Field:
    name = (argument.get("fieldName") or {}).get("name") or f"field{number}"
    return pa.field(name, _type(argument["typeSignature"], column))


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        lists = [None if each is None else len(each) for each in values]
        inner = _array([part for each in values for part in each or ()], kind.value_type)
        return pa.ListArray.from_arrays(_offsets(lists), inner, type=kind)
    if pa.types.is_map(kind):
        return _map(values, kind)
    if pa.types.is_struct(kind):
        parts = [
            _array([None if each is None else each[n] for each in values], kind.field(n).type)
            for n in range(kind.num_fields)
        ]
        mask = pa.array([each is None for each in values], pa.bool_())
        fields = [kind.field(n) for n in range(kind.num_fields)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=mask)
    return _flat(values, kind)


def _map(values: list[dict[str, Any] | None], kind: pa.MapType) -> pa.Array:
    # keys of JSON objects are text, whatever their type
    keys = [key for each in values for key in each or ()]
    items = [item for each in values for item in (each or {}).values()]
    lists = [None if each is None else len(each) for each in values]
    read = _KEYS.get(kind.key_type)
    return pa.MapArray.from_arrays(
        _offsets(lists),
        _array(keys if read is None else [read(key) for key in keys], kind.key_type),
        _array(items, kind.item_type),
        type=kind,
    )


def _offsets(lengths: Sequence[int | None]) -> pa.Array:
    """Return where each list starts; a null there makes the list null."""
    found: list[int | None] = []
    at = 0
    for length in lengths:
        found.append(None if length is None else at)
        at += length or 0
    return pa.array([*found, at], pa.int32())


def _flat(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(kind):  # NaN and infinities are text
        values = [float(each) if isinstance(each, str) else each for each in values]
        return pa.array(values, pa.float64()).cast(kind, safe=False)
    if pa.types.is_binary(kind):
        values = [None if each is None else base64.b64decode(each) for each in values]
        return pa.array(values, kind)
    if kind == pa.uuid():
        raw = [None if each is None else uuid.UUID(each).bytes for each in values]
        return pa.array(raw, pa.binary(16)).cast(kind)
    if pa.types.is_timestamp(kind):
        return _timestamps(pa.array(values, pa.string()), kind)
    if pa.types.is_decimal(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


def _timestamps(texts: pa.Array, kind: pa.TimestampType) -> pa.Array:
    if kind.tz is None:
        return texts.cast(kind)
    in_utc = pc.all(pc.ends_with(texts, _UTC)).as_py() is not False
    if in_utc:
        return pc.replace_substring(texts, _UTC, "Z").cast(kind)
    return pa.array([None if text is None else _moment(text) for text in texts.to_pylist()], kind)


def _moment(text: str) -> dt.datetime:
    """Read an instant in the zone that it names: an offset, or a name."""
    local, _, zone = text.rpartition(" ")
    if zone[:1] in "+-":
        return dt.datetime.fromisoformat(local + zone)
    return dt.datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))


_KEYS: Mapping[pa.DataType, Callable[[str], object]] = {
    pa.bool_(): lambda text: text == "true",
    **dict.fromkeys((pa.int8(), pa.int16(), pa.int32(), pa.int64()), int),
}
