"""Equality deletes: the values that delete rows of a data file, as sets to compare rows with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile

from headrace.errors import CorruptFileError
from headrace.iceberg import schema
from headrace.iceberg.keys import NONE, KeySet
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path

_Reader = Callable[..., Iterator[pa.RecordBatch]]
# each commit of upserts adds a small file that applies to every older data file
_KEPT_FILES_MAX, _KEPT_BYTES_MAX = 1024, 64 * 1024


@dataclass(frozen=True, kw_only=True)
class DeletedValues:
    """Values that delete each row that has all of them, and the columns to compare them with."""

    fields: tuple[pa.Field, ...]
    values: KeySet

    def spare(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Return which rows stay, given the columns of `fields`."""
        return self.values.find(columns) == NONE


def deleted_values(
    files: Sequence[DataFile], wanted: pa.Schema, *, io: FileIO, read: _Reader
) -> list[DeletedValues]:
    """Read equality delete files; one set for each combination of columns.

    Args:
        files: The equality deletes of one data file.
        wanted: The columns that are read of it: values are cast to the types these have now.
        io: Opens the files.
        read: Reads one Parquet file, as `version.read_file`.

    Raises:
        CorruptFileError: If a file is missing or damaged, or lacks a column it deletes by.

    """
    groups: dict[tuple[int, ...], list[_File]] = {}
    for file in files:
        found = _File(local_path(file.file_path), file.file_size_in_bytes)
        groups.setdefault(tuple(sorted(file.equality_ids or ())), []).append(found)
    return [_values(tuple(each), ids, wanted, io, read) for ids, each in groups.items()]


class _File(NamedTuple):
    path: str
    bytes: int


# each data file of a partition needs the partition's delete files
@lru_cache(maxsize=4)
def _values(
    files: tuple[_File, ...], ids: tuple[int, ...], wanted: pa.Schema, io: FileIO, read: _Reader
) -> DeletedValues:
    parts = [
        (_kept if file.bytes <= _KEPT_BYTES_MAX else _rows)(file.path, ids, wanted, io, read)
        for file in files
    ]
    together = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    found = [f.with_metadata({schema.FIELD_ID: f.name.encode()}) for f in together.schema]
    columns = [column.combine_chunks() for column in together.columns]
    return DeletedValues(fields=tuple(found), values=KeySet(columns))


def _rows(
    path: str, ids: tuple[int, ...], wanted: pa.Schema, io: FileIO, read: _Reader
) -> pa.Table:
    """Read one delete file."""
    types = {schema.field_id(f): f.type for f in wanted}
    with reading(path), open_input(io, path) as source:
        stored = {schema.field_id(f): f for f in pq.read_schema(source)}
    missing = [each for each in ids if each not in stored]
    if missing:
        raise CorruptFileError(path, f"it deletes by column {missing[0]}, which it does not have")
    fields = pa.schema([_named(stored[each], types) for each in ids])
    return pa.Table.from_batches(read(path, fields, io=io), _plain(fields))


_kept = lru_cache(maxsize=_KEPT_FILES_MAX)(_rows)


def _named(field: pa.Field, types: dict[int | None, pa.DataType]) -> pa.Field:
    """Rename a column to its field id, which no column name equals, and cast it to its current type."""
    key = schema.field_id(field)
    kind = types.get(key, field.type)
    return pa.field(str(key), kind, metadata={schema.FIELD_ID: str(key).encode()})


def _plain(fields: pa.Schema) -> pa.Schema:
    return pa.schema([f.remove_metadata() for f in fields])
