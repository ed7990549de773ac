"""Which columns of a data file get a dictionary, decided from the file's first rows."""

import pyarrow as pa
import pyarrow.compute as pc

# A dictionary of values that hardly repeat is the column again plus 17 bits a row that do not
# compress: 40 % of a file of impressions and half the CPU of writing it (measured).
_LOOK_ROWS = 4_096
_LOOK_SHARE_MAX = 0.9
_SHARE_MAX = 0.5


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
    """Count the first rows, and all only where those hardly repeat: most columns are told by a look."""
    look = column.slice(0, _LOOK_ROWS)
    if _distinct(look) <= _LOOK_SHARE_MAX * len(look):
        return True
    return _distinct(column) <= _SHARE_MAX * len(column)


def _distinct(column: pa.ChunkedArray) -> int:
    if isinstance(column.type, pa.BaseExtensionType):  # a uuid is counted as its bytes
        column = column.cast(column.type.storage_type)
    return pc.count_distinct(column, mode="all").as_py()
