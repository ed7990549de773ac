"""The values of a window view's states as its columns have them, and plain values of Arrow columns."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from headrace.clock import EPOCH_DAY, ONE_DAY
from headrace.decimals import EXACTLY
from headrace.definitions.windows import Slot
from headrace.serving.store import Value, from_epoch_us
from headrace.window_states import State, plain_result

_LONG_MAX = (1 << 63) - 1


def result_of(slot: Slot, state: State) -> Value:
    """Return the value that a state stands for, as the column's type has it."""
    plain = plain_result(slot, state)
    if slot.take == "last":
        kind = slot.input
        assert kind is not None  # only `count` has none
        return None if plain is None else tuple(value_of(each, kind) for each in plain)
    if slot.take == "sum" and not pt.is_decimal(slot.output):
        return plain if -_LONG_MAX - 1 <= plain <= _LONG_MAX else None
    return value_of(plain, slot.output)


def plain_of(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the plain values of a column."""
    if pt.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    if pt.is_date(column.type):
        return column.cast(pa.int32()).to_pylist()
    values = column.to_pylist()
    if pt.is_decimal(column.type):
        scale = column.type.scale
        return [None if value is None else int(value.scaleb(scale, EXACTLY)) for value in values]
    return values


def value_of(plain: Any, kind: pa.DataType) -> Value:  # noqa: ANN401  (a plain value)
    """Return the value of a plain one."""
    if plain is None:
        return None
    if pt.is_timestamp(kind):
        return from_epoch_us(plain)
    if pt.is_date(kind):
        return EPOCH_DAY + plain * ONE_DAY
    if pt.is_decimal(kind):
        return _decimal(plain, kind.scale)
    return plain


def _decimal(digits: int, scale: int) -> Decimal:
    sign = int(digits < 0)
    return Decimal((sign, tuple(map(int, str(abs(digits)))), -scale))
