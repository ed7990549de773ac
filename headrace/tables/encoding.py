"""Which columns of a data file get a dictionary, decided from the file's first rows."""

import math
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A dictionary of values that hardly repeat is the column again plus 17 bits a row that do not
# compress: 40 % of a file of impressions and half the CPU of writing it (measured).
_LOOK_ROWS = 4_096
_LOOK_SHARE_MAX = 0.9
_SHARE_MAX = 0.5
_SAMPLE_ROWS = 8_192  # counting 131,072 rows took a fifth of the time of writing them
# n rows drawn from n / _ROWS_PER_VALUE values hold _SHARE_MAX * n different ones
_ROWS_PER_VALUE = 1.5936


def dictionary_columns(rows: pa.Table) -> list[str]:
    """Name the Parquet columns, by their path, whose values repeat enough for a dictionary.

    Pure, so equal rows give equal files. What is inside of lists and structs always gets one.
    """
    return [
        path
        for field in rows.schema
        for path in _paths(field, field.name)
        if pa.types.is_nested(field.type) or _repeats(rows.column(field.name))
    ]


def _paths(field: pa.Field, path: str) -> list[str]:
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        # pyarrow calls it `element` whatever the type says
        return _paths(kind.value_field, f"{path}.list.element")
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _paths(child, f"{path}.{child.name}")]
    return [path]


def _repeats(column: pa.ChunkedArray) -> bool:
    """Look at the first rows, and where those hardly repeat at rows from everywhere."""
    look = column.slice(0, _LOOK_ROWS)
    if _distinct(look) <= _LOOK_SHARE_MAX * len(look):
        return True
    if len(column) <= 2 * _SAMPLE_ROWS:
        return _distinct(column) <= _SHARE_MAX * len(column)
    sample = column.take(_places(len(column)))
    return _distinct(sample) <= _sample_share_max(len(column)) * _SAMPLE_ROWS


@lru_cache(maxsize=16)
def _places(rows: int) -> pa.Array:
    """Draw the rows of a sample, always the same: any pattern of steps would miss some repetition."""
    draw = np.random.RandomState(0)  # the newer generators may change their numbers
    return pa.array(np.sort(draw.choice(rows, _SAMPLE_ROWS, replace=False)))


def _sample_share_max(rows: int) -> float:
    """Say which share of a sample's rows differ if `_SHARE_MAX` of all do."""
    # k draws from m values hit m * (1 - exp(-k / m)) of them
    draws_per_value = _ROWS_PER_VALUE * _SAMPLE_ROWS / rows
    return (1 - math.exp(-draws_per_value)) / draws_per_value


def _distinct(column: pa.ChunkedArray) -> int:
    if isinstance(column.type, pa.BaseExtensionType):  # a uuid is counted as its bytes
        column = column.cast(column.type.storage_type)
    return pc.count_distinct(column, mode="all").as_py()
