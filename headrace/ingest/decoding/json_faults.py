"""Finds which JSON lines keep a whole batch from being parsed: a fast typed reader looks at each.

Only a guess that saves time. What it finds at fault is decoded singly, which judges it exactly, and what
it misses fails again.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa

from headrace.ingest.sources.line_block import LineBlock

_LINES_READ = 16  # at once, before each by itself
_READERS_MAX = 64  # one for each contract, and each set of undeclared keys that it accepts
_LONG = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_REFUSED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
Decoder = msgspec.json.Decoder[Any]


@lru_cache(maxsize=_READERS_MAX)
def reader_of(
    fields: tuple[pa.Field, ...], nulls: tuple[str, ...], *, strict: bool
) -> Decoder | None:
    """Make a reader of objects with these fields, each of which may be left out or null.

    Returns None where a key has characters that this reader cannot have in names.
    """
    wanted = {field.name: _python_type(field.type) for field in fields}
    wanted |= dict.fromkeys(nulls, None)
    try:
        return msgspec.json.Decoder(_object_of(wanted, strict=strict))
    except ValueError:
        return None


def misfitting(reader: Decoder, lines: LineBlock, at: np.ndarray) -> list[int]:
    """Return the places in `at` of lines that the reader refuses."""
    data, found = lines.data, list[int]()
    starts, ends = lines.starts[at].tolist(), lines.ends[at].tolist()
    for first in range(0, len(starts), _LINES_READ):
        last = min(first + _LINES_READ, len(starts)) - 1
        if at[last] - at[first] == last - first and _are_read(
            reader, data[starts[first] : ends[last]]
        ):
            continue
        for place in range(first, last + 1):
            try:
                reader.decode(data[starts[place] : ends[place]])
            except _REFUSED:
                found.append(place)
    return found


def _are_read(reader: Decoder, text: bytes) -> bool:
    try:
        reader.decode_lines(text)
    except _REFUSED:
        return False
    return True


def repeating(lines: LineBlock, at: np.ndarray) -> list[int]:
    """Return the places in `at` of lines that have more keys than usual, and fewer different ones.

    Keys of objects inside are counted too, so it finds too many where there are any.
    """
    places = zip(lines.starts[at].tolist(), lines.ends[at].tolist(), strict=True)
    counts = np.array([lines.data.count(b'":', start, end) for start, end in places])
    usual = np.bincount(counts).argmax()
    return [
        place
        for place in np.flatnonzero(counts > usual).tolist()
        if _different_keys(lines[at[place]]) < counts[place]
    ]


def _different_keys(line: bytes) -> int:
    try:
        return len(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
    except _REFUSED:
        return 0


def _object_of(wanted: Mapping[str, Any], *, strict: bool) -> type[msgspec.Struct]:
    names = {f"f{number}": key for number, key in enumerate(wanted)}
    return msgspec.defstruct(
        "Record",
        [(name, _or_null(wanted[key]), None) for name, key in names.items()],
        rename=names,
        forbid_unknown_fields=strict,
        gc=False,
    )


def _python_type(kind: pa.DataType) -> Any:  # noqa: ANN401  (a type, or an annotated one)
    """Return what a value of JSON is in Python; `Any` where the reader is not to judge it."""
    if pa.types.is_struct(kind):
        return _object_of({field.name: _python_type(field.type) for field in kind}, strict=False)
    if pa.types.is_list(kind):
        return list[_or_null(_python_type(kind.value_type))]
    if pa.types.is_int64(kind):
        return _LONG
    if pa.types.is_floating(kind):
        return float
    if pa.types.is_boolean(kind):
        return bool
    return str if pa.types.is_string(kind) else Any


def _or_null(kind: Any) -> Any:  # noqa: ANN401  (as above)
    """Return a type that takes null as well; keys that are always null have no other."""
    return kind if kind in (Any, None) else kind | None
