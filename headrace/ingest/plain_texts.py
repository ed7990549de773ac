"""Columns of texts that are plainly numbers or times are cast as they are: no pattern looks at each.

Arrow's cast accepts more than a contract does, such as `0x1F`, `nan` or an hour without minutes. Where
all bytes of a column are of an alphabet that leaves no such form, what it accepts is what a pattern would.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.types import TIMESTAMP

_TIME_BYTES_MIN = 20  # an hour without minutes has at most 19, with its offset


_WHOLE = b"0123456789-"
_POINT = b"0123456789-."
_TIME = b"0123456789-+:.TZ "


def cast_plain(texts: pa.StringArray, wanted: pa.DataType) -> pa.Array | None:
    """Return texts as `wanted`; None if one of them is not plainly of its form.

    Times may be outside of the years that a contract allows; numbers are exact and finite.
    """
    if pa.types.is_integer(wanted):
        return _cast(texts, wanted) if _has_only(texts, _WHOLE) else None
    if pa.types.is_floating(wanted):
        found = _cast(texts, wanted) if _has_only(texts, _POINT) else None
        return found if found is not None and _is_exact(found) else None
    if wanted == TIMESTAMP and _has_only(texts, _TIME):
        shortest = pc.min(pc.binary_length(texts)).as_py()
        if shortest is None or shortest >= _TIME_BYTES_MIN:
            return _cast(texts, wanted)
    return None


def _cast(texts: pa.Array, wanted: pa.DataType) -> pa.Array | None:
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        return None


def _is_exact(values: pa.Array) -> bool:
    """Whether all are so small that no whole number was rounded to one of them."""
    bits = np.finfo(values.type.to_pandas_dtype()).nmant + 1
    largest = pc.max(pc.abs(values)).as_py()
    return largest is None or largest < 2.0**bits


def _has_only(texts: pa.StringArray, alphabet: bytes) -> bool:
    _, places, content = texts.buffers()
    if content is None or not len(texts):
        return True
    bounds = np.frombuffer(places, dtype=np.int32)
    first, end = bounds[texts.offset], bounds[texts.offset + len(texts)]
    return not memoryview(content)[first:end].tobytes().translate(None, alphabet)
