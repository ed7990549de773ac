"""Rows deleted by value: the equality deletes of the format, applied by us.

DuckDB 1.5.5 takes rows away whose value is null, whatever the deletes say (`test_equality`), and
pyiceberg 0.12 refuses such tables. Where rows are written anew that would lose them for good.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import (
    DataFileContent,
    ManifestContent,
    ManifestEntry,
)
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import NameMapping

from headrace.errors import UnsupportedTableError
from headrace.tables import deletes, manifests, schema
from headrace.tables.files import local_path
from headrace.tables.scan import FileEntry, TableVersion, read_file

_KEY = "key_{}"  # what a column to compare is called while it is read, by its field id


class ValueDeletes:
    """What equality deletes of one snapshot take away from some of its data files.

    A row is deleted if a delete file that is younger than its data file has its values in all
    columns the delete file names; null is equal to null alone. Every delete file is read once.
    """

    def __init__(self, sets: Sequence["_ValueSet"]) -> None:
        self._sets = sets

    @classmethod
    def of(cls, version: TableVersion, entries: Iterable[FileEntry]) -> "ValueDeletes":
        """Read the delete files that apply to `entries`.

        Raises:
            CorruptFileError: If one is missing or damaged.
            UnsupportedTableError: If one compares fields inside of structs.

        """
        wanted = {
            each.file_path
            for entry in entries
            for each in entry.deletes
            if each.content == DataFileContent.EQUALITY_DELETES
        }
        if not wanted:
            return cls([])
        metadata, io = version._metadata, version._io
        listed = manifests.manifests_of(version._snapshot, io)
        found = manifests.live_entries(listed, io, content=ManifestContent.DELETES)
        alike: dict[Any, list[ManifestEntry]] = {}
        for entry in found:
            file = entry.data_file
            if file.file_path in wanted:
                place = tuple(file.partition[i] for i in range(len(file.partition)))
                kind = (tuple(file.equality_ids or ()), file.spec_id, place)
                alike.setdefault(kind, []).append(entry)
        return cls(
            [
                _ValueSet.read(members, metadata, table=str(version.name))
                for members in alike.values()
            ]
        )

    def rows_left(
        self, entry: FileEntry, wanted: pa.Schema, *, mapping: NameMapping | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read the rows of one file that no delete file takes away, by position or by value.

        Raises:
            CorruptFileError: If the file, or one with positions, is missing or damaged.

        """
        mine = {each.file_path for each in entry.deletes}
        sets = [each for each in self._sets if each.paths & mine]
        keys = {field_id: field for each in sets for field_id, field in each.fields.items()}
        places = {field_id: len(wanted) + at for at, field_id in enumerate(keys)}
        # a column to compare may be none of the table's any more
        everything = pa.schema([*wanted, *keys.values()])
        by_position = [d for d in entry.deletes if not deletes.has_equality([d])]
        gone = deletes.deleted_positions(by_position, location=entry.data_file.file_path)
        start = 0
        for batch in read_file(entry.path, everything, mapping=mapping):
            first, last = np.searchsorted(gone, (start, start + batch.num_rows))
            left = np.ones(batch.num_rows, bool)
            left[gone[first:last] - start] = False
            start += batch.num_rows
            for each in sets:
                columns = [batch.column(places[field_id]) for field_id in each.fields]
                left &= each.latest(columns) <= entry.sequence
            plain = pa.RecordBatch.from_arrays(
                batch.columns[: len(wanted)],
                schema=pa.schema([field.remove_metadata() for field in wanted]),
            )
            yield plain if left.all() else plain.filter(pa.array(left))


@dataclass(frozen=True, kw_only=True)
class _ValueSet:
    """The values of delete files that compare the same columns of the same partition.

    Values of several columns are numbered column by column: `steps` holds the distinct values of
    each, and the pairs of numbers of the columns so far and this one that occur at all.
    """

    paths: frozenset[str]
    fields: dict[int, pa.Field]
    steps: tuple[tuple[pa.Array, np.ndarray], ...]
    sequences: np.ndarray  # by number, of the youngest delete file that has these values

    @classmethod
    def read(
        cls, members: Sequence[ManifestEntry], metadata: TableMetadata, *, table: str
    ) -> "_ValueSet":
        ids = members[0].data_file.equality_ids or []
        fields = {field_id: _field(field_id, metadata, table=table) for field_id in ids}
        wanted, mapping = pa.schema(list(fields.values())), metadata.name_mapping()
        tables: list[pa.Table] = []
        ages: list[np.ndarray] = []
        for entry in members:
            path = local_path(entry.data_file.file_path)
            batches = list(read_file(path, wanted, mapping=mapping))
            tables += [pa.Table.from_batches([batch]) for batch in batches]
            rows = sum(batch.num_rows for batch in batches)
            ages.append(np.full(rows, entry.sequence_number or 0, np.int64))
        plain = pa.schema([field.remove_metadata() for field in wanted])
        rows = pa.concat_tables([plain.empty_table(), *tables])
        steps: list[tuple[pa.Array, np.ndarray]] = []
        numbers = np.zeros(rows.num_rows, np.int64)
        for column in rows.columns:
            values = _stored(column.combine_chunks()).unique()
            pairs = numbers * max(1, len(values)) + _positions(column.combine_chunks(), values)
            known = np.unique(pairs)
            numbers = np.searchsorted(known, pairs)
            steps.append((values, known))
        sequences = np.zeros(int(numbers.max()) + 1 if len(numbers) else 0, np.int64)
        np.maximum.at(sequences, numbers, np.concatenate(ages))
        return cls(
            paths=frozenset(entry.data_file.file_path for entry in members),
            fields=fields,
            steps=tuple(steps),
            sequences=sequences,
        )

    def latest(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Return, per row, the sequence number of the youngest delete of its values; 0 if none."""
        rows = len(columns[0])
        if not len(self.sequences):
            return np.zeros(rows, np.int64)
        numbers, is_known = np.zeros(rows, np.int64), np.ones(rows, bool)
        for column, (values, known) in zip(columns, self.steps, strict=True):
            own = _positions(column, values)
            pairs = numbers * max(1, len(values)) + own
            numbers = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
            is_known &= (own >= 0) & (known[numbers] == pairs)
        return np.where(is_known, self.sequences[numbers], 0)


def _field(field_id: int, metadata: TableMetadata, *, table: str) -> pa.Field:
    newest_first: list[Schema] = [
        metadata.schema(),
        *sorted(metadata.schemas, key=lambda each: -each.schema_id),
    ]
    for each in newest_first:
        for field in schema.to_arrow(each, field_ids=True):
            if schema.field_id(field) == field_id:
                return field.with_name(_KEY.format(field_id)).with_nullable(True)
    detail = f"rows are deleted by field {field_id}, which is no column of its own"
    raise UnsupportedTableError(table, detail)


def _stored(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _positions(column: pa.Array, values: pa.Array) -> np.ndarray:
    """Find each value in `values`, null in null; -1 if it is not there."""
    found = pc.index_in(_stored(column), value_set=values)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
