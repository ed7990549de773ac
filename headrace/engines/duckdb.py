"""The embedded engine: DuckDB over pinned Iceberg snapshots."""

import contextlib
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.config import Settings
from headrace.engines.base import SortBy
from headrace.engines.damage import naming_damage
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.engines.duckdb_scan import scan_sql
from headrace.engines.extensions import load_iceberg_extension, open_in_memory
from headrace.engines.misread_files import refuse_folded_names
from headrace.engines.s3_secrets import let_read_stores
from headrace.engines.sort import sort_rows
from headrace.engines.spill import SpillFolder, naming_full
from headrace.errors import QueryCancelledError, UnsupportedReason, UnsupportedTableError
from headrace.identifiers import quote, quote_text
from headrace.tables.lake import LakeTable
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import BATCH_ROWS, TableVersion
from headrace.tables.writer import write_batches

_NO_NAMES: Mapping[str, str] = {}


class DuckDBEngine:
    """Implements `Engine` with one DuckDB and its own spill folder.

    Beyond `Engine` it serves programs that bring their own DuckDB, as dbt does: `over`, `session`,
    `show` and `connection`.
    """

    dialect = DuckDBDialect()
    is_embedded = True

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        spill: SpillFolder,
        *,
        verified: VerifiedFiles,
        shared: bool = False,
    ) -> None:
        self._connection, self._spill, self._verified = connection, spill, verified
        self._shares_spill = shared
        self._bound: dict[str, TableVersion] = {}
        self._arrow: set[str] = set()
        self._read: Callable[[], Collection[TableVersion]] = self._bound.values
        self._reads_iceberg = False
        self._cancelled = threading.Event()

    @classmethod
    def open(cls, settings: Settings) -> "DuckDBEngine":
        """Start an engine in memory with the memory and threads of `settings`.

        Raises:
            StorageError: If there is no place for its spill folder.

        """
        return cls._configured(open_in_memory(), settings)

    @classmethod
    def over(cls, connection: duckdb.DuckDBPyConnection, settings: Settings) -> "DuckDBEngine":
        """Use another program's DuckDB, with the memory and threads of `settings`.

        The limits and the spill folder hold for the whole database; the time zone holds only for
        this engine, which works on a cursor of its own. `close` leaves the database open.

        Raises:
            StorageError: If there is no place for the spill folder.

        """
        engine = cls._configured(connection.cursor(), settings)
        with contextlib.ExitStack() as undo:
            undo.push(engine)
            engine._read_iceberg()
            undo.pop_all()
        return engine

    @classmethod
    def _configured(
        cls, connection: duckdb.DuckDBPyConnection, settings: Settings
    ) -> "DuckDBEngine":
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            spill = SpillFolder(settings.state_dir / "spill")
            undo.callback(spill.close)
            connection.execute("set timezone = 'UTC'")
            connection.execute(f"set threads = {settings.threads}")
            connection.execute(f"set memory_limit = '{settings.memory_limit_mib}MiB'")
            connection.execute(f"set temp_directory = {quote_text(str(spill.path))}")
            engine = cls(connection, spill, verified=VerifiedFiles.of(settings))
            undo.pop_all()
        return engine

    def session(self, *, reads: Callable[[], Collection[TableVersion]]) -> "DuckDBEngine":
        """Open a second engine on the same database, for use beside this one.

        It sees the relations of this engine. `reads` tells which snapshots its statements read;
        only those are examined when a statement fails. Close it before this engine.
        """
        cursor = self._connection.cursor()
        cursor.execute("set timezone = 'UTC'")
        other = DuckDBEngine(cursor, self._spill, verified=self._verified, shared=True)
        other._read = reads
        return other

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB behind this engine, for what `Engine` does not offer."""
        return self._connection

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engine."""
        self.close()

    def bind(self, name: str, version: TableVersion) -> None:
        """Make a pinned snapshot readable as `name` (`relation` or `namespace.relation`).

        Its data files are compared with their checksums first, each once until it changes: DuckDB
        reads a flipped bit as another value.

        Raises:
            CorruptFileError: If a file is missing or damaged.
            UnsupportedTableError: If DuckDB cannot read it or would misread it.

        """
        self._show(name, version, renamed=_NO_NAMES, verify=True)

    def show(
        self, name: str, version: TableVersion, *, renamed: Mapping[str, str] = _NO_NAMES
    ) -> None:
        """Bind a snapshot whose data files the caller verifies before a statement reads them.

        Args:
            name: `relation` or `namespace.relation`.
            version: The pinned snapshot.
            renamed: Columns of the snapshot that get another name in the relation.

        Raises:
            CorruptFileError: If its metadata is damaged.
            UnsupportedTableError: If DuckDB cannot read it or would misread it.

        """
        self._show(name, version, renamed=renamed, verify=False)

    def _show(
        self, name: str, version: TableVersion, *, renamed: Mapping[str, str], verify: bool
    ) -> None:
        self._read_iceberg()
        let_read_stores(self._connection, version)
        rows = scan_sql(version, folder=self._spill.path)
        names = ", ".join(f"{quote(old)} as {quote(new)}" for old, new in renamed.items())
        columns = f"* rename ({names})" if names else "*"
        relation = self._relation(name)
        if verify:
            self.verify(version)
        damage = naming_damage(self._verified, lambda: [version])
        with damage if verify else contextlib.nullcontext():
            try:
                if relation in self._arrow:  # a view replaces no table
                    self._connection.execute(f"drop table {relation}")
                    self._arrow.discard(relation)
                self._connection.execute(
                    f"create or replace view {relation} as select {columns} from {rows}"
                )
            except duckdb.ProgrammingError as error:
                detail = f"DuckDB cannot read it: {error}"
                reason = UnsupportedReason.ENGINE_FAILED
                raise UnsupportedTableError(str(version.name), detail, reason=reason) from error
        self._bound[relation] = version

    def verify(self, version: TableVersion) -> None:
        """Compare the files of a snapshot with their checksums, each once until it changes.

        Raises:
            CorruptFileError: If a file is missing or damaged.

        """
        self._verified.verify(version)

    def drop(self, name: str) -> None:
        """Remove the relation of a snapshot, if there is one."""
        relation = _quoted(name)
        self._connection.execute(f"drop view if exists {relation}")
        self._bound.pop(relation, None)

    def bind_arrow(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`, any number of times.

        Raises:
            UnsupportedTableError: If names of the table differ only in case.

        """
        refuse_folded_names(table.schema, table=name)
        relation = self._relation(name)
        if relation in self._bound:  # a table replaces no view
            self.drop(name)
        self._connection.register("headrace_arrow", table)
        try:
            self._connection.execute(f"create or replace table {relation} as from headrace_arrow")
        finally:
            self._connection.unregister("headrace_arrow")
        self._arrow.add(relation)

    def _read_iceberg(self) -> None:
        if not self._reads_iceberg:
            load_iceberg_extension(self._connection)
            self._reads_iceberg = True

    def _relation(self, name: str) -> str:
        parts = name.split(".")
        if len(parts) == 2:
            self._connection.execute(f"create schema if not exists {quote(parts[0])}")
        return _quoted(name)

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one query and stream its rows; read them to the end before the next statement.

        Raises:
            CorruptFileError: If a file of a bound snapshot turns out to be damaged.
            QueryCancelledError: If `cancel` was called.
            StorageFullError: If there is no room for what does not fit into memory.

        """
        with self.naming_errors():
            rows = self._connection.sql(sql).to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(rows.schema, self._streamed(rows))

    def _streamed(self, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with self._naming():
            yield from self._until_cancelled(rows)

    def _until_cancelled(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            if self._cancelled.is_set():
                raise QueryCancelledError

    @contextlib.contextmanager
    def naming_errors(self) -> Generator[None]:
        """Begin a statement; what DuckDB raises becomes the errors that `query` names."""
        self._cancelled.clear()
        with self._naming():
            yield

    @contextlib.contextmanager
    def _naming(self) -> Generator[None]:
        with naming_damage(self._verified, self._read), naming_full(self._spill.path):
            try:
                yield
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if self._cancelled.is_set():
                    raise QueryCancelledError from error
                raise

    def write(self, sql: str, *, into: LakeTable) -> tuple[DataFile, ...]:
        """Write a query's rows as data files of a table, in the query's order, uncommitted.

        Raises:
            ContractError: If the rows do not fit the table.
            Otherwise as `query`.

        """
        return write_batches(into, self.query(sql))

    def sort(
        self, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, by: Sequence[SortBy]
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows in the order of some columns; see `sort_rows`.

        Raises:
            QueryCancelledError: If `cancel` was called.
            StorageError: If the rows cannot be written to the spill folder.

        """
        self._cancelled.clear()
        given = self._until_cancelled(batches)
        rows = sort_rows(self._connection, given, schema=schema, by=by, folder=self._spill.path)
        with contextlib.closing(rows):
            try:
                yield from self._until_cancelled(rows)
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if self._cancelled.is_set():
                    raise QueryCancelledError from error
                raise

    def cancel(self) -> None:
        """Interrupt the running statement, from any thread."""
        self._cancelled.set()
        with contextlib.suppress(duckdb.ConnectionException):  # closed
            self._connection.interrupt()

    def close(self) -> None:
        """Release memory and temporary files; closing again does nothing."""
        self._connection.close()
        if not self._shares_spill:
            self._spill.close()


def _quoted(name: str) -> str:
    return ".".join(quote(part) for part in name.split("."))
