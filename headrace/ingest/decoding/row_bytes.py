"""The bytes of each row of a batch: one row may be longer than all others together."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def rows_beyond(batch: pa.RecordBatch, limit_bytes: int) -> list[int]:
    """Find the rows whose texts, lists and structures take more than `limit_bytes` together."""
    varying = [column for column in batch.columns if not pa.types.is_primitive(column.type)]
    if sum(map(_longest_bytes, varying)) <= limit_bytes:
        return []
    total = np.zeros(batch.num_rows)
    for column in varying:
        total += _value_bytes(column)
    return np.flatnonzero(total > limit_bytes).tolist()


def _longest_bytes(column: pa.Array) -> int:
    """Return an upper bound for the longest value, without measuring each."""
    kind = column.type
    if kind in _TEXTS:
        return pc.max(pc.binary_length(column)).as_py() or 0
    if pa.types.is_list(kind) and pa.types.is_primitive(kind.value_type):
        return (pc.max(pc.list_value_length(column)).as_py() or 0) * (
            kind.value_type.bit_width // 8 + 1
        )
    if pa.types.is_dictionary(kind):
        return _longest_bytes(column.dictionary)
    return column.nbytes


def _value_bytes(column: pa.Array) -> np.ndarray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        of_each = np.append(_value_bytes(column.dictionary), 0)  # the last one stands for null
        places = pc.fill_null(column.indices.cast(pa.int64()), len(column.dictionary))
        return of_each[places.to_numpy(zero_copy_only=False)]
    if pa.types.is_struct(kind):
        return sum(map(_value_bytes, column.flatten()), np.zeros(len(column)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        offsets = column.offsets.to_numpy(zero_copy_only=False)
        ends = np.append(0, np.cumsum(_value_bytes(column.values)))
        return ends[offsets[1:]] - ends[offsets[:-1]]
    if kind in _TEXTS:
        return pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return np.full(len(column), column.nbytes / max(1, len(column)))
