"""The live rows of one data file: those that no position or equality delete file deletes.

Rows to rewrite are read here and not by DuckDB, which does not verify page checksums: a flipped bit
would get a fresh checksum and stay undetected.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent

from headrace.dml.keys import NONE, KeySet
from headrace.errors import CorruptFileError
from headrace.iceberg import schema
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path
from headrace.tables.version import FileEntry, TableVersion, read_entry, read_file


def live_rows(
    version: TableVersion, entry: FileEntry, wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Read a file of a version as `wanted`, whose fields carry Iceberg ids; no batch is empty.

    Raises:
        CorruptFileError: If the file or one of its delete files is missing or damaged.

    """
    with version.advising():
        yield from _live_rows(version, entry, wanted)


def _live_rows(
    version: TableVersion, entry: FileEntry, wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    table, mapping = str(version.name), version.metadata.name_mapping()
    by_value = tuple(each for each in entry.deletes if _is_by_value(each))
    if not by_value:
        yield from _not_empty(
            read_entry(entry, wanted, io=version.io, table=table, mapping=mapping)
        )
        return
    deleted = [
        _deleted_values(tuple(each.file_path for each in files), ids, wanted, version.io)
        for ids, files in _by_columns(by_value).items()
    ]
    by_position = tuple(each for each in entry.deletes if not _is_by_value(each))
    others = dataclasses.replace(entry, deletes=by_position)
    needed = pa.schema([*wanted, *(field for each in deleted for field in each.fields)])
    for batch in read_entry(others, needed, io=version.io, table=table, mapping=mapping):
        kept = np.ones(batch.num_rows, bool)
        start = len(wanted)
        for each in deleted:
            end = start + len(each.fields)
            kept &= each.values.find(batch.columns[start:end]) == NONE
            start = end
        yield from _not_empty([batch.select(range(len(wanted))).filter(pa.array(kept))])


@dataclass(frozen=True, kw_only=True)
class _Deleted:
    """Values that delete each row that has all of them, and the columns to compare them with."""

    fields: tuple[pa.Field, ...]
    values: KeySet


def _is_by_value(file: DataFile) -> bool:
    return file.content == DataFileContent.EQUALITY_DELETES


def _not_empty(
    batches: Iterator[pa.RecordBatch] | Sequence[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)


def _by_columns(files: Sequence[DataFile]) -> dict[tuple[int, ...], list[DataFile]]:
    groups: dict[tuple[int, ...], list[DataFile]] = {}
    for file in files:
        groups.setdefault(tuple(sorted(file.equality_ids or ())), []).append(file)
    return groups


# each data file of a partition needs the partition's delete files
@lru_cache(maxsize=4)
def _deleted_values(
    locations: tuple[str, ...], ids: tuple[int, ...], wanted: pa.Schema, io: FileIO
) -> _Deleted:
    types = {schema.field_id(f): f.type for f in wanted}
    parts: list[pa.Table] = []
    for path in map(local_path, locations):
        with reading(path), open_input(io, path) as source:
            stored = {schema.field_id(f): f for f in pq.read_schema(source)}
        missing = [each for each in ids if each not in stored]
        if missing:
            raise CorruptFileError(
                path, f"it deletes by column {missing[0]}, which it does not have"
            )
        fields = pa.schema([_named(stored[each], types) for each in ids])
        parts.append(pa.Table.from_batches(read_file(path, fields, io=io), _plain(fields)))
    together = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    found = [f.with_metadata({schema.FIELD_ID: f.name.encode()}) for f in together.schema]
    columns = [column.combine_chunks() for column in together.columns]
    return _Deleted(fields=tuple(found), values=KeySet(columns))


def _named(field: pa.Field, types: dict[int | None, pa.DataType]) -> pa.Field:
    """Rename a column to its field id, which no column name equals, and cast it to its current type."""
    key = schema.field_id(field)
    kind = types.get(key, field.type)
    return pa.field(str(key), kind, metadata={schema.FIELD_ID: str(key).encode()})


def _plain(fields: pa.Schema) -> pa.Schema:
    return pa.schema([f.remove_metadata() for f in fields])
