"""Avro: values are read by the schema they were written with, and fields are found by name."""

import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from headrace.decimals import EXACTLY
from headrace.definitions.stream import Stream
from headrace.definitions.types import TIMESTAMP
from headrace.ingest.arrow_arrays import array_of
from headrace.ingest.decoding.avro_columns import DATA_BYTES_MAX, read_columns
from headrace.ingest.decoding.avro_one import Read, reader_of
from headrace.ingest.decoding.avro_types import Node, Types
from headrace.ingest.decoding.decoded import MALFORMED, UNKNOWN_SCHEMA, Decoded, Violation
from headrace.ingest.decoding.frames import PLAIN, unwrap
from headrace.ingest.decoding.typed import NAIVE, Group, Values, assemble
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.line_block import LineBlock
from headrace.ingest.sources.schemas import Schemas, SchemaText

_SIMPLE: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "enum": pa.string(),
}
# how many microseconds one unit has; None: a unit holds less than one
_INSTANTS: Mapping[str, int | None] = {
    "timestamp-millis": 1000,
    "timestamp-micros": 1,
    "timestamp-nanos": None,
}
_CLOCKS = {f"local-{name}": unit_us for name, unit_us in _INSTANTS.items()}
_NANOS_PER_MICRO = 1000
_LOGICAL = "headrace.logicalType"  # to the parser of schemas an attribute like any other
_RENAMED = {"logicalType": _LOGICAL}


@dataclass(frozen=True, kw_only=True)
class WriterField:
    """A field of a record that values were written with, as `Group` takes its column.

    Args:
        name: Its name.
        kind: The type of its column; None where it is one that no contract can declare.
        unit_us: How many microseconds one unit of a time has; None if it has less than one.
        is_time: Whether it is a moment or a clock, counted since 1970.
        scale: Of a decimal.

    """

    name: str
    kind: pa.DataType | None
    unit_us: int | None = 1
    is_time: bool = False
    scale: int | None = None


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A schema that values were written with.

    Args:
        fields: Of its record.
        node: Its types.
        read: Reads one value.
        at_once: Whether many values can be read at once.

    """

    fields: tuple[WriterField, ...]
    node: Node
    read: Read
    at_once: bool


def decode_avro(records: Records, stream: Stream) -> Decoded:
    """Decode values; a value that is cut short or has bytes left over is a violation."""
    wanted = {field.source_name or name for name, field in stream.fields.items()}
    groups, violations = read_groups(records, wanted=wanted)
    return assemble(groups, violations, stream)


def read_groups(
    records: Records, *, wanted: Collection[str] | None = None
) -> tuple[list[Group], dict[int, Violation]]:
    """Read values by the schemas they were written with, whatever a contract declares.

    Of fields that are not wanted, columns say only where there is a value.
    """
    schemas = records.schemas or Schemas(topic=records.partition.source)
    found = unwrap(records, framed=schemas.framed)
    violations = found.refused
    groups: list[Group] = []
    for schema_id, places in found.by_schema.items():
        writer: Writer | str | None = (
            schemas.once(lambda text: writer_of(SchemaText(text=text.decode())))
            if schema_id == PLAIN
            else schemas.compiled(schema_id, writer_of)
        )
        if not isinstance(writer, Writer):
            why = "is not known" if writer is None else f"cannot be used: {writer}"
            reason = f"schema {schema_id} {why}" if schema_id != PLAIN else f"the schema {why}"
            violations |= {at: Violation(UNKNOWN_SCHEMA, reason) for at in places.tolist()}
            continue
        at = places
        if writer.at_once and len(found.values.data) <= DATA_BYTES_MAX:
            at = _read_at_once(writer, at, found.values, wanted, groups)
        if len(at):
            groups.append(_read(writer, at.tolist(), found.values, violations))
    return groups, violations


def _read_at_once(
    writer: Writer,
    at: np.ndarray,
    block: LineBlock,
    wanted: Collection[str] | None,
    groups: list[Group],
) -> np.ndarray:
    """Read values column by column; return the places of those that must be read one by one."""
    are_wanted = [
        each.kind is not None and (wanted is None or each.name in wanted) for each in writer.fields
    ]
    starts, ends = block.starts[at], block.ends[at]
    done = read_columns(block.data, starts, ends, writer.node, are_wanted)
    doubtful = done.doubtful
    columns: dict[str, tuple[Values, pa.DataType | None]] = {}
    for field, is_wanted, column in zip(writer.fields, are_wanted, done.columns, strict=True):
        values: Values = column
        if is_wanted:
            values, far = _values(column, field)
            doubtful = doubtful if far is None else doubtful | far
        elif wanted is not None and field.name in wanted:  # of no type: to be shown where it is
            doubtful = doubtful | column.is_valid().to_numpy(zero_copy_only=False)
        columns[field.name] = values, field.kind
    if doubtful.any():
        kept = np.flatnonzero(~doubtful)
        taken = array_of(kept, pa.int64())
        columns = {name: (_taken(each, taken), kind) for name, (each, kind) in columns.items()}
        at, rest = at[kept], at[doubtful]
    else:
        rest = at[:0]
    groups.append(Group(index=at, columns=columns))
    return rest


def _taken(values: Values, at: pa.Array) -> Values:
    return [values[i] for i in at.to_pylist()] if isinstance(values, list) else values.take(at)


def _values(column: pa.Array, field: WriterField) -> tuple[Values, np.ndarray | None]:
    """Return what `_value` gives of each value, and which of them are too large to be counted."""
    if field.scale is not None:
        return [_value(each, field) for each in column.to_pylist()], None
    is_date = field.kind == pa.date32()
    if not (is_date or field.is_time) or field.unit_us == 1 and not is_date:
        return column, None
    valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
    numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
    if field.unit_us is None:
        return array_of(numbers // _NANOS_PER_MICRO, pa.int64(), valid), None
    limit = 2**31 if is_date else 2**63 // field.unit_us
    far = (numbers >= limit) | (numbers < -limit)
    if is_date:
        return array_of(numbers.astype(np.int32), pa.int32(), valid), far
    return array_of(numbers * field.unit_us, pa.int64(), valid), far


def _read(
    writer: Writer,
    places: Sequence[int],
    values: Sequence[bytes],
    violations: dict[int, Violation],
) -> Group:
    index: list[int] = []
    rows: list[dict[str, Any]] = []
    for at in places:
        body = values[at]
        try:
            row, end = writer.read(body, 0)
        except (ValueError, IndexError, struct.error, RecursionError) as error:
            reason = f"not of its schema: {type(error).__name__}"
            violations[at] = Violation(MALFORMED, reason)
            continue
        if end < len(body):
            reason = f"{len(body) - end} bytes are left over behind the value"
            violations[at] = Violation(MALFORMED, reason)
            continue
        index.append(at)
        rows.append(row)
    columns = {
        field.name: ([_value(row[field.name], field) for row in rows], field.kind)
        for field in writer.fields
    }
    return Group(index=np.array(index, dtype=np.int64), columns=columns)


def _value(value: Any, field: WriterField) -> Any:  # noqa: ANN401  (a value of any type)
    if value is None or field.kind is None:
        return value
    if field.is_time:
        return value // _NANOS_PER_MICRO if field.unit_us is None else value * field.unit_us
    if field.scale is not None:
        number = Decimal(int.from_bytes(value, "big", signed=True))
        return number.scaleb(-field.scale, EXACTLY)
    return value


def writer_of(schema: SchemaText) -> Writer | str:
    """Parse a schema, or return why it cannot be used; two versions of a record may share one name."""
    named: dict[str, Any] = {}
    try:
        for each in schema.references:
            fastavro.parse_schema(_bare(json.loads(each)), named_schemas=named)
        written = json.loads(schema.text)
        parsed: Any = fastavro.parse_schema(_bare(written), named_schemas=named)
        types = Types(parsed=named)
        node = types.tree(parsed)
    except (ValueError, SchemaParseException, UnknownType, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    if not isinstance(written, dict) or written.get("type") != "record":
        return "it is no record"
    return Writer(
        fields=tuple(_field(each, named) for each in parsed["fields"]),
        node=node,
        read=reader_of(node, types.made),
        at_once=not types.is_recursive,
    )


def _bare(schema: Any) -> Any:  # noqa: ANN401  (JSON)
    """Rename logical types: what one says is never a reason to refuse a schema."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(schema, dict):
        pairs: dict[str, Any] = schema  # pyright: ignore[reportUnknownVariableType]
        return {_RENAMED.get(key, key): _bare(each) for key, each in pairs.items()}
    return schema


def _field(declared: dict[str, Any], names: Mapping[str, Any]) -> WriterField:
    name = str(declared["name"])
    kind: Any = declared["type"]
    if isinstance(kind, list):
        branches: list[Any] = [each for each in kind if each != "null"]  # pyright: ignore[reportUnknownVariableType]
        if len(branches) != 1:
            return WriterField(name=name, kind=None if branches else pa.null())
        kind = branches[0]
    if isinstance(kind, str) and kind not in _SIMPLE:
        kind = names.get(kind, kind)
    logical = kind.get(_LOGICAL) if isinstance(kind, dict) else None
    more: dict[str, Any] = kind if isinstance(kind, dict) else {}
    plain = more["type"] if more else kind
    if isinstance(plain, dict):  # {"type": {"type": …}}
        return _field({"name": name, "type": plain}, names)
    if isinstance(logical, str) and logical in _INSTANTS and plain == "long":
        return WriterField(name=name, kind=TIMESTAMP, unit_us=_INSTANTS[logical], is_time=True)
    if isinstance(logical, str) and logical in _CLOCKS and plain == "long":
        return WriterField(name=name, kind=NAIVE, unit_us=_CLOCKS[logical], is_time=True)
    if logical == "date" and plain == "int":
        return WriterField(name=name, kind=pa.date32())
    if logical == "decimal" and plain in ("bytes", "fixed"):
        scale, precision = int(more.get("scale", 0)), int(more.get("precision", 38))
        fits = 0 < precision <= 38 and 0 <= scale <= precision
        return WriterField(name=name, kind=pa.decimal128(38, scale) if fits else None, scale=scale)
    if plain == "array":
        inner = _field({"name": name, "type": more["items"]}, names)
        is_plain = inner.kind is not None and not inner.is_time and inner.scale is None
        return WriterField(name=name, kind=pa.list_(inner.kind) if is_plain else None)
    return WriterField(name=name, kind=_SIMPLE.get(plain) if isinstance(plain, str) else None)
