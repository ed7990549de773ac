"""Canonical values: Arrow columns of any physical type as the 64-bit words the hash counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.datasets.mixing import fold
from headrace.errors import ContentTypeError

U64 = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Array = Any  # pyarrow ships no types; any pa.Array

_NAN = np.uint64(0x7FF8000000000000)
# A null inside a list; different in both lanes, so that no integer equals it in both.
_NULL_ELEMENT = (np.uint64(0x6E756C6C5F5F5F30), np.uint64(0x31A7E5C3D902B48F))
_TAIL_MASKS = np.array([(1 << (8 * n)) - 1 if n else (1 << 64) - 1 for n in range(8)], np.uint64)
_WORD_BYTES = 8


@dataclass(frozen=True)
class Words:
    """One 64-bit word per value and lane; the words under a null mean nothing."""

    lanes: tuple[U64, U64]
    nulls: Mask | None


def kind_of(data_type: pa.DataType, *, column: str) -> str:
    """Name what values of this type are, whatever their width or encoding.

    Raises:
        ContentTypeError: If the type has no canonical form.

    """
    if isinstance(data_type, pa.BaseExtensionType):
        return kind_of(data_type.storage_type, column=column)
    if pt.is_dictionary(data_type):
        return kind_of(data_type.value_type, column=column)
    if pt.is_decimal(data_type):
        return f"decimal({data_type.scale})"
    if pt.is_timestamp(data_type):
        return "timestamp" if data_type.tz is None else "timestamptz"
    if _is_list(data_type):
        return f"list<{kind_of(data_type.value_type, column=column)}>"
    for test, kind in _KINDS:
        if test(data_type):
            return kind
    raise ContentTypeError(column, str(data_type), allowed="a scalar or list type of Iceberg")


def words_of(array: Array) -> Words:
    """Turn an Arrow array of a supported type into words.

    Equal values of one kind give equal words, whatever the physical type; `float32` is widened,
    `-0.0` is `0.0`, all NaN are one value, timestamps count microseconds.

    Raises:
        pyarrow.ArrowInvalid: If a value does not fit its canonical form, such as a timestamp with
            nanoseconds or an integer beyond 64 signed bits.

    """
    if isinstance(array, pa.ExtensionArray):
        return words_of(array.storage)
    data_type = array.type
    if pt.is_dictionary(data_type):
        return _dictionary(array)
    nulls = _nulls(array)
    if _is_bytes(data_type):
        return Words(_bytes(array), nulls)
    if _is_list(data_type):
        return Words(_lists(array), nulls)
    if pt.is_decimal(data_type):
        return Words(_decimals(array), nulls)
    narrow = _floats(array) if pt.is_floating(data_type) else _integers(array)
    return Words((narrow, narrow), nulls)


def _nulls(array: Array) -> Mask | None:
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def _integers(array: Array) -> U64:
    data_type = array.type
    if pt.is_timestamp(data_type):
        array = array.cast(pa.timestamp("us", tz=data_type.tz))
    elif pt.is_time(data_type):
        array = array.cast(pa.time64("us"))
    elif pt.is_date(data_type):
        array = array.cast(pa.date32()).view(pa.int32())
    elif pt.is_boolean(data_type):
        array = array.cast(pa.int8())
    if pt.is_temporal(array.type):
        return _values(array, np.dtype(np.int64)).view(np.uint64)
    return _values(array.cast(pa.int64()), np.dtype(np.int64)).view(np.uint64)


def _floats(array: Array) -> U64:
    # Adding 0.0 turns -0.0 into 0.0 and copies, so the caller's buffer stays as it is.
    values = _values(array.cast(pa.float64()), np.dtype(np.float64)) + 0.0
    words = values.view(np.uint64)
    np.copyto(words, _NAN, where=np.isnan(values))
    return words


def _decimals(array: Array) -> tuple[U64, U64]:
    array = array.cast(pa.decimal128(38, array.type.scale))
    halves = _values(array, np.dtype(np.uint64), per_value=2)
    count = len(array)
    sizes = np.full(count, 2, dtype=np.int64)
    lengths = sizes.view(np.uint64)
    return (
        fold(halves, lane=0, sizes=sizes, lengths=lengths),
        fold(halves, lane=1, sizes=sizes, lengths=lengths),
    )


def _bytes(array: Array) -> tuple[U64, U64]:
    if not any(test(array.type) for test in _PLAIN_BYTES):
        array = array.cast(pa.large_binary())
    wide = pt.is_large_string(array.type) or pt.is_large_binary(array.type)
    offsets = _offsets(array, wide=wide)
    first, last = int(offsets[0]), int(offsets[-1])
    data = array.buffers()[2]
    padded = np.zeros(last - first + _WORD_BYTES, dtype=np.uint8)
    if last > first:
        padded[:-_WORD_BYTES] = np.frombuffer(
            data, dtype=np.uint8, count=last - first, offset=first
        )
    lengths = np.diff(offsets)
    sizes = (lengths + (_WORD_BYTES - 1)) // _WORD_BYTES
    words = _gather(padded, starts=offsets[:-1] - first, lengths=lengths, sizes=sizes)
    counted = lengths.view(np.uint64)
    return (
        fold(words, lane=0, sizes=sizes, lengths=counted),
        fold(words, lane=1, sizes=sizes, lengths=counted),
    )


def _gather(
    padded: npt.NDArray[np.uint8],
    *,
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> U64:
    """Cut each byte string into little-endian words, the last one padded with zero bytes."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    at = np.arange(total, dtype=np.int64)
    at -= np.repeat(ends - sizes, sizes)
    at *= _WORD_BYTES
    at += np.repeat(starts, sizes)
    window = np.ndarray((len(padded) - _WORD_BYTES + 1,), np.dtype("<u8"), padded, strides=(1,))
    words = window[at]
    filled = sizes > 0
    words[ends[filled] - 1] &= _TAIL_MASKS[lengths[filled] % _WORD_BYTES]
    return words


def _lists(array: Array) -> tuple[U64, U64]:
    if not pt.is_list(array.type) and not pt.is_large_list(array.type):
        array = array.cast(pa.large_list(array.type.value_type))
    offsets = _offsets(array, wide=pt.is_large_list(array.type))
    elements = words_of(array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
    sizes = np.diff(offsets)
    lanes: list[U64] = []
    for lane in (0, 1):
        words = elements.lanes[lane]
        if elements.nulls is not None:
            words = np.where(elements.nulls, _NULL_ELEMENT[lane], words)
        lanes.append(fold(words, lane=lane, sizes=sizes, lengths=sizes.view(np.uint64)))
    return lanes[0], lanes[1]


def _dictionary(array: Array) -> Words:
    values = words_of(array.dictionary)
    nulls = _nulls(array)
    indices = array.indices
    if nulls is not None:
        if not len(array.dictionary):
            empty = np.zeros(len(array), dtype=np.uint64)
            return Words((empty, empty), nulls)
        indices = pc.fill_null(indices, 0)
    at = indices.to_numpy(zero_copy_only=False)
    if values.nulls is not None:
        missing = values.nulls[at]
        nulls = missing if nulls is None else nulls | missing
    return Words((values.lanes[0][at], values.lanes[1][at]), nulls)


def _values(array: Array, dtype: np.dtype[Any], *, per_value: int = 1) -> npt.NDArray[Any]:
    """View the value buffer, slots under nulls included."""
    count = len(array) * per_value
    if not count:
        return np.empty(0, dtype=dtype)
    start = array.offset * per_value * dtype.itemsize
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=count, offset=start)


def _offsets(array: Array, *, wide: bool) -> npt.NDArray[np.int64]:
    if not len(array):
        return np.zeros(1, dtype=np.int64)
    dtype = np.dtype(np.int64 if wide else np.int32)
    start = array.offset * dtype.itemsize
    found = np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array) + 1, offset=start)
    return found.astype(np.int64)


def _is_list(data_type: pa.DataType) -> bool:
    # No list views: pyarrow 26 casts them to lists with wrong offsets.
    return pt.is_list(data_type) or pt.is_large_list(data_type) or pt.is_fixed_size_list(data_type)


def _is_text(data_type: pa.DataType) -> bool:
    return pt.is_string(data_type) or pt.is_large_string(data_type) or pt.is_string_view(data_type)


def _is_blob(data_type: pa.DataType) -> bool:
    return (
        pt.is_binary(data_type)
        or pt.is_large_binary(data_type)
        or pt.is_fixed_size_binary(data_type)
        or pt.is_binary_view(data_type)
    )


def _is_bytes(data_type: pa.DataType) -> bool:
    return _is_text(data_type) or _is_blob(data_type)


_PLAIN_BYTES = (pt.is_string, pt.is_large_string, pt.is_binary, pt.is_large_binary)
_KINDS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pt.is_integer, "int"),
    (pt.is_floating, "float"),
    (pt.is_boolean, "bool"),
    (_is_text, "string"),
    (_is_blob, "binary"),
    (pt.is_date, "date"),
    (pt.is_time, "time"),
)
