"""Rewrite a group of bins: prefetch rows, apply deletes, sort or keep their order.

Plain bins may go to an engine's server instead, if the caller has one.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile

from headrace.dml.live_rows import live_rows
from headrace.engines.base import Engine, SortBy
from headrace.engines.open import open_engine
from headrace.engines.rewriting import FileRewriter
from headrace.errors import CommitConflictError, ConflictReason, CorruptFileError
from headrace.iceberg import schema
from headrace.iceberg.standard_properties import ROWS_PER_ROW_GROUP
from headrace.maintenance.compaction.bins import Bin, Strategy
from headrace.maintenance.compaction.clustering import SortKey
from headrace.maintenance.compaction.prefetch import prefetched
from headrace.storage.locations import remove
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry, TableVersion
from headrace.tables.writer import TableWriter

ENGINE_MIB_MAX = 320  # memory of a sort before it spills; keeps the whole process below 1 GB
_ROWS_AHEAD = ROWS_PER_ROW_GROUP  # reads one row group while the previous one is written


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """The uncommitted files of a rewritten group, and how many deleted rows were left out."""

    files: tuple[DataFile, ...]
    rows_deleted: int
    writers: tuple["TableWriter | _ServerFiles", ...] = field(repr=False)

    def discard(self) -> None:
        """Delete the files; use it when they will not be committed."""
        for writer in self.writers:
            writer.discard()


@dataclass(kw_only=True)
class _ServerFiles:
    """What an engine's server wrote for one group."""

    io: FileIO
    files: tuple[DataFile, ...] = ()

    def discard(self) -> None:
        for file in self.files:
            remove(self.io, file.file_path)


class Rewriter:
    """Rewrites groups of one table; starts an engine only when one is needed.

    Args:
        table: The table.
        target_bytes: Target size of a file.
        keys: Sort keys of sorted bins.
        order_id: The table's sort order of these keys.
        server: Rewrites plain bins, if it is given.

    """

    def __init__(
        self,
        table: LakeTable,
        *,
        target_bytes: int,
        keys: Sequence[SortKey],
        order_id: int | None,
        server: FileRewriter | None = None,
    ) -> None:
        self._table, self._target_bytes, self.server = table, target_bytes, server
        self._keys, self._order_id = keys, order_id
        self._started = contextlib.ExitStack()
        self._engine: Engine | None = None
        self._rows_deleted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.close()

    def rewrite(
        self,
        group: Iterable[Bin],
        *,
        version: TableVersion,
        progress: Callable[[Bin], None] = lambda _: None,
    ) -> Rewritten:
        """Write the bins of a group; `progress` is called after each bin.

        The files of the bins must be entries of `version`. If it raises, it leaves no file behind.

        Raises:
            CommitConflictError: If the table's partition spec was changed concurrently.
            CorruptFileError: If a file cannot be read, or its row count differs from the metadata.
            StorageError: If a file cannot be written.
            Otherwise as `FileRewriter.rewrite`.

        """
        group = sorted(group, key=lambda each: each.strategy is Strategy.SORT)
        self._rows_deleted = 0
        there = _ServerFiles(io=self._table.iceberg().io)
        with contextlib.ExitStack() as stack:
            stack.push(lambda kind, *_: there.discard() if kind else None)
            writers: dict[Strategy, TableWriter] = {}
            for each in group:
                if self.server is not None and each.is_plain:
                    self._refuse_other_spec(each, spec_id=version.metadata.default_spec_id)
                    there.files += self._by_server(self.server, each)
                else:
                    if each.strategy not in writers:
                        writers[each.strategy] = stack.enter_context(self._writer(each.strategy))
                    self._write(each, writers[each.strategy], version)
                progress(each)
        written = (*writers.values(), there)
        return Rewritten(
            files=tuple(file for each in written for file in each.files),
            rows_deleted=self._rows_deleted,
            writers=written,
        )

    def _by_server(self, server: FileRewriter, each: Bin) -> tuple[DataFile, ...]:
        files = [file.data_file for file in each.files]
        return server.rewrite(files, of=self._table, target_bytes=self._target_bytes)

    def _refuse_other_spec(self, each: Bin, *, spec_id: int) -> None:
        if each.partition is not None and spec_id != each.files[0].spec_id:
            detail = "a concurrent commit changed its partition spec"
            reason = ConflictReason.COLUMNS_CHANGED
            raise CommitConflictError(str(self._table.name), detail, reason=reason)

    def _writer(self, strategy: Strategy) -> TableWriter:
        order_id = self._order_id if strategy is Strategy.SORT else None
        return TableWriter(self._table, target_bytes=self._target_bytes, sort_order_id=order_id)

    def _write(self, each: Bin, writer: TableWriter, version: TableVersion) -> None:
        self._refuse_other_spec(each, spec_id=writer.spec_id)
        rows: Iterable[pa.RecordBatch] = self._rows(each.files, writer.schema, version)
        if each.strategy is Strategy.SORT:
            by = [self._sort_by(key, writer.schema) for key in self._keys]
            plain = pa.schema([f.remove_metadata() for f in writer.schema])
            rows = self._opened_engine().sort(rows, schema=plain, by=by)
        reading = prefetched(rows, weigh=_count_rows, weight_max=_ROWS_AHEAD)
        with contextlib.closing(reading) as batches:
            for batch in batches:
                writer.write(batch, partition=each.partition)
        writer.roll()

    def _rows(
        self, entries: Sequence[FileEntry], wanted: pa.Schema, version: TableVersion
    ) -> Iterator[pa.RecordBatch]:
        for entry in entries:
            rows = 0
            for batch in live_rows(version, entry, wanted):
                rows += batch.num_rows
                yield batch
            if entry.deletes:
                self._rows_deleted += entry.rows - rows
            elif rows != entry.rows:
                detail = f"it holds {rows} rows, the table says {entry.rows}"
                raise CorruptFileError(entry.path, detail)

    def _opened_engine(self) -> Engine:
        if self._engine is None:
            settings = self._table.lake.settings
            held_mib = min(settings.memory_limit_mib, ENGINE_MIB_MAX)
            engine = open_engine(replace(settings, memory_limit_mib=held_mib))
            self._engine = self._started.enter_context(engine)
        return self._engine

    def _sort_by(self, key: SortKey, found: pa.Schema) -> SortBy:
        ids = [schema.field_id(field) for field in found]
        if key.field_id not in ids:
            detail = f"a concurrent commit dropped its sort key `{key.column}`"
            reason = ConflictReason.COLUMNS_CHANGED
            raise CommitConflictError(str(self._table.name), detail, reason=reason)
        return SortBy(
            column=ids.index(key.field_id),
            descending=key.descending,
            nulls_first=key.nulls_first,
        )


def _count_rows(batch: pa.RecordBatch) -> int:
    return batch.num_rows
