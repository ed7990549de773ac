"""Which column types the online store keeps, and entity keys exactly as the view has them."""

import datetime as dt
import decimal
from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from headrace.errors import EntityKeyError, UnservableColumnError
from headrace.serving.store import EntityKey, Scalar, ViewState

_DIGITS_MAX = 76  # of a decimal that Arrow holds


def refuse_unservable(state: ViewState) -> None:
    """Check, before anything is written, that the store can keep every column of a view.

    Raises:
        UnservableColumnError: Naming the first column that it cannot keep.

    """
    for name in (*state.entity, *state.columns):
        kind: pa.DataType = state.schema.field(name).type
        if name in state.entity and not _is_key(kind):
            allowed = "an entity is an integer, a string, a boolean, bytes, a decimal or a time"
            raise UnservableColumnError(state.view, name, kind=str(kind), allowed=allowed)
        if not _is_value(kind):
            allowed = (
                "values are numbers, strings, bytes, dates, times with a zone, and lists of them"
            )
            raise UnservableColumnError(state.view, name, kind=str(kind), allowed=allowed)


def exact_key(state: ViewState, entities: Mapping[str, object]) -> EntityKey:
    """Take a view's key from entity values, each as the type of its column.

    Equal values in another form are converted: a numpy integer, a time in another zone, a decimal
    of another scale. Conversions that would guess are refused: `"1"`, `1.0` and `True` are not 1.

    Raises:
        EntityKeyError: Naming view and column.

    """
    return tuple(_part(state, name, entities) for name in state.entity)


def _part(state: ViewState, name: str, entities: Mapping[str, object]) -> Scalar:
    if name not in entities:
        raise EntityKeyError(state.view, name, detail="which is not given")
    kind: pa.DataType = state.schema.field(name).type
    value = entities[name]
    plain = value.item() if isinstance(value, np.generic) else value
    exact = _exact(plain, kind)
    if exact is None:
        said = "null" if value is None else f"`{value!r}` of type {type(value).__name__}"
        detail = f"a column of type {kind}: {said} would be a guess, give it exactly"
        raise EntityKeyError(state.view, name, detail=detail)
    return exact


def _exact(value: object, kind: pa.DataType) -> Scalar:
    """Return the value as the store keeps it, or None if its type is another."""
    if pt.is_decimal(kind):
        return _decimal(value, kind)
    if pt.is_timestamp(kind):
        return _moment(value)
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return _bytes(value, kind)
    if pt.is_integer(kind):
        return _integer(value, kind)
    if pt.is_string(kind) or pt.is_large_string(kind):
        return str(value) if isinstance(value, str) else None
    if pt.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if pt.is_date(kind) and isinstance(value, dt.date):
        return None if isinstance(value, dt.datetime) else value
    return None


def _bytes(value: object, kind: pa.DataType) -> bytes | None:
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    exact = bytes(value)
    return None if pt.is_fixed_size_binary(kind) and len(exact) != kind.byte_width else exact


def _integer(value: object, kind: pa.DataType) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    bits = kind.bit_width - pt.is_signed_integer(kind)
    least = -(1 << bits) if pt.is_signed_integer(kind) else 0
    return value if least <= value < 1 << bits else None


def _decimal(value: object, kind: pa.DataType) -> Decimal | None:
    if not isinstance(value, Decimal | int) or isinstance(value, bool):
        return None
    if not Decimal(value).is_finite():
        return None
    exactly = decimal.Context(prec=_DIGITS_MAX, traps=[decimal.Inexact, decimal.InvalidOperation])
    try:
        exact = Decimal(value).quantize(Decimal(1).scaleb(-kind.scale), context=exactly)
        return exact if len(exact.as_tuple().digits) <= kind.precision else None
    except (decimal.Inexact, decimal.InvalidOperation):
        return None


def _moment(value: object) -> dt.datetime | None:
    # pandas' times are datetimes with nanoseconds besides
    if not isinstance(value, dt.datetime) or getattr(value, "nanosecond", 0):
        return None
    return None if value.tzinfo is None else value.astimezone(dt.UTC)


def _is_key(kind: pa.DataType) -> bool:
    return _is_value(kind) and not (pt.is_floating(kind) or pt.is_list(kind))


def _is_value(kind: pa.DataType) -> bool:
    if pt.is_list(kind) or pt.is_large_list(kind):
        return _is_value(kind.value_type)
    if pt.is_timestamp(kind):
        return kind.tz is not None and kind.unit == "us"
    return any(
        is_one(kind)
        for is_one in (
            pt.is_boolean,
            pt.is_integer,
            pt.is_floating,
            pt.is_decimal,
            pt.is_date,
            pt.is_string,
            pt.is_large_string,
            pt.is_binary,
            pt.is_large_binary,
            pt.is_fixed_size_binary,
        )
    )
