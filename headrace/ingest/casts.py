"""Columns of another type than declared, of files whose columns have types: what becomes of each value is exact.

Beside what `values` converts: whole numbers to texts, truth values to whole numbers and back, numbers
with zeros behind the point to whole ones, decimals to floats that say the same digits, and lists,
structs and maps by their parts. A value that would lose something is refused; a column of which every
value would is refused with its file.
"""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.decimals import DIGITS_MAX
from headrace.definitions.types import TIME
from headrace.ingest.values import (
    NOT_EXACT,
    NOT_FINITE,
    WRONG_TYPE,
    Converted,
    convert,
    holds,
    merged,
    only_finite,
    refuse,
)

_SAFE_DIGITS = {pa.float32(): 6, pa.float64(): 15}  # decimals of so few digits are told apart
_WHOLE_MAX = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}
_UUID_BYTES = 16


def can_cast(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a column's type can become values of the declared type without loss."""
    found = _stored(found)
    if pt.is_struct(wanted):
        children = {found.field(at).name: found.field(at).type for at in range(found.num_fields)}
        parts = (wanted.field(at) for at in range(wanted.num_fields))
        return pt.is_struct(found) and all(
            each.name not in children or can_cast(children[each.name], each.type) for each in parts
        )
    if pt.is_map(wanted):
        return pt.is_map(found) and all(
            can_cast(*each)
            for each in ((found.key_type, wanted.key_type), (found.item_type, wanted.item_type))
        )
    if pt.is_list(wanted):
        return _is_list(found) and can_cast(found.value_type, wanted.value_type)
    if holds(found, wanted):
        return True
    if pt.is_string(wanted):
        return pt.is_integer(found) or pt.is_boolean(found) or _is_uuid(found)
    if pt.is_boolean(wanted):
        return pt.is_integer(found)
    if pt.is_integer(wanted):
        return pt.is_boolean(found) or pt.is_floating(found) or pt.is_decimal(found)
    if pt.is_floating(wanted):
        return pt.is_decimal(found)
    if pt.is_binary(wanted):
        return pt.is_large_binary(found) or pt.is_fixed_size_binary(found)
    return wanted == TIME and pt.is_time(found)


def cast(column: pa.Array, wanted: pa.DataType, *, rounds: bool = False) -> Converted:
    """Convert a column to the declared type; a row that would lose something becomes null and an error."""
    if pt.is_dictionary(column.type):
        column = column.dictionary_decode()
    found = column.type
    if pt.is_null(found) or (pt.is_list(wanted) and not rounds and holds(found, wanted)):
        return convert(column, wanted)
    if pt.is_struct(wanted):
        return _struct(column, wanted, rounds=rounds)
    if pt.is_map(wanted):
        return _map(column, wanted, rounds=rounds)
    if pt.is_list(wanted):
        return _list(column, wanted, rounds=rounds)
    if pt.is_floating(wanted):
        return _float(column, wanted, rounds=rounds)
    if pt.is_integer(wanted):
        return _whole(column, wanted)
    return _other(column, wanted)


def _other(column: pa.Array, wanted: pa.DataType) -> Converted:
    found = column.type
    if pt.is_string(wanted) and _is_uuid(found):
        texts = [
            None if each is None else str(uuid.UUID(bytes=each)) for each in _stored_in(column)
        ]
        return Converted(pa.array(texts, wanted), {})
    if pt.is_boolean(wanted) and pt.is_integer(found):
        other = pc.invert(pc.is_in(column, value_set=pa.array([0, 1], found)))
        shaped = refuse(column, pc.and_(other, pc.is_valid(column)), WRONG_TYPE)
        return merged(shaped, Converted(shaped.values.cast(wanted), {}))
    if pt.is_string(wanted) and (pt.is_integer(found) or pt.is_boolean(found)):
        return Converted(column.cast(wanted), {})
    if pt.is_binary(wanted):
        return Converted(column.cast(wanted), {})
    if wanted == TIME and pt.is_time(found):
        return Converted(column.cast(wanted, safe=False), {})  # nanoseconds are cut off
    return convert(column, wanted)


def _float(column: pa.Array, wanted: pa.DataType, *, rounds: bool) -> Converted:
    if pt.is_decimal(column.type):
        # by its text: pyarrow 26 casts one decimal in eight to a float beside the nearest one
        done = Converted(column.cast(pa.string()).cast(wanted), {})
        return only_finite(done) if rounds else merged(done, _same_digits(column, done.values))
    if pt.is_integer(column.type) and rounds:
        return Converted(column.cast(wanted, safe=False), {})
    return convert(column, wanted)


def _stored(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pt.is_dictionary(kind) else kind


def _is_list(kind: pa.DataType) -> bool:
    return pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)


def _is_uuid(kind: pa.DataType) -> bool:
    return getattr(kind, "extension_name", "") == "arrow.uuid"


def _stored_in(column: pa.Array) -> list[Any]:
    """Return what the values of an extension type are stored as."""
    return column.storage.to_pylist()


def _whole(column: pa.Array, wanted: pa.DataType) -> Converted:
    """Convert numbers with nothing behind the point; a float beyond its digits may have lost some."""
    if pt.is_boolean(column.type):
        return Converted(column.cast(wanted), {})
    if pt.is_decimal(column.type):
        part = refuse(column, pc.not_equal(pc.trunc(column), column), WRONG_TYPE)
        # without digits behind the point: a zero with many is written `0E-18`
        whole = part.values.cast(pa.decimal256(DIGITS_MAX, 0))
        return merged(part, convert(whole.cast(pa.string()), wanted))
    if not pt.is_floating(column.type):
        return convert(column, wanted)
    exact_max = _WHOLE_MAX[column.type]
    if pt.is_float16(column.type):
        column = column.cast(pa.float32())  # pyarrow 26 does not truncate half floats
    finite = refuse(column, pc.invert(pc.is_finite(column)), NOT_FINITE)
    part = refuse(finite.values, pc.not_equal(pc.trunc(finite.values), finite.values), WRONG_TYPE)
    far = pc.greater_equal(pc.abs(part.values), float(exact_max))
    near = refuse(part.values, far, NOT_EXACT)
    numbers = near.values.cast(pa.float64()).cast(pa.int64())
    return merged(merged(finite, part), merged(near, convert(numbers, wanted)))


def _same_digits(column: pa.Array, floats: pa.Array) -> Converted:
    """Refuse decimals that the nearest float does not say with the same digits."""
    digits, scale = _SAFE_DIGITS[floats.type], column.type.scale
    errors: dict[int, str] = {}
    if column.type.precision > digits:
        least = pa.scalar(Decimal(10) ** (digits - scale), pa.decimal256(DIGITS_MAX, max(0, scale)))
        large = pc.greater_equal(pc.abs(column.cast(pa.decimal256(DIGITS_MAX, scale))), least)
        for row in pc.indices_nonzero(pc.fill_null(large, False)).to_pylist():
            written = Decimal(f"{floats[row].as_py():.{max(0, scale)}f}")
            if written != column[row].as_py():
                errors[row] = NOT_EXACT
    return Converted(_without(floats, errors), errors)


def _without(column: pa.Array, errors: Mapping[int, str]) -> pa.Array:
    if not errors:
        return column
    bad = np.zeros(len(column), dtype=bool)
    bad[list(errors)] = True
    return pc.if_else(pa.array(bad), pa.scalar(None, column.type), column)


def _map(column: pa.Array, wanted: pa.DataType, *, rounds: bool) -> Converted:
    column = pa.concat_arrays([column])  # a list with nulls cannot be made of a slice
    pairs = pa.StructArray.from_arrays([column.keys, column.items], names=["key", "value"])
    lists = pa.ListArray.from_arrays(column.offsets, pairs, mask=column.is_null())
    pair = pa.struct([("key", wanted.key_type), ("value", wanted.item_type)])
    done = _list(lists, pa.list_(pair), rounds=rounds)
    made = pa.MapArray.from_arrays(
        done.values.offsets,
        *(pc.struct_field(done.values.values, name) for name in ("key", "value")),
        type=wanted,
        mask=done.values.is_null(),
    )
    return Converted(made, done.errors)


def _struct(column: pa.Array, wanted: pa.StructType, *, rounds: bool) -> Converted:
    errors: dict[int, str] = {}
    parts: list[pa.Array] = []
    names = [column.type.field(at).name for at in range(column.type.num_fields)]
    for each in (wanted.field(at) for at in range(wanted.num_fields)):
        if each.name not in names:
            parts.append(pa.nulls(len(column), each.type))
            continue
        done = cast(pc.struct_field(column, each.name), each.type, rounds=rounds)
        for row, code in done.errors.items():
            errors.setdefault(row, code)
        parts.append(done.values)
    fields = [wanted.field(at) for at in range(wanted.num_fields)]
    made = pa.StructArray.from_arrays(parts, fields=fields, mask=column.is_null())
    return Converted(_without(made, errors), errors)


def _list(column: pa.Array, wanted: pa.DataType, *, rounds: bool) -> Converted:
    if pt.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    offsets, values = column.offsets, column.values
    lengths = np.diff(offsets.to_numpy())
    empty = column.is_null().to_numpy(zero_copy_only=False)
    if empty.any() and lengths[empty].any():  # values under null lists do not count
        values, lengths = column.flatten(), np.where(empty, 0, lengths)
        offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    first, last = (int(offsets[at].as_py()) for at in (0, len(offsets) - 1))
    done = cast(values.slice(first, last - first), wanted.value_type, rounds=rounds)
    parents = np.repeat(np.arange(len(lengths)), lengths)
    errors: dict[int, str] = {}
    for element, code in done.errors.items():
        errors.setdefault(int(parents[element]), code)
    moved = pc.subtract(offsets, pa.scalar(first, offsets.type)).cast(pa.int32())
    made = pa.ListArray.from_arrays(
        moved, done.values, type=wanted, mask=column.is_null() if empty.any() else None
    )
    return Converted(_without(made, errors), errors)
