"""Converts values to declared types, whole columns at a time.

Rules, the same for every format: whole numbers have no exponent, and behind a point only zeros; floats are finite; a time
has `Z` or an offset and is in the years 1 to 9999; digits beyond microseconds are cut off, which keeps the
order of times. A number with a point or an exponent becomes the nearest
floating value; a whole number is never rounded: where the type cannot hold it exactly, it is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.decimals import DIGITS_MAX
from headrace.definitions.types import TIMESTAMP
from headrace.ingest.plain_texts import cast_plain

WRONG_TYPE = "wrong_type"
OUT_OF_RANGE = "out_of_range"
NOT_FINITE = "not_finite"
NAIVE_TIME = "naive_time"
NO_SUCH_TIME = "no_such_time"
SHOWN_MAX = 80  # characters of a value in a message
NOT_EXACT = "not_exact"
# how many bits of a whole number a floating type holds exactly
INTEGER_BITS = {pa.float32(): 24, pa.float64(): 53}

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?"
_WHOLE = re.compile(r"[+-]?[0-9]+")
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_TIME = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_TOO_FINE = r"(\.[0-9]{6})[0-9]+"
_OTHERS_SHARE_MAX = 0.25  # of the texts of a column, which are then parsed apart
_ANY_WHOLE = pa.decimal256(DIGITS_MAX, 0)
_YEAR_1_US = -62_135_596_800_000_000
_YEAR_10000_US = 253_402_300_800_000_000
YEAR_1_DAYS = -719_162
YEAR_10000_DAYS = 2_932_897


@dataclass(frozen=True)
class Converted:
    """A column of the wanted type, and the error code of each row that could not be converted."""

    values: pa.Array
    errors: dict[int, str]


def is_exact(number: int, kind: pa.DataType) -> bool:
    """Whether a floating type holds this whole number exactly, its range aside."""
    odd = number // (number & -number) if number else 0
    return odd.bit_length() <= INTEGER_BITS[kind]


def holds(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a column's type can be converted to the declared type."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_list(wanted):
        return _is_list(found) and holds(found.value_type, wanted.value_type)
    if pa.types.is_null(found) or _is_text(found):
        return True
    if pa.types.is_timestamp(wanted):
        return pa.types.is_timestamp(found) and found.tz is not None
    if pa.types.is_integer(wanted):
        return pa.types.is_integer(found)
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(found) or pa.types.is_integer(found)
    if pa.types.is_decimal(wanted):
        return pa.types.is_decimal(found) or pa.types.is_integer(found)
    return found == wanted or (pa.types.is_date(wanted) and pa.types.is_date(found))


def convert(column: pa.Array, wanted: pa.DataType) -> Converted:
    """Convert a column to the declared type; a row that cannot be converted becomes null and an error."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return Converted(pa.nulls(len(column), wanted), {})
    if pa.types.is_list(wanted):
        return _convert_list(column, wanted)
    if _is_text(column.type):
        column = column.cast(pa.string())
        return Converted(column, {}) if pa.types.is_string(wanted) else _parse(column, wanted)
    return _convert_typed(column, wanted)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _convert_list(column: pa.Array, wanted: pa.DataType) -> Converted:
    lists = column.cast(pa.list_(column.type.value_type))
    lists = pa.concat_arrays([lists])  # offsets start at 0, also for a slice
    inner = convert(lists.flatten(), wanted.value_type)
    parents = lists.value_parent_indices().to_numpy(zero_copy_only=False)
    errors: dict[int, str] = {}
    for element, code in inner.errors.items():
        errors.setdefault(int(parents[element]), code)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    mask = lists.is_null() if lists.null_count else None
    rebuilt = pa.ListArray.from_arrays(offsets, inner.values, type=wanted, mask=mask)
    return Converted(_without(rebuilt, errors), errors)


def _convert_typed(column: pa.Array, wanted: pa.DataType) -> Converted:
    if pa.types.is_timestamp(wanted):
        if column.type.unit == "ns":
            # in UTC: by the clocks of a zone an hour that they show twice cannot be rounded
            column = column.cast(pa.timestamp("ns", tz="UTC"))
            column = pc.floor_temporal(column, unit="microsecond")
        return bounded(_cast(column, wanted, code=OUT_OF_RANGE))
    if pa.types.is_floating(wanted):
        done = only_finite(Converted(column.cast(wanted, safe=False), {}))
        return _exact(done, column) if pa.types.is_integer(column.type) else done
    if pa.types.is_decimal(wanted) and pa.types.is_integer(column.type):
        column = column.cast(_ANY_WHOLE)  # arrow asks for room for every value of the type
    done = _cast(column, wanted, code=OUT_OF_RANGE)
    return bounded(done) if pa.types.is_date(wanted) else done


def _parse(column: pa.Array, wanted: pa.DataType) -> Converted:
    """Parse text as `wanted`: all at once if it is plain, else check its form first, then its value."""
    plain = cast_plain(column, wanted)
    if plain is not None:
        done = Converted(plain, {})
        return bounded(done) if pa.types.is_timestamp(wanted) else done
    if pa.types.is_timestamp(wanted):
        return _parse_some_times(column)
    if pa.types.is_integer(wanted):
        shaped = _shaped(column, r"-?[0-9]+(\.0*)?")
        whole = shaped.values
        if pc.any(pc.match_substring(whole, ".")).as_py():
            whole = pc.replace_substring_regex(whole, r"\..*", "")
        return merged(shaped, _cast(whole, wanted, code=OUT_OF_RANGE))
    if pa.types.is_floating(wanted):
        shaped = _shaped(column, rf"{_NUMBER}|(?i:[+-]?(nan|inf|infinity))")
        done = only_finite(merged(shaped, _cast(shaped.values, wanted, code=WRONG_TYPE)))
        return _exact(done, column)
    if pa.types.is_boolean(wanted):
        shaped = _shaped(column, r"(?i:true|false)|0|1")
        return merged(shaped, _cast(shaped.values, wanted, code=WRONG_TYPE))
    if pa.types.is_decimal(wanted):
        shaped = _shaped(column, _NUMBER)
        return merged(shaped, _cast(shaped.values, wanted, code=OUT_OF_RANGE))
    if pa.types.is_time(wanted):
        shaped = _shaped(column, _CLOCK)
        cut = pc.replace_substring_regex(shaped.values, _TOO_FINE, r"\1")
        moments = pc.binary_join_element_wise(pa.scalar("1970-01-01"), cut, " ")
        done = merged(shaped, _cast(moments, pa.timestamp("us"), code=OUT_OF_RANGE))
        return Converted(done.values.cast(wanted), done.errors)
    shaped = _shaped(column, r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
    return bounded(merged(shaped, _cast(shaped.values, wanted, code=OUT_OF_RANGE)))


def _parse_some_times(column: pa.Array) -> Converted:
    """Parse those in UTC all at once if they are plain, and then only the others by their form."""
    others = pc.invert(pc.fill_null(pc.ends_with(column, "Z"), True))
    rows = pc.indices_nonzero(others)
    if not 0 < len(rows) < len(column) * _OTHERS_SHARE_MAX:
        return _parse_times(column)
    plain = cast_plain(pc.if_else(others, pa.scalar(None, column.type), column), TIMESTAMP)
    if plain is None:
        return _parse_times(column)
    done = bounded(Converted(plain, {}))
    rest = _parse_times(column.take(rows))
    places = rows.to_pylist()
    errors = {places[row]: code for row, code in rest.errors.items()}
    values = pc.replace_with_mask(done.values, others, rest.values)
    return Converted(values, done.errors | errors)


def _parse_times(column: pa.Array) -> Converted:
    zoned = _shaped(column, _TIME + _ZONE)
    errors = dict(zoned.errors)
    if errors:
        rows = list(errors)
        naive = pc.match_substring_regex(column.take(pa.array(rows)), f"^(?:{_TIME})$")
        errors |= {
            row: NAIVE_TIME
            for row, is_naive in zip(rows, naive.to_pylist(), strict=True)
            if is_naive
        }
    texts = zoned.values
    if pc.any(pc.match_substring_regex(texts, _TOO_FINE)).as_py():
        texts = pc.replace_substring_regex(texts, _TOO_FINE, r"\1")
    done = _cast(texts, TIMESTAMP, code=OUT_OF_RANGE)
    return bounded(Converted(done.values, done.errors | errors))


def _shaped(column: pa.Array, pattern: str) -> Converted:
    """Refuse texts that do not match `pattern`."""
    fits = pc.match_substring_regex(column, f"^(?:{pattern})$")
    return refuse(column, pc.invert(fits), WRONG_TYPE)


def only_finite(done: Converted) -> Converted:
    """Refuse NaN and the infinities."""
    return merged(done, refuse(done.values, pc.invert(pc.is_finite(done.values)), NOT_FINITE))


def _exact(done: Converted, written: pa.Array) -> Converted:
    """Refuse whole numbers, as numbers or as text, that the floating type rounded."""
    kind = done.values.type
    large = pc.greater_equal(pc.abs(done.values), 2.0 ** INTEGER_BITS[kind])
    rows = pc.indices_nonzero(pc.fill_null(large, False))
    texts = written.take(rows).cast(pa.string()).to_pylist()
    errors = {
        row: NOT_EXACT
        for row, text in zip(rows.to_pylist(), texts, strict=True)
        if _WHOLE.fullmatch(text) and not is_exact(int(text.lstrip("+-0")), kind)
    }
    return merged(done, Converted(_without(done.values, errors), errors))


def bounded(done: Converted) -> Converted:
    """Refuse times and dates outside the years 1 to 9999, which no engine can show."""
    if pa.types.is_timestamp(done.values.type):
        number, low, high = pa.int64(), _YEAR_1_US, _YEAR_10000_US
    else:
        number, low, high = pa.int32(), YEAR_1_DAYS, YEAR_10000_DAYS
    numbers = done.values.cast(number)
    outside = pc.or_(pc.less(numbers, low), pc.greater_equal(numbers, high))
    return merged(done, refuse(done.values, outside, OUT_OF_RANGE))


def refuse(column: pa.Array, bad: pa.Array, code: str) -> Converted:
    """Set rows that are `bad` to null, with an error code."""
    rows = np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False))
    errors = {int(row): code for row in rows}
    return Converted(_without(column, errors), errors)


def merged(first: Converted, second: Converted) -> Converted:
    """Return the values of the second step, with the errors of both."""
    return Converted(second.values, second.errors | first.errors)


def _without(column: pa.Array, errors: dict[int, str]) -> pa.Array:
    """Set rows with an error to null."""
    if not errors:
        return column
    keep = np.ones(len(column), dtype=bool)
    keep[list(errors)] = False
    return pc.if_else(pa.array(keep), column, pa.scalar(None, column.type))


def _cast(column: pa.Array, wanted: pa.DataType, *, code: str) -> Converted:
    """Cast; values that do not fit are found by bisection, so a few bad ones cost little."""
    errors: dict[int, str] = {}
    parts: list[pa.Array] = []
    _cast_halves(column, lambda part: _checked(part.cast(wanted)), 0, parts, errors, code)
    values = parts[0] if len(parts) == 1 else pa.concat_arrays(parts or [pa.nulls(0, wanted)])
    return Converted(values.cast(wanted), errors)


def _checked(column: pa.Array) -> pa.Array:
    """Validate decimals: Arrow's readers let some with more digits than their type pass."""
    if pa.types.is_decimal(column.type):
        column.validate(full=True)
    return column


def _cast_halves(
    column: pa.Array,
    cast: Callable[[pa.Array], pa.Array],
    first: int,
    parts: list[pa.Array],
    errors: dict[int, str],
    code: str,
) -> None:
    try:
        parts.append(cast(column))
    except pa.ArrowInvalid:
        if len(column) == 1:
            errors[first] = code
            parts.append(cast(pa.nulls(1, column.type)))
            return
        half = len(column) // 2
        _cast_halves(column[:half], cast, first, parts, errors, code)
        _cast_halves(column[half:], cast, first + half, parts, errors, code)


def shown(value: object) -> str:
    """Quote a value for a message: short and printable."""
    text = str(value).encode(errors="replace").decode()
    text = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
    if not text.isprintable():  # a terminal would obey it
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return f"`{text}`"
