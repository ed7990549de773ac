"""Parse column types from text: the types of contracts, and also structs and maps."""

import re

import pyarrow as pa

from headrace.definitions.types import SIMPLE, FieldType
from headrace.identifiers import plain_name

_NESTED = re.compile(r"(list|map|struct)<(.*)>", re.DOTALL)
_MORE = {"timestamp": pa.timestamp("us"), "time": pa.time64("us"), "binary": pa.binary()}
_NEWER = frozenset(
    {"timestamp_ns", "timestamptz_ns", "variant", "geometry", "geography", "unknown"}
)
_ALLOWED = (
    "`string`, `int`, `long`, `float`, `double`, `boolean`, `date`, `time`, `timestamp`, "
    "`timestamptz`, `binary`, `decimal(p,s)`, `list<type>`, `map<type, type>` and "
    "`struct<name: type, ...>`"
)


def parse_type(text: str) -> pa.DataType:
    """Parse a type such as `long`, `decimal(18,4)` or `list<struct<city: string, zip: string>>`.

    Raises:
        ValueError: If there is no such type; the message lists the allowed types.
        InvalidNameError: If a struct's field is not a plain lower-case identifier.

    """
    text = text.strip()
    nested = _NESTED.fullmatch(text)
    if nested is None:
        return _MORE[text] if text in _MORE else _plain(text)
    kind, parts = nested[1], _split(nested[2])
    if kind == "list" and len(parts) == 1:
        return pa.list_(pa.field("element", parse_type(parts[0])))
    if kind == "map" and len(parts) == 2:
        return pa.map_(parse_type(parts[0]), parse_type(parts[1]))
    if kind == "struct" and all(":" in part for part in parts):
        fields = [_field(part) for part in parts]
        names = [field.name for field in fields]
        if len(set(names)) == len(names):
            return pa.struct(fields)
        msg = f"`{text}` has a field twice"
        raise ValueError(msg)
    msg = f"`{text}` is not a type; allowed are {_ALLOWED}"
    raise ValueError(msg)


def _plain(text: str) -> pa.DataType:
    if text in _NEWER:
        msg = f"`{text}` is a type of format version 3, and headrace tables have version 2"
        raise ValueError(msg)
    try:
        return FieldType.parse(text).arrow
    except ValueError:
        msg = f"`{text}` is not a type; allowed are {_ALLOWED}"
        raise ValueError(msg) from None


def _field(text: str) -> pa.Field:
    name, _, kind = text.partition(":")
    return pa.field(plain_name(name.strip(), kind="field name"), parse_type(kind))


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


def text_of_type(kind: pa.DataType) -> str:
    """Return the name that `parse_type` reads, or Arrow's name for a type without one."""
    if pa.types.is_list(kind):
        return f"list<{text_of_type(kind.value_type)}>"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    plain = {**{arrow: name for name, arrow in SIMPLE.items()}, **{v: k for k, v in _MORE.items()}}
    return plain.get(kind, str(kind))
