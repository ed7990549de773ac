"""Arrow arrays of numbers that numpy holds, without a copy.

Not `pyarrow.array`: it imports pandas, where that is installed, which takes a second.
"""

import numpy as np
import pyarrow as pa


def array_of(values: np.ndarray, kind: pa.DataType, valid: np.ndarray | None = None) -> pa.Array:
    """Return numbers as an array of a type of the same width, null where they are not valid."""
    known = None if valid is None or valid.all() else _packed(valid)
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [known, buffer])


def bits(values: np.ndarray) -> pa.Array:
    """Return truths as an array."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _packed(values)])


def there(count: int, where: np.ndarray | None = None) -> pa.Array:
    """Say that values are there: at all places, or at some."""
    known = None
    if where is not None:
        known = np.zeros(count, dtype=bool)
        known[where] = True
    return array_of(np.ones(count, np.int8), pa.int8(), known)


def spans(data: pa.Buffer, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """Return parts of bytes, one behind the other: every second of the pieces that all are cut into."""
    if not len(starts):
        return pa.array([], pa.binary())
    cuts = np.empty(2 * len(starts), dtype=np.int32)
    cuts[::2], cuts[1::2] = starts, ends
    pieces = pa.Array.from_buffers(pa.binary(), len(cuts) - 1, [None, pa.py_buffer(cuts), data])
    return pieces.take(array_of(np.arange(0, len(cuts), 2), pa.int64()))


def _packed(values: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
