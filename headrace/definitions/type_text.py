"""Parse column types from text: the types of contracts, and also structs and maps."""

import pyarrow as pa

from headrace.definitions.types import SIMPLE, FieldType, nested_type
from headrace.identifiers import plain_name

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
    if text in _MORE:
        return _MORE[text]
    nested = nested_type(text, parse_type, lambda name: plain_name(name, kind="field name"))
    return _plain(text) if nested is None else nested


def _plain(text: str) -> pa.DataType:
    if text in _NEWER:
        msg = f"`{text}` is a type of format version 3, and headrace tables have version 2"
        raise ValueError(msg)
    try:
        return FieldType.parse(text).arrow
    except ValueError:
        msg = f"`{text}` is not a type; allowed are {_ALLOWED}"
        raise ValueError(msg) from None


def text_of_type(kind: pa.DataType) -> str:
    """Return the name that `parse_type` reads, or Arrow's name for a type without one."""
    if pa.types.is_list(kind):
        return f"list<{text_of_type(kind.value_type)}>"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_map(kind):
        return f"map<{text_of_type(kind.key_type)}, {text_of_type(kind.item_type)}>"
    if pa.types.is_struct(kind):
        children = (kind.field(at) for at in range(kind.num_fields))
        return (
            f"struct<{', '.join(f'{each.name}: {text_of_type(each.type)}' for each in children)}>"
        )
    plain = {**{arrow: name for name, arrow in SIMPLE.items()}, **{v: k for k, v in _MORE.items()}}
    return plain.get(kind, str(kind))
