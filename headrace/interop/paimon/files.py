"""Reads data and changelog files of Paimon: whole columns at a time, in the columns of today.

A file of a table with a key also has `_SEQUENCE_NUMBER`, which orders its rows, and `_VALUE_KIND`.
No predicate is ever pushed down: rows that a reader leaves out by mistake are not missed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_ROWS = 65_536
ROW_KIND = "_row_kind"  # the column of kinds that an import writes
INSERTED, BEFORE, AFTER, DELETED = "+I", "-U", "+U", "-D"
_KINDS = pa.array([INSERTED, BEFORE, AFTER, DELETED])  # by `_VALUE_KIND`
_VALUE_KIND = "_VALUE_KIND"
_NAIVE, _ZONED = pa.timestamp("us"), pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a table; `first_sequence` orders the files of a bucket."""

    path: str
    rows: int
    bytes: int
    level: int
    schema_id: int
    bucket_key: str
    first_sequence: int


@dataclass(frozen=True)
class FileColumns:
    """The name in a file of each column of today; None where the file is older than the column."""

    by_name: Mapping[str, str | None]


def read(
    file: DataFile,
    opened: pa.NativeFile,
    *,
    columns: FileColumns,
    schema: pa.Schema,
    kinds: bool,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in `schema`, in their order; with `kinds` also the kind of each.

    Raises:
        ValueError: If the file has other rows than its entry says, or a column has another type.

    """
    wanted = [name for name in columns.by_name.values() if name is not None]
    found = 0
    for batch in _batches(file, opened, [*wanted, _VALUE_KIND]):
        found += batch.num_rows
        arrays = [_column(batch, columns.by_name[f.name], f.type) for f in schema]
        names = list(schema.names)
        if kinds:
            arrays.append(_kinds(batch))
            names.append(ROW_KIND)
        yield pa.RecordBatch.from_arrays(arrays, names=names)
    if found != file.rows:
        msg = f"`{file.path}` has {found} rows, and its entry says {file.rows}"
        raise ValueError(msg)


def _batches(file: DataFile, opened: pa.NativeFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    if file.path.endswith(".orc"):
        from pyarrow import orc

        orc_file = orc.ORCFile(opened)
        there = [name for name in names if name in orc_file.schema.names]
        for stripe in range(orc_file.nstripes):
            yield orc_file.read_stripe(stripe, columns=there)
        return
    parquet = pq.ParquetFile(opened)
    there = [name for name in names if name in parquet.schema_arrow.names]
    yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=there)


def _column(batch: pa.RecordBatch, name: str | None, wanted: pa.DataType) -> pa.Array:
    position = -1 if name is None else batch.schema.get_field_index(name)
    if position < 0:
        return pa.nulls(batch.num_rows, wanted)
    column = batch.column(position)
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(wanted):
        # writers mark neither kind the same way; the declared type says which it is
        bare = column.cast(pa.timestamp(column.type.unit)).cast(_NAIVE)
        column = bare if wanted.tz is None else bare.cast(_ZONED)
    return column if column.type == wanted else column.cast(wanted)


def _kinds(batch: pa.RecordBatch) -> pa.Array:
    position = batch.schema.get_field_index(_VALUE_KIND)
    if position < 0:
        return pa.repeat(INSERTED, batch.num_rows)
    return pc.take(_KINDS, batch.column(position).cast(pa.int64()))
