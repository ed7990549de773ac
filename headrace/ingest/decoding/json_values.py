"""One JSON value as its declared type, exactly or not at all."""

import re
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa

from headrace.ingest.decoding.decoded import INVALID_UTF8
from headrace.ingest.values import NOT_EXACT, NOT_FINITE, OUT_OF_RANGE, WRONG_TYPE, is_exact

_INT64 = range(-(2**63), 2**63)
_DECIMAL_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_EXACT_WHOLE = re.compile(r"(-?[0-9]+)\.0+", re.ASCII)
_BITS_LOST, _HALF_LOST = (
    (1 << 29) - 1,
    1 << 28,
)  # of a double that becomes a float, and half of their unit
_LEAST_NORMAL, _LARGEST = 2.0**-126, 3.4028234e38  # between them a float has all of its bits
_DIGITS_MAX = 400  # beyond every type; Python parses at most 4,300, in quadratic time


class Number:
    """A number with a point or an exponent, as written; the contract decides which type it gets."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:  # also within lists, in messages
        return self.text


def whole_number(text: str) -> int | Number:
    """Read a whole number of JSON; the first digits suffice for one that exceeds every type."""
    return Number("-0.0") if text == "-0" else int(text[:_DIGITS_MAX])


class Pairs:
    """A JSON object as written, with repeated keys."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items

    def __repr__(self) -> str:  # also within lists, in messages
        return "{…}"


class CoercionError(Exception):
    """A value does not have the declared type; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code


def coerce(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401  (a JSON value)
    """Return a JSON value as its declared type.

    Raises:
        CoercionError: If it is of another one.

    """
    if value is None:
        return None
    if pa.types.is_string(kind) or pa.types.is_temporal(kind):
        return _text(value)
    if pa.types.is_boolean(kind):
        if not isinstance(value, bool):
            raise CoercionError(WRONG_TYPE)
        return value
    if isinstance(value, bool):
        raise CoercionError(WRONG_TYPE)
    if pa.types.is_integer(kind):
        return _whole(value)
    if pa.types.is_floating(kind):
        return _float(value, kind)
    if pa.types.is_decimal(kind):
        return _decimal(value, kind)
    return _nested(value, kind)


def _nested(value: object, kind: pa.DataType) -> Any:  # noqa: ANN401  (of a list, a struct or a map)
    if not pa.types.is_list(kind):
        return _object(value, kind)
    if not isinstance(value, list):
        raise CoercionError(WRONG_TYPE)
    return [coerce(element, kind.value_type) for element in value]  # pyright: ignore[reportUnknownVariableType]


def _object(value: object, kind: pa.DataType) -> Any:  # noqa: ANN401  (of a struct or a map)
    """Return an object as a dict of its declared keys, or as the pairs of a map."""
    if not isinstance(value, Pairs):
        raise CoercionError(WRONG_TYPE)
    given = dict(value.items)
    if len(given) < len(value.items):  # a key is there twice
        raise CoercionError(WRONG_TYPE)
    if pa.types.is_map(kind):
        return [(_text(name), coerce(each, kind.item_type)) for name, each in given.items()]
    children = (kind.field(at) for at in range(kind.num_fields))
    return {child.name: coerce(given.get(child.name), child.type) for child in children}


def _whole(value: object) -> int:
    if isinstance(value, Number) and (exact := _EXACT_WHOLE.fullmatch(value.text)):
        value = int(exact[1][:_DIGITS_MAX])
    if not isinstance(value, int):
        raise CoercionError(WRONG_TYPE)
    if value not in _INT64:
        raise CoercionError(OUT_OF_RANGE)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise CoercionError(WRONG_TYPE)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise CoercionError(INVALID_UTF8) from None
    return value


def _float(value: object, kind: pa.DataType) -> float:
    if isinstance(value, Number):
        return _nearest(value.text, kind)
    if isinstance(
        value, float
    ):  # NaN and the infinities, which JSON does not have, but Python reads
        return value
    if not isinstance(value, int):
        raise CoercionError(WRONG_TYPE)
    try:
        read = float(value)
    except OverflowError:
        raise CoercionError(NOT_FINITE) from None
    if not is_exact(value, kind):
        raise CoercionError(NOT_EXACT)
    return read


def _nearest(text: str, kind: pa.DataType) -> float:
    """Return the value of a floating type that is nearest to a number: rounded once, as Arrow reads it."""
    wide = float(text)
    if kind == pa.float64() or not wide:
        return wide
    (bits,) = struct.unpack("<q", struct.pack("<d", wide))
    is_halfway = bits & _BITS_LOST == _HALF_LOST  # between two floats: the text may be beside it
    if _LEAST_NORMAL < abs(wide) < _LARGEST and not is_halfway:
        return struct.unpack("<f", struct.pack("<f", wide))[0]
    try:
        return pa.scalar(text).cast(kind).as_py()
    except pa.ArrowInvalid:  # beyond the type
        return wide


def _decimal(value: object, kind: pa.DataType) -> Decimal:
    if not isinstance(value, str | int | float | Number):
        raise CoercionError(WRONG_TYPE)
    text = str(value)
    if not _DECIMAL_TEXT.fullmatch(text):
        raise CoercionError(OUT_OF_RANGE if isinstance(value, Number) else WRONG_TYPE)
    exact = Decimal(text)
    try:
        pa.scalar(exact, kind)
    except pa.ArrowInvalid:
        raise CoercionError(OUT_OF_RANGE) from None
    return exact
