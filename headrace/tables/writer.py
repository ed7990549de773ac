"""Write data files by one recipe and describe them for the committer; no snapshot has them yet."""

import contextlib
from collections.abc import Generator, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table

from headrace.errors import ColumnReason, ContractError, Remedy, StorageError
from headrace.iceberg import partitions, schema
from headrace.iceberg import standard_properties as standard
from headrace.iceberg.inspection import unproved_bounds
from headrace.iceberg.standard_properties import ParquetRecipe, parquet_recipe
from headrace.storage.footer import SealingSink
from headrace.storage.locations import remove, sync_file
from headrace.tables import intents
from headrace.tables.beside import Beside
from headrace.tables.encoding import dictionary_columns
from headrace.tables.exact import is_changed, unfit_part

if TYPE_CHECKING:
    from headrace.tables.lake import LakeTable

OPEN_PARTITIONS_MAX = 128
PENDING_BYTES_MAX = 256 * 1024 * 1024  # buffered rows of all partitions


def write_batches(table: "LakeTable", batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
    """Write rows to data files of `table`, one file per partition, without committing them.

    Rows keep their order inside a partition. Columns are matched by name; a missing optional column
    is null. The files are fsynced when this returns. If it raises, files already written belong to
    no snapshot, and readers never see them.

    Raises:
        ContractError: If a required column is missing or null, a column is unknown, or a value does
            not fit its type.
        StorageError: If a file cannot be written.

    """
    with TableWriter(table) as writer:
        for batch in batches:
            writer.write(batch)
    return writer.files


class TableWriter:
    """Routes rows to one open Parquet file per partition.

    Its files are named `<write id>-<number>.parquet`. Clean-up does not remove them while this
    process runs, until they are committed or discarded.

    Args:
        table: The table that the files are for.
        target_bytes: Start another file of a partition once one has this size on disk; a file may
            exceed it by one row group. By default the table's property; without one, a partition
            gets a single file.
        sort_order_id: The id of the sort order of the rows, recorded with each file.
        beside: Whether to encode and write a row group in a thread, while the next one is filled. It
            holds one row group more in memory, and a file may exceed `target_bytes` by two.

    """

    def __init__(
        self,
        table: "LakeTable",
        *,
        target_bytes: int | None = None,
        sort_order_id: int | None = None,
        beside: bool = False,
    ) -> None:
        self._table = table.iceberg()
        self._name, self._lake = str(table.name), table.lake
        said = standard.target_file_bytes(self._table.properties, table=self._name)
        self._target_bytes, self._sort_order_id = target_bytes or said, sort_order_id
        self._write_id, self._count = "", 0
        iceberg_schema = self._table.schema()
        self._terms = partitions.terms_of(self._table.spec(), iceberg_schema)
        self._recipe = parquet_recipe(self._table.properties, table=self._name)
        self._schema = schema.to_arrow(iceberg_schema, field_ids=True)
        self._open: dict[partitions.PartitionKey, _PartitionFile] = {}
        self._beside = Beside() if beside else None
        self.files: tuple[DataFile, ...] = ()

    def __enter__(self) -> Self:
        return self

    @property
    def schema(self) -> pa.Schema:
        """The columns it writes, with their field ids."""
        return self._schema

    @property
    def spec_id(self) -> int:
        """The id of the partition spec it writes in."""
        return self._table.metadata.default_spec_id

    def write(
        self, batch: pa.RecordBatch, *, partition: partitions.PartitionKey | None = None
    ) -> None:
        """Add rows; they are buffered up to one row group per partition.

        With `partition`, all rows must belong to it; this is not checked.

        Raises:
            ContractError: See `write_batches`.
            StorageError: If a file cannot be written.

        """
        fitted = fit(batch, self._schema, table=self._name)
        if not fitted.num_rows:
            return
        found = partitions.split(fitted, self._terms)
        with self._storage():
            for key, rows in found if partition is None else ((partition, fitted),):
                self._file_of(key).write(rows)
                if self._target_bytes and self._open[key].bytes_written >= self._target_bytes:
                    self._close_one(key)
            self._bound_memory()

    def roll(self) -> None:
        """Close every open file; later rows of the same partitions start new files."""
        with self._storage():
            for key in list(self._open):
                self._close_one(key)

    def close(self) -> None:
        """Complete every open file, so that `files` names all of them; idempotent.

        If a file cannot be completed, all files of this writer are removed.

        Raises:
            ContractError: See `write_batches`.
            StorageError: If a file cannot be written.

        """
        try:
            self.roll()
        except BaseException:
            self.discard()
            raise
        if self._beside is not None:
            self._beside.end()

    def discard(self) -> None:
        """Remove every file of this writer, complete ones too: no commit will name them; idempotent."""
        if self._beside is not None:
            self._beside.end()
        for key in list(self._open):
            self._open.pop(key).discard()
        for file in self.files:
            remove(self._table.io, file.file_path)
        self.files = ()
        if self._write_id:
            intents.end(self._lake.registry, [self._write_id])
            self._write_id = ""

    def _file_of(self, key: partitions.PartitionKey) -> "_PartitionFile":
        if key not in self._open:
            if len(self._open) >= OPEN_PARTITIONS_MAX:
                # close the longest-open file to bound memory; its partition may get another one
                self._close_one(next(iter(self._open)))
            self._open[key] = _PartitionFile(
                self._table,
                self._schema,
                key,
                self._terms,
                recipe=self._recipe,
                name=self._next_name(),
                beside=self._beside,
            )
        return self._open[key]

    def _bound_memory(self) -> None:
        while sum(file.pending_bytes for file in self._open.values()) > PENDING_BYTES_MAX:
            max(self._open.values(), key=lambda file: file.pending_bytes).flush()

    def _next_name(self) -> str:
        if not self._write_id:  # the intent must be recorded before the first file is written
            self._write_id = intents.begin(
                self._lake.registry, table=self._name, location=self._table.location()
            )
        self._count += 1
        return f"{self._write_id}-{self._count:05d}.parquet"

    @contextlib.contextmanager
    def _storage(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            folder = standard.data_folder(self._table.location(), self._table.properties)
            raise StorageError.of(folder, error) from error

    def _close_one(self, key: partitions.PartitionKey) -> None:
        file = self._open[key].close(sort_order_id=self._sort_order_id)
        del self._open[
            key
        ]  # only after closing: a file that failed to close must still be discarded
        self.files = (*self.files, file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


class _PartitionFile:
    """One Parquet file being written."""

    def __init__(
        self,
        table: Table,
        arrow_schema: pa.Schema,
        key: partitions.PartitionKey,
        terms: tuple[partitions.Term, ...],
        *,
        recipe: ParquetRecipe,
        name: str,
        beside: Beside | None,
    ) -> None:
        self._location = standard.data_location(
            table.location(),
            table.properties,
            partition=partitions.path_of_key(key, terms),
            name=name,
        )
        self._table, self._key, self._schema = table, key, arrow_schema
        self._recipe, self._beside = recipe, beside
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self.pending_bytes = 0
        # its name is its own, so there is nothing to look for
        self._stream = table.io.new_output(self._location).create(overwrite=True)
        self._sink = SealingSink(self._stream)
        self._writer: pq.ParquetWriter | None = None
        self.bytes_written = 0  # on disk so far, without buffered rows

    def write(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self.pending_bytes += batch.nbytes
        if self._pending_rows >= self._row_group_rows:
            self._flush(keep_tail=True)

    @property
    def _row_group_rows(self) -> int:
        """How many rows like the buffered ones fill a row group."""
        rows, limit = self._recipe.row_group_rows, self._recipe.row_group_bytes
        if limit is None or not self.pending_bytes:
            return rows
        return min(rows, max(1, limit * self._pending_rows // self.pending_bytes))

    def flush(self) -> None:
        """Write the buffered rows as a row group, even if it is not full."""
        self._flush(keep_tail=False)

    def _flush(self, *, keep_tail: bool) -> None:
        rows = pa.Table.from_batches(self._pending, self._schema)
        whole, row_group_rows = rows.num_rows, self._row_group_rows
        if keep_tail:
            whole -= rows.num_rows % row_group_rows
        if whole:
            work = partial(self._encode, rows, whole, row_group_rows)
            work() if self._beside is None else self._beside.run(work)
        tail = rows.slice(whole)
        # a slice would keep its whole batch in memory until the next flush
        self._pending = tail.combine_chunks().to_batches() if tail.num_rows else []
        self._pending_rows = tail.num_rows
        self.pending_bytes = sum(batch.nbytes for batch in self._pending)

    def _encode(self, rows: pa.Table, whole: int, row_group_rows: int) -> None:
        writer = self._writer = self._writer or self._start(rows)
        writer.write_table(rows.slice(0, whole), row_group_size=row_group_rows)
        self.bytes_written = self._stream.tell()

    def _start(self, rows: pa.Table) -> pq.ParquetWriter:
        recipe = self._recipe
        return pq.ParquetWriter(
            self._sink,
            self._schema,
            compression=recipe.codec,
            compression_level=recipe.level,
            use_dictionary=dictionary_columns(rows),
            write_page_checksum=True,
            dictionary_pagesize_limit=recipe.dictionary_bytes,
            data_page_size=recipe.page_bytes,
            max_rows_per_page=recipe.page_rows,
            store_schema=False,
        )

    def close(self, *, sort_order_id: int | None) -> DataFile:
        self.flush()
        if self._beside is not None:
            self._beside.wait()
        writer = self._writer or self._start(self._schema.empty_table())
        self._sink.finish(writer)
        self._stream.close()
        sync_file(self._location)
        return describe(
            self._table,
            self._location,
            metadata=writer.writer.metadata,
            bytes_on_disk=len(self._table.io.new_input(self._location)),
            key=self._key,
            sort_order_id=sort_order_id,
        )

    def discard(self) -> None:
        """Delete the file, even if it is incomplete."""
        ends = (
            [self._stream.close]
            if self._writer is None
            else [self._writer.close, self._stream.close]
        )
        for end in ends:
            with contextlib.suppress(OSError, pa.ArrowException):  # its disk may be full
                end()
        remove(self._table.io, self._location)


def describe(
    table: Table,
    location: str,
    *,
    metadata: pq.FileMetaData,
    bytes_on_disk: int,
    key: partitions.PartitionKey,
    sort_order_id: int | None = None,
) -> DataFile:
    """Build the manifest entry of a Parquet file from its footer.

    It has bounds of a column only if every row group with values of it has them: a text above 4 KB
    leaves its row group without bounds, and those of the others would hide it from readers.
    """
    iceberg_schema = table.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=metadata,
        stats_columns=compute_statistics_plan(iceberg_schema, table.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(iceberg_schema),
    )
    said = statistics.to_serialized_dict()
    bounds = ("lower_bounds", "upper_bounds")
    unproved = unproved_bounds(metadata, among={key for name in bounds for key in said[name]})
    said |= {name: {k: v for k, v in said[name].items() if k not in unproved} for name in bounds}
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=partitions.record_of_key(key),
        file_size_in_bytes=bytes_on_disk,
        sort_order_id=sort_order_id,
        equality_ids=None,
        key_metadata=None,
        **said,
    )
    file.spec_id = table.metadata.default_spec_id  # not a constructor argument
    return file


def fit(batch: pa.RecordBatch, wanted: pa.Schema, *, table: str) -> pa.RecordBatch:
    """Convert a batch to exactly the table's columns, types and order.

    Raises:
        ContractError: If a column is missing, unknown, null or does not fit; it names the column.

    """
    names = batch.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ContractError(
            table,
            f"column `{twice}` occurs more than once",
            reason=ColumnReason.DUPLICATE_COLUMN,
            column=twice,
        )
    unknown = [name for name in names if name not in wanted.names]
    if unknown:
        raise ContractError(
            table,
            f"it has no column `{unknown[0]}`",
            reason=ColumnReason.UNKNOWN_COLUMN,
            column=unknown[0],
        )
    columns: list[pa.Array] = []
    for field in wanted:
        position = batch.schema.get_field_index(field.name)
        if position < 0:
            column = pa.nulls(batch.num_rows, field.type)
        else:
            column = batch.column(position)
            if column.type != field.type:
                column = _cast(column, field, table=table)
        if not field.nullable and column.null_count:
            raise ContractError(
                table,
                f"required column `{field.name}` is null or missing",
                reason=ColumnReason.NULL_VALUE,
                column=field.name,
            )
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _cast(column: pa.Array, field: pa.Field, *, table: str) -> pa.Array:
    if column.null_count == len(column):  # an untyped SQL `null` has a type that cannot be cast
        return pa.nulls(len(column), field.type)
    both_times = pa.types.is_timestamp(column.type) and pa.types.is_timestamp(field.type)
    if both_times and (column.type.tz is None) != (field.type.tz is None):
        detail = f"`{field.name}` mixes zoned and naive times"
        reason = ColumnReason.MIXED_TIME_ZONES
        raise ContractError(table, detail, reason=reason, column=field.name)
    if pa.types.is_integer(field.type) and pa.types.is_floating(column.type):
        raise _wrong_type(column, field, table=table)
    # a HUGEINT sum arrives as decimal(38, 0); storing it as double would silently lose digits
    if part := unfit_part(column.type, field.type):
        raise _wrong_type(column, field, table=table, part=part)
    try:
        found = column.cast(field.type)
    except pa.ArrowInvalid as error:
        detail, reason = f"`{field.name}` is {field.type}: {error}", ColumnReason.WRONG_VALUE
        raise ContractError(table, detail, reason=reason, column=field.name) from error
    except pa.ArrowNotImplementedError as error:
        raise _wrong_type(column, field, table=table) from error
    if is_changed(column, found):
        detail = (
            f"`{field.name}` is {field.type}, and a value of {column.type} would become another"
        )
        reason = ColumnReason.WRONG_VALUE
        raise ContractError(table, detail, reason=reason, column=field.name)
    return found


def _wrong_type(column: pa.Array, field: pa.Field, *, table: str, part: str = "") -> ContractError:
    return ContractError(
        table,
        f"`{field.name}` is {field.type}, got {part or column.type}",
        reason=ColumnReason.WRONG_TYPE,
        column=field.name,
        remedy=Remedy(advice="cast it"),
    )
