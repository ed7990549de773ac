"""Avro: values are read by the schema they were written with, and fields are found by name."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import fastavro
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from headrace.definitions.stream import Stream
from headrace.definitions.types import TIMESTAMP
from headrace.ingest.decoding.decoded import MALFORMED, UNKNOWN_SCHEMA, Decoded, Violation
from headrace.ingest.decoding.frames import PLAIN, unwrap
from headrace.ingest.decoding.typed import NAIVE, Group, assemble
from headrace.ingest.sources.base import Records
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
_EXACTLY = Context(prec=76)  # else results have 28 digits


@dataclass(frozen=True, kw_only=True)
class _Field:
    name: str
    kind: pa.DataType | None
    unit_us: int | None = 1
    is_time: bool = False
    scale: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """A schema that values were written with; `problem` says why it cannot be used, if so."""

    parsed: Any = None
    fields: tuple[_Field, ...] = ()
    problem: str = ""


def decode_avro(records: Records, stream: Stream) -> Decoded:
    """Decode values; a value that is cut short or has bytes left over is a violation."""
    groups, violations = read_groups(records)
    return assemble(groups, violations, stream)


def read_groups(records: Records) -> tuple[list[Group], dict[int, Violation]]:
    """Read values by the schemas they were written with, whatever a contract declares."""
    schemas = records.schemas or Schemas(topic=records.partition.source)
    found = unwrap(records, framed=schemas.framed)
    violations = found.refused
    groups: list[Group] = []
    for schema_id, places in found.by_schema.items():
        writer: _Writer | None = (
            schemas.once(lambda text: _compile(SchemaText(text=text.decode())))
            if schema_id == PLAIN
            else schemas.compiled(schema_id, _compile)
        )
        if writer is None or writer.problem:
            why = "is not known" if writer is None else f"cannot be used: {writer.problem}"
            reason = f"schema {schema_id} {why}" if schema_id != PLAIN else f"the schema {why}"
            violations |= {at: Violation(UNKNOWN_SCHEMA, reason) for at in places}
            continue
        groups.append(_read(writer, places, found.values, violations))
    return groups, violations


def _read(
    writer: _Writer,
    places: Sequence[int],
    values: Sequence[bytes],
    violations: dict[int, Violation],
) -> Group:
    index: list[int] = []
    rows: list[dict[str, Any]] = []
    for at in places:
        body = io.BytesIO(values[at])
        try:
            row = fastavro.schemaless_reader(body, writer.parsed, None)
        except (EOFError, ValueError, IndexError, OverflowError, TypeError, KeyError) as error:
            reason = f"not of its schema: {type(error).__name__}"
            violations[at] = Violation(MALFORMED, reason)
            continue
        left = len(values[at]) - body.tell()
        if left:
            violations[at] = Violation(MALFORMED, f"{left} bytes are left over behind the value")
            continue
        index.append(at)
        rows.append(row)  # pyright: ignore[reportArgumentType]
    columns = {
        field.name: ([_value(row[field.name], field) for row in rows], field.kind)
        for field in writer.fields
    }
    return Group(index=index, columns=columns)


def _value(value: Any, field: _Field) -> Any:  # noqa: ANN401  (a value of any type)
    if value is None or field.kind is None:
        return value
    if field.is_time:
        return value // _NANOS_PER_MICRO if field.unit_us is None else value * field.unit_us
    if field.scale is not None:
        number = Decimal(int.from_bytes(value, "big", signed=True))
        return number.scaleb(-field.scale, _EXACTLY)
    return value


def _compile(schema: SchemaText) -> _Writer:
    """Parse a schema with names of its own: two versions of a record may share one name."""
    named: dict[str, Any] = {}
    try:
        for each in schema.references:
            fastavro.parse_schema(_bare(json.loads(each)), named_schemas=named)
        written = json.loads(schema.text)
        parsed = fastavro.parse_schema(_bare(written), named_schemas=named)
    except (ValueError, SchemaParseException, UnknownType, KeyError, TypeError) as error:
        return _Writer(problem=f"{type(error).__name__}: {error}")
    if not isinstance(written, dict) or written.get("type") != "record":
        return _Writer(problem="it is no record")
    names: dict[str, Any] = {}
    for each in (*map(json.loads, schema.references), written):
        _collect(each, names, space="")
    return _Writer(parsed=parsed, fields=tuple(_field(each, names) for each in written["fields"]))


def _collect(schema: Any, names: dict[str, Any], *, space: str) -> None:  # noqa: ANN401  (JSON)
    """Note the definitions of named types, by their short and their full names."""
    if isinstance(schema, list):
        for each in schema:  # pyright: ignore[reportUnknownVariableType]
            _collect(each, names, space=space)
    elif isinstance(schema, dict):
        space = str(schema.get("namespace", space))
        if schema.get("type") in ("enum", "fixed", "record"):
            name = str(schema["name"])
            for known in (name, f"{space}.{name}", name.rpartition(".")[2]):
                names.setdefault(known, schema)
        for part in ("type", "items", "values", "fields"):
            _collect(schema.get(part), names, space=space)


def _bare(schema: Any) -> Any:  # noqa: ANN401  (JSON)
    """Leave out logical types: their values are read as they are stored, without rounding."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(schema, dict):
        return {key: _bare(each) for key, each in schema.items() if key != "logicalType"}  # pyright: ignore[reportUnknownVariableType]
    return schema


def _field(declared: dict[str, Any], names: Mapping[str, Any]) -> _Field:
    name = str(declared["name"])
    kind: Any = declared["type"]
    if isinstance(kind, list):
        branches: list[Any] = [each for each in kind if each != "null"]  # pyright: ignore[reportUnknownVariableType]
        if len(branches) != 1:
            return _Field(name=name, kind=None if branches else pa.null())
        kind = branches[0]
    if isinstance(kind, str) and kind not in _SIMPLE:
        kind = names.get(kind, kind)
    logical = kind.get("logicalType") if isinstance(kind, dict) else None
    more: dict[str, Any] = kind if isinstance(kind, dict) else {}
    plain = more["type"] if more else kind
    if isinstance(plain, dict):  # {"type": {"type": …}}
        return _field({"name": name, "type": plain}, names)
    if isinstance(logical, str) and logical in _INSTANTS and plain == "long":
        return _Field(name=name, kind=TIMESTAMP, unit_us=_INSTANTS[logical], is_time=True)
    if isinstance(logical, str) and logical in _CLOCKS and plain == "long":
        return _Field(name=name, kind=NAIVE, unit_us=_CLOCKS[logical], is_time=True)
    if logical == "date" and plain == "int":
        return _Field(name=name, kind=pa.date32())
    if logical == "decimal" and plain in ("bytes", "fixed"):
        scale, precision = int(more.get("scale", 0)), int(more.get("precision", 38))
        fits = 0 < precision <= 38 and 0 <= scale <= precision
        return _Field(name=name, kind=pa.decimal128(38, scale) if fits else None, scale=scale)
    if plain == "array":
        inner = _field({"name": name, "type": more["items"]}, names)
        is_plain = inner.kind is not None and not inner.is_time and inner.scale is None
        return _Field(name=name, kind=pa.list_(inner.kind) if is_plain else None)
    return _Field(name=name, kind=_SIMPLE.get(plain) if isinstance(plain, str) else None)
