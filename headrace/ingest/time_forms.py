"""Times that are no texts with an offset: numbers since 1970, clocks of a zone, texts of a declared form.

Digits beyond microseconds are cut off towards the past, as everywhere. A time that the clocks of its
zone never showed, or showed twice, is refused: which instant is meant is not known.
"""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream_field import StreamField
from headrace.definitions.types import TIMESTAMP
from headrace.ingest.casts import can_cast, cast
from headrace.ingest.values import (
    NO_SUCH_TIME,
    OUT_OF_RANGE,
    WRONG_TYPE,
    Converted,
    bounded,
    convert,
    holds,
    merged,
    refuse,
)

_PER_UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NS_PER_US = 1_000
_NUMBER = r"^[+-]?[0-9]{1,20}(\.[0-9]*)?$"
_NAIVE = pa.timestamp("us")
_CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?$"
_NUMBER_MAX = (
    10**18
)  # of whole microseconds or longer units: beyond it is no time that can be shown
_DIGITS_SAFE = 18
_DAY_TEXT = 10  # characters of a date
_FINER = r"(\.[0-9]{6})[0-9]+$"


def holds_field(found: pa.DataType, field: StreamField) -> bool:
    """Whether values of a column's type can be converted to a field."""
    if field.unit is not None:
        number = pa.types.is_integer(found) or pa.types.is_floating(found)
        return number or pa.types.is_decimal(found) or holds(found, TIMESTAMP)
    if field.timezone is not None and (pa.types.is_timestamp(found) or pa.types.is_date(found)):
        return True
    return can_cast(found, field.type.arrow)


def convert_field(column: pa.Array, field: StreamField) -> Converted:
    """Convert a column to a field's type, its times by the form that the field declares."""
    if field.plain_times or pa.types.is_null(column.type):
        return cast(column, field.type.arrow, rounds=field.rounds)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        return convert(column, TIMESTAMP)
    if field.unit is not None:
        return bounded(_since_1970(column, field.unit))
    if field.time_format is not None and not pa.types.is_temporal(column.type):
        return bounded(_by_format(column.cast(pa.string()), field.time_format, field.timezone))
    return bounded(_by_clock(column, field.timezone or "UTC"))


def _since_1970(column: pa.Array, unit: str) -> Converted:
    if pa.types.is_integer(column.type):
        if unit == "ns":
            return Converted(_us_of_ns(column).cast(TIMESTAMP), {})
        if pa.types.is_uint64(column.type):
            far = pc.greater(column, pa.scalar(_NUMBER_MAX, pa.uint64()))
        else:  # no absolute value: the least integer has none
            column = column.cast(pa.int64())
            far = pc.or_(pc.greater(column, _NUMBER_MAX), pc.less(column, -_NUMBER_MAX))
        done = refuse(column, far, OUT_OF_RANGE)
        return _of_us(done, _whole_us(done.values.cast(pa.int64()), unit))
    if pa.types.is_floating(column.type):
        finite = refuse(column, pc.invert(pc.is_finite(column)), WRONG_TYPE)
        per_us = _PER_UNIT_US.get(unit, 1 / _NS_PER_US)
        wide = pc.floor(pc.multiply(finite.values.cast(pa.float64()), float(per_us)))
        small = refuse(wide, pc.greater(pc.abs(wide), 1e18), OUT_OF_RANGE)
        return _of_us(merged(finite, small), small.values.cast(pa.int64()))
    if pa.types.is_decimal(column.type):
        return _of_decimals(column, unit)
    texts = column.cast(pa.string())
    shaped = refuse(texts, pc.invert(pc.match_substring_regex(texts, _NUMBER)), WRONG_TYPE)
    whole = not pc.any(pc.match_substring(shaped.values, ".")).as_py()
    if whole and not _is_long(shaped.values):
        numbers = pc.utf8_ltrim(shaped.values, "+").cast(pa.int64())
        return merged(shaped, _since_1970(numbers, unit))
    exact = [
        None if text is None else _us_of_text(text, unit) for text in shaped.values.to_pylist()
    ]
    far = refuse(
        shaped.values,
        pa.array([each is not None and abs(each) > 10**18 for each in exact]),
        OUT_OF_RANGE,
    )
    kept = [each if each is not None and abs(each) <= 10**18 else None for each in exact]
    return _of_us(merged(shaped, far), pa.array(kept, pa.int64()))


def _of_decimals(column: pa.Array, unit: str) -> Converted:
    per_us = Decimal(_PER_UNIT_US.get(unit, 0)) or Decimal(1) / _NS_PER_US
    wide = pc.multiply(column.cast(pa.decimal256(50, 12)), pa.scalar(per_us, pa.decimal256(10, 3)))
    whole = pc.floor(wide)
    near = refuse(whole, pc.greater(pc.abs(whole), pa.scalar(10**18, whole.type)), OUT_OF_RANGE)
    return _of_us(near, near.values.cast(pa.int64()))


def _is_long(texts: pa.Array) -> bool:
    """Whether a text may have more digits than an integer."""
    return (pc.max(pc.utf8_length(texts)).as_py() or 0) > _DIGITS_SAFE


def _us_of_ns(numbers: pa.Array) -> pa.Array:
    """Cut to microseconds; 64 bits of nanoseconds are few years."""
    wide = numbers if pa.types.is_uint64(numbers.type) else numbers.cast(pa.int64())
    whole = np.floor_divide(wide.fill_null(0).to_numpy(), _NS_PER_US).astype(np.int64)
    return pa.array(whole, mask=wide.is_null().to_numpy(zero_copy_only=False))


def _whole_us(numbers: pa.Array, unit: str) -> pa.Array:
    try:
        return pc.multiply_checked(numbers, _PER_UNIT_US[unit])
    except pa.ArrowInvalid:
        products = (None if x is None else x * _PER_UNIT_US[unit] for x in numbers.to_pylist())
        return pa.array([None if x is None or abs(x) > 2**62 else x for x in products], pa.int64())


def _us_of_text(text: str, unit: str) -> int:
    whole, _, fraction = text.partition(".")
    if unit == "ns":
        number = int(whole or 0)
        return (
            number // _NS_PER_US
            if not whole.startswith("-") or not fraction.strip("0")
            else (number - 1) // _NS_PER_US
        )
    digits = len(str(_PER_UNIT_US[unit])) - 1
    kept = fraction[:digits].ljust(digits, "0")
    magnitude = int(whole.lstrip("+-") or 0) * _PER_UNIT_US[unit] + int(kept or 0)
    if not whole.startswith("-"):
        return magnitude
    return -magnitude - bool(fraction[digits:].strip("0"))


def _of_us(done: Converted, counted: pa.Array) -> Converted:
    lost = pc.and_(pc.is_valid(done.values), pc.is_null(counted))
    far = refuse(done.values, lost, OUT_OF_RANGE)
    return Converted(counted.cast(TIMESTAMP), done.errors | far.errors)


def _by_clock(column: pa.Array, zone: str) -> Converted:
    """Read times and dates as the clocks of a zone show them; texts with an offset are read as such."""
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        if getattr(column.type, "unit", "") == "ns":
            column = pc.floor_temporal(column, unit="microsecond")
        return _in_zone(Converted(column.cast(_NAIVE), {}), zone)
    texts = column.cast(pa.string())
    naive = pc.fill_null(pc.match_substring_regex(texts, _CLOCK), False)
    others = convert(pc.if_else(naive, pa.scalar(None, pa.string()), texts), TIMESTAMP)
    clocks = pc.if_else(naive, texts, pa.scalar(None, pa.string()))
    clocks = pc.replace_substring_regex(clocks, _FINER, r"\1")
    is_day = pc.equal(pc.utf8_length(clocks), _DAY_TEXT)
    clocks = pc.if_else(is_day, pc.binary_join_element_wise(clocks, "00:00", " "), clocks)
    found = _in_zone(_parsed(clocks), zone)
    return Converted(pc.coalesce(found.values, others.values), found.errors | others.errors)


def _parsed(texts: pa.Array) -> Converted:
    try:
        return Converted(texts.cast(_NAIVE), {})
    except pa.ArrowInvalid:
        values: list[dt.datetime | None] = []
        errors: dict[int, str] = {}
        for at, text in enumerate(texts.to_pylist()):
            try:
                values.append(None if text is None else dt.datetime.fromisoformat(text))
            except ValueError:
                values.append(None)
                errors[at] = OUT_OF_RANGE
        return Converted(pa.array(values, _NAIVE), errors)


def _in_zone(done: Converted, zone: str) -> Converted:
    if zone == "UTC":
        return Converted(pc.assume_timezone(done.values, "UTC").cast(TIMESTAMP), done.errors)
    # a time that clocks showed twice has two instants, one that they never showed is moved
    first, last = (
        pc.assume_timezone(done.values, zone, ambiguous=side, nonexistent=side)
        for side in ("earliest", "latest")
    )
    unsure = pc.not_equal(first.cast(TIMESTAMP), last.cast(TIMESTAMP))
    kept = refuse(first.cast(TIMESTAMP), unsure, NO_SUCH_TIME)
    return merged(done, kept)


def _by_format(texts: pa.Array, form: str, zone: str | None) -> Converted:
    """Read each distinct text once."""
    words = texts.dictionary_encode()
    found: list[dt.datetime | None] = []
    wrong: set[int] = set()
    for at, text in enumerate(words.dictionary.to_pylist()):
        try:
            moment = dt.datetime.strptime(text, form)  # noqa: DTZ007  (its zone follows)
            found.append(moment.astimezone(dt.UTC) if zone is None else moment)
        except (ValueError, TypeError, OverflowError):
            found.append(None)
            wrong.add(at)
    if zone is None:
        values = pa.array(found, TIMESTAMP).take(words.indices)
        done = Converted(values, {})
    else:
        naive = pa.array(found, _NAIVE).take(words.indices)
        done = _in_zone(Converted(naive, {}), zone)
    indices = words.indices.to_pylist()
    return Converted(
        done.values,
        done.errors | {row: WRONG_TYPE for row, at in enumerate(indices) if at in wrong},
    )
