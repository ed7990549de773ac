"""Reads one Avro value, exactly: what is not of its schema is refused, never taken for something near.

fastavro takes a negative index of a symbol or of a branch from the end, and cuts numbers of more than
64 bits.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from headrace.ingest.decoding.avro_types import Node
from headrace.ingest.sources.base import RECORD_BYTES_MAX

Read = Callable[
    [bytes, int], tuple[Any, int]
]  # of a value and a place in it: what is there, what follows
_BYTES_OF_LONG = 10
_ITEMS_MAX = RECORD_BYTES_MAX  # of one array; a record has no more bytes, but null takes none


def reader_of(node: Node, named: Mapping[str, Node | None]) -> Read:
    """Return how to read values of a type.

    Reading raises ValueError, IndexError or `struct.error` for a value that is not of the type, and
    RecursionError for one that is too deep.
    """
    made: dict[str, Read] = {}

    def make(each: Node) -> Read:
        if each.kind == "named":
            return lambda data, at: later(each.names[0])(data, at)
        inner = [make(part) for part in each.inner]
        return _MADE[each.kind](each, inner)

    def later(name: str) -> Read:
        if name not in made:
            made[name] = make(named[name] or Node(kind="null"))
        return made[name]

    return make(node)


def _long(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(_BYTES_OF_LONG):
        byte = data[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if number >= 1 << 64:
                break
            return number >> 1 ^ -(number & 1), at + place + 1
    msg = "a number of more than 64 bits"
    raise ValueError(msg)


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _long(data, at)
    return _fixed(data, at, length)


def _fixed(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if not 0 <= length <= len(data) - at:
        msg = f"{length} bytes where {len(data) - at} are left"
        raise ValueError(msg)
    return data[at : at + length], at + length


def _text(data: bytes, at: int) -> tuple[str, int]:
    found, at = _bytes(data, at)
    return found.decode(), at


def _index(data: bytes, at: int, count: int) -> tuple[int, int]:
    number, at = _long(data, at)
    if not 0 <= number < count:
        msg = f"number {number} of {count}"
        raise ValueError(msg)
    return number, at


def _numbers(form: str) -> Read:
    packed = struct.Struct(form)

    def read(data: bytes, at: int) -> tuple[float, int]:
        return packed.unpack_from(data, at)[0], at + packed.size

    return read


def _enum(node: Node, _: list[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        number, at = _index(data, at, len(node.names))
        return node.names[number], at

    return read


def _union(_: Node, inner: list[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        number, at = _index(data, at, len(inner))
        return inner[number](data, at)

    return read


def _record(node: Node, inner: list[Read]) -> Read:
    parts = list(zip(node.names, inner, strict=True))

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        for name, part in parts:
            found[name], at = part(data, at)
        return found, at

    return read


def _array(_: Node, inner: list[Read]) -> Read:
    (item,) = inner

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            count, at = _long(data, at)
            if not count:
                return found, at
            if count < 0:
                count, at = -count, _long(data, at)[1]
            if len(found) + count > _ITEMS_MAX:
                msg = f"{count} items"
                raise ValueError(msg)
            for _ in range(count):
                value, at = item(data, at)
                found.append(value)

    return read


_MADE: Mapping[str, Callable[[Node, list[Read]], Read]] = {
    "null": lambda _node, _inner: lambda _data, at: (None, at),
    "boolean": lambda _node, _inner: lambda data, at: (data[at] != 0, at + 1),
    "long": lambda _node, _inner: _long,
    "float": lambda _node, _inner: _numbers("<f"),
    "double": lambda _node, _inner: _numbers("<d"),
    "bytes": lambda _node, _inner: _bytes,
    "string": lambda _node, _inner: _text,
    "fixed": lambda node, _inner: lambda data, at: _fixed(data, at, node.size),
    "enum": _enum,
    "union": _union,
    "record": _record,
    "array": _array,
}
