"""Which column types the online store keeps, and entity keys exactly as the view has them."""

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from headrace.decimals import rescaled
from headrace.errors import EntityKeyError, UnservableColumnError
from headrace.serving.store import EntityKey, Scalar, ViewState

_READERS_KEPT = 256


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


def exact_keys(state: ViewState, entities: Sequence[Mapping[str, object]]) -> list[EntityKey]:
    """Take a view's key from each set of entity values, each value as the type of its column.

    Equal values in another form are converted: a numpy integer, a time in another zone, a decimal
    of another scale. Conversions that would guess are refused: `"1"`, `1.0` and `True` are not 1.

    Raises:
        EntityKeyError: Naming view and column.

    """
    return list(zip(*(_parts(state, name, entities) for name in state.entity), strict=True))


def _parts(state: ViewState, name: str, entities: Sequence[Mapping[str, object]]) -> list[Scalar]:
    kind: pa.DataType = state.schema.field(name).type
    given = [each.get(name) for each in entities]
    if _are_exact(given, kind):
        return cast("list[Scalar]", given)
    read, found = _reader(kind), list[Scalar]()
    for each, value in zip(entities, given, strict=True):
        exact = read(value)
        if exact is None and isinstance(value, np.generic):
            exact = read(value.item())
        if exact is None:
            raise _refused(state.view, name, kind, each)
        found.append(exact)
    return found


def _are_exact(values: Sequence[object], kind: pa.DataType) -> bool:
    """Whether values are texts or integers of their column, as most keys are: seen without a call for each."""
    kinds = set(map(type, values))
    if kinds == {int} and pt.is_integer(kind):
        least, end = _bounds(kind)
        integers = cast("Sequence[int]", values)
        return least <= min(integers) and max(integers) < end
    return kinds == {str} and (pt.is_string(kind) or pt.is_large_string(kind))


def _refused(
    view: str, name: str, kind: pa.DataType, entities: Mapping[str, object]
) -> EntityKeyError:
    if name not in entities:
        return EntityKeyError(view, name, detail="which is not given")
    value = entities[name]
    said = "null" if value is None else f"`{value!r}` of type {type(value).__name__}"
    detail = f"a column of type {kind}: {said} would be a guess, give it exactly"
    return EntityKeyError(view, name, detail=detail)


@functools.lru_cache(maxsize=_READERS_KEPT)
def _reader(kind: pa.DataType) -> Callable[[object], Scalar]:
    """Return what makes of a value the one that the store keeps, or None if its type is another."""
    if pt.is_decimal(kind):
        return functools.partial(_decimal, precision=kind.precision, scale=kind.scale)
    if pt.is_timestamp(kind):
        return _moment
    if pt.is_fixed_size_binary(kind):
        return functools.partial(_bytes, length=kind.byte_width)
    if pt.is_binary(kind) or pt.is_large_binary(kind):
        return _bytes
    if pt.is_integer(kind):
        least, end = _bounds(kind)
        return functools.partial(_integer, least=least, end=end)
    if pt.is_string(kind) or pt.is_large_string(kind):
        return lambda value: str(value) if isinstance(value, str) else None
    if pt.is_boolean(kind):
        return lambda value: value if isinstance(value, bool) else None
    if pt.is_date(kind):
        return _day
    return lambda _: None


def _bounds(kind: pa.DataType) -> tuple[int, int]:
    """Return the least integer of a type, and the first one beyond it."""
    bits = kind.bit_width - pt.is_signed_integer(kind)
    return -(1 << bits) if pt.is_signed_integer(kind) else 0, 1 << bits


def _bytes(value: object, *, length: int | None = None) -> bytes | None:
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    exact = bytes(value)
    return exact if length is None or len(exact) == length else None


def _integer(value: object, *, least: int, end: int) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if least <= value < end else None


def _decimal(value: object, *, precision: int, scale: int) -> Decimal | None:
    if not isinstance(value, Decimal | int) or isinstance(value, bool):
        return None
    return rescaled(value, precision=precision, scale=scale)


def _day(value: object) -> dt.date | None:
    return value if isinstance(value, dt.date) and not isinstance(value, dt.datetime) else None


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
