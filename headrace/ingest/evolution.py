"""`unknown_fields: evolve`: new fields and wider types that records bring change the contract themselves.

Only what Iceberg can do without rewriting data: a new optional column, int to long, float to double. A
field of objects, of mixed types or with a name that no column can have is refused with its record. A
type is inferred from all values of a batch, and the batch is then decoded again by explicit types.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from pyiceberg.table.metadata import TableMetadata

from headrace.definitions.properties import EVOLVED_PREFIX
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, Stream, StreamField
from headrace.definitions.types import FieldType
from headrace.iceberg.schema import is_wider
from headrace.identifiers import is_plain, is_reserved
from headrace.ingest.decoding.decoded import UNKNOWN_FIELD, Decoded, Violation
from headrace.ingest.decoding.frames import unwrap
from headrace.ingest.sources.base import Records
from headrace.ingest.values import NOT_EXACT, OUT_OF_RANGE
from headrace.tables.commits.operations import move_properties
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion

EVOLVED_MAX = 200  # fields of one stream; a producer that invents names would fill the schema
_INT64 = range(-(2**63), 2**63)
_INT32 = range(-(2**31), 2**31)
_TEXTS: Mapping[pa.DataType, str] = {
    pa.int8(): "int",
    pa.int16(): "int",
    pa.int32(): "int",
    pa.uint8(): "int",
    pa.uint16(): "int",
    pa.uint32(): "long",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.date32(): "date",
}
_TOO_NARROW = (OUT_OF_RANGE, NOT_EXACT)
_WIDER = {"int": "long", "float": "double"}


def effective(stream: Stream, version: TableVersion) -> Stream:
    """Return a contract with the fields that records added to it; what the contract says goes first.

    Columns of the table that are wider already count too: another ingester, or one that was killed,
    may have widened them without noting it yet.
    """
    if stream.unknown_fields != "evolve":
        return stream
    grown = with_fields(stream, _told(version.properties, stream))
    found = {name: version.schema.field(name).type for name in version.schema.names}
    wider = {
        name: text
        for name in grown.fields
        if (kind := found.get(grown.column_of(name))) is not None
        and (text := _text_of(kind)) is not None
    }
    return with_fields(grown, wider)


def evolved_count(stream: Stream, properties: Mapping[str, str]) -> int:
    """Count the fields that records added to a contract, or widened."""
    return len(_told(properties, stream)) if stream.unknown_fields == "evolve" else 0


def with_fields(stream: Stream, types: Mapping[str, str]) -> Stream:
    """Return a contract with more fields, and with wider types of those it has."""
    fields = dict(stream.fields)
    for name, text in types.items():
        wanted = FieldType.parse(text)
        declared = fields.get(name)
        if declared is None:
            if may_be_column(name, stream):
                fields[name] = StreamField(type=wanted)
        elif is_wider(declared.type.arrow, wanted.arrow):
            fields[name] = declared.model_copy(update={"type": wanted})
    return stream.model_copy(update={"fields": fields})


def may_be_column(name: str, stream: Stream) -> bool:
    """Whether a table can have a column of this name for an undeclared field."""
    taken = {EVENT_TIME, KNOWN_AT, *COORDINATES.names}
    return is_plain(name) and not is_reserved(name) and name not in taken | stream.fields.keys()


def growth(
    records: Records,
    decoded: Decoded,
    violations: Mapping[int, Violation],
    stream: Stream,
    *,
    room: int = EVOLVED_MAX,
) -> dict[str, str]:
    """Return the types of fields by which the contract would accept refused records. Pure.

    New fields are those of records with undeclared ones, at most `room`; wider types are those of
    values out of range.
    """
    if stream.format == "json" and records.rows is None:
        found = _of_lines(records, violations, stream)
    else:
        found = _of_columns(decoded, violations, stream)
    new = [name for name in found if name not in stream.fields]
    left_out = new[max(0, room) :]
    return {name: text for name, text in found.items() if name not in left_out}


def _of_lines(
    records: Records, violations: Mapping[int, Violation], stream: Stream
) -> dict[str, str]:
    types: dict[str, str | None] = {}
    framed = records.schemas is not None and records.schemas.framed
    lines = unwrap(records, framed=True).values if framed else records.lines
    for at, violation in violations.items():
        if violation.code == UNKNOWN_FIELD:
            for name, value in _parsed(lines[at], stream).items():
                if name not in stream.fields and not _says_nothing(value):
                    here = _type_of(value)
                    types[name] = _common(types[name], here) if name in types else here
        elif violation.field in stream.fields and violation.code in _TOO_NARROW:
            name = str(violation.field)
            declared, value = stream.fields[name].type.text, _parsed(lines[at], stream).get(name)
            if _fits_wider(declared, value):
                types[name] = _WIDER[declared]
    return {
        name: text
        for name, text in types.items()
        if text is not None and (name in stream.fields or may_be_column(name, stream))
    }


def _parsed(line: bytes, stream: Stream) -> dict[str, Any]:
    """Read the fields of a line by their declared names; empty if it cannot be read."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    named = {each.source_name: name for name, each in stream.fields.items() if each.source_name}
    pairs: dict[str, Any] = found  # pyright: ignore[reportUnknownVariableType]
    return {named.get(key, key): value for key, value in pairs.items()}


def _says_nothing(value: object) -> bool:
    """Whether a value fits every type, or every list, and so tells nothing about its field."""
    if isinstance(value, list):
        return all(each is None for each in value)  # pyright: ignore[reportUnknownVariableType]
    return value is None


def _type_of(value: object) -> str | None:
    """Infer the type of one value; None if no column can hold it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long" if value in _INT64 else None
    if isinstance(value, float):
        return "double" if math.isfinite(value) else None
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return _type_of_list(value)  # pyright: ignore[reportUnknownArgumentType]
    return None


def _type_of_list(values: Iterable[object]) -> str | None:
    """Infer the type of a list by its elements that are not null; without one there is none yet."""
    common: str | None = ""
    for value in values:
        if value is not None:
            here = None if isinstance(value, list) else _type_of(value)
            common = here if common == "" else _common(common, here)
    return f"list<{common}>" if common else None


def _common(one: str | None, other: str | None) -> str | None:
    """Return the type that holds the values of both; None if there is none."""
    if one == other:
        return one
    pair = {one, other}
    if pair == {"long", "double"}:
        return "double"
    return "list<double>" if pair == {"list<long>", "list<double>"} else None


def _fits_wider(declared: str, value: object) -> bool:
    if declared == "int":
        return isinstance(value, int) and value in _INT64 and value not in _INT32
    if declared == "float":
        return isinstance(value, int | float) and math.isfinite(value)
    return False


def _of_columns(
    decoded: Decoded, violations: Mapping[int, Violation], stream: Stream
) -> dict[str, str]:
    """Return the types of undeclared columns with values, and wider ones of declared columns."""
    narrow = {each.field for each in violations.values() if each.code in _TOO_NARROW}
    found: dict[str, str] = {}
    for name, column in decoded.columns.items():
        kind = decoded.types.get(name, column.type)
        text = None if kind is None else _text_of(kind)
        if column.null_count == len(column) or text is None:
            continue
        declared = stream.fields.get(name)
        if declared is None:
            if may_be_column(name, stream):
                found[name] = text
        elif name in narrow and is_wider(declared.type.arrow, FieldType.parse(text).arrow):
            found[name] = text
    return found


def _text_of(kind: pa.DataType) -> str | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz is not None else None
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})" if 0 <= kind.scale else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element = None if pa.types.is_list(kind.value_type) else _text_of(kind.value_type)
        return None if element is None else f"list<{element}>"
    return _TEXTS.get(kind)


def note(table: LakeTable, stream: Stream, types: Mapping[str, str]) -> dict[str, str]:
    """Add fields to those that the table says evolved, and return all of them; idempotent.

    Of two processes that add the same field at once the wider type holds.

    Raises:
        CatalogBusyError, DatabaseUnavailableError: A retry is safe.

    """
    merged: dict[str, str] = {}

    def changes_of(metadata: TableMetadata) -> Mapping[str, str | None]:
        before = _told(metadata.properties, stream)
        merged.clear()
        merged.update(before)
        for name, text in types.items():
            old = before.get(name)
            if old is None or is_wider(FieldType.parse(old).arrow, FieldType.parse(text).arrow):
                merged[name] = text
        if merged == before:
            return {}
        return {EVOLVED_PREFIX + stream.name: json.dumps(merged, sort_keys=True)}

    move_properties(table, changes_of)
    return dict(merged)


def _told(properties: Mapping[str, str], stream: Stream) -> dict[str, str]:
    return json.loads(properties.get(EVOLVED_PREFIX + stream.name, "{}"))
