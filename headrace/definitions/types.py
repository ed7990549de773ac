"""The field types of contracts, and their Arrow types."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from headrace.identifiers import is_plain

TIMESTAMP = pa.timestamp("us", tz="UTC")
TIME = pa.time64("us")
SIMPLE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": TIMESTAMP,
}
_MORE = {"time": TIME, "binary": pa.binary()}  # which no text and no window holds
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_NESTED = re.compile(r"(list|map|struct)<(.*)>", re.DOTALL)
_PRECISION_MAX = 38
_LENGTH_MAX, _SHOWN_MAX = 1_000, 60
ALLOWED = (
    *SIMPLE,
    *_MORE,
    "decimal(p,s)",
    "list<type>",
    "map<string, type>",
    "struct<name: type, ...>",
)


@dataclass(frozen=True)
class FieldType:
    """One declared type: its text in YAML, and its Arrow type."""

    text: str
    arrow: pa.DataType

    @classmethod
    def parse(cls, text: object) -> "FieldType":
        """Parse a type such as `long`, `decimal(18,4)` or `list<long>`.

        Raises:
            ValueError: If there is no such type; the message lists the allowed types.

        """
        if isinstance(text, FieldType):
            return text
        found = _arrow_type(text) if isinstance(text, str) and len(text) <= _LENGTH_MAX else None
        if found is None:
            allowed = ", ".join(f"`{name}`" for name in ALLOWED)
            msg = f"`{str(text)[:_SHOWN_MAX]}` is not a type; allowed are {allowed}"
            raise ValueError(msg)
        return cls(str(text).replace(" ", ""), found)


def nested_type(
    text: str, parse: Callable[[str], pa.DataType | None], name: Callable[[str], str | None]
) -> pa.DataType | None:
    """Parse a list, map or struct, its parts by `parse` and names of fields by `name`; None for others.

    Raises:
        ValueError: If a struct has a field twice.

    """
    found = _NESTED.fullmatch(text.strip())
    if found is None:
        return None
    kind, parts = found[1], _split(found[2])
    if kind == "list" and len(parts) == 1:
        element = parse(parts[0])
        return None if element is None else pa.list_(pa.field("element", element))
    if kind == "map" and len(parts) == 2:
        key, value = parse(parts[0]), parse(parts[1])
        return None if key is None or value is None else pa.map_(key, value)
    if kind != "struct" or not all(":" in part for part in parts):
        return None
    fields: dict[str, pa.DataType] = {}
    for part in parts:
        before, _, after = part.partition(":")
        said, child = name(before.strip()), parse(after)
        if said in fields:
            msg = f"`{text[:_SHOWN_MAX]}` has a field twice"
            raise ValueError(msg)
        if said is None or child is None:
            return None
        fields[said] = child
    return pa.struct([pa.field(said, child) for said, child in fields.items()])


def is_plain_list(kind: pa.DataType) -> bool:
    """Whether a type is a list of values that are not nested, as every format and room has them."""
    return pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type)


def formats_of(kind: pa.DataType) -> tuple[str, ...]:
    """Return the formats whose records can hold values of a type. A list in CSV is written as JSON."""
    if _has(kind, pa.types.is_binary):
        return ("parquet",)
    if pa.types.is_nested(kind) and not is_plain_list(kind):
        return ("parquet", "json")
    if _has(kind, pa.types.is_time):
        return ("parquet", "json", "csv")
    return ("parquet", "json", "csv", "avro", "protobuf")


def _has(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    """Whether a type is one, or has one inside."""
    inner = [kind.field(at).type for at in range(kind.num_fields)]
    return test(kind) or any(_has(each, test) for each in inner)


def _arrow_type(text: str) -> pa.DataType | None:
    text = text.strip()
    if text in SIMPLE or text in _MORE:
        return SIMPLE.get(text) or _MORE[text]
    if decimal := _DECIMAL.fullmatch(text):
        precision, scale = int(decimal[1]), int(decimal[2])
        fits = 0 < precision <= _PRECISION_MAX and scale <= precision
        return pa.decimal128(precision, scale) if fits else None
    found = nested_type(text, _arrow_type, lambda name: name if is_plain(name) else None)
    if found is not None and pa.types.is_map(found) and found.key_type != pa.string():
        return None
    return found


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
