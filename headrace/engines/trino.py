"""The distributed engine: a Trino server over pinned snapshots of a catalog that it shares.

Bound names are steps of each statement (`trino_sql`), so that nothing is created on the server for a
snapshot, and other sessions neither see it nor move it. `write` lets the server write into a staging
clone, whose files the committer adopts (`trino_stage`).
"""

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.config import Settings
from headrace.engines.base import SortBy
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.misread_files import refuse_folded_names
from headrace.engines.trino_client import Page, TrinoClient
from headrace.engines.trino_dialect import TrinoDialect
from headrace.engines.trino_insert import InsertPlan, as_contract_error, file_order, plan_insert
from headrace.engines.trino_rows import batch_of, schema_of
from headrace.engines.trino_scan import scan_sql, table_sql
from headrace.engines.trino_sql import over_relations, top_order
from headrace.engines.trino_stage import Answered, Clone, Staging
from headrace.engines.trino_writes import conditions, keys_of, keys_sql, session_of
from headrace.errors import LakeError, QueryFailedError
from headrace.iceberg import schema
from headrace.identifiers import TableName, quote
from headrace.servers import TrinoAccess
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import BATCH_ROWS, TableVersion
from headrace.tables.writer import write_batches

# errors of the server's own, or of what it reads
_OF_FILES = ("ICEBERG_", "HIVE_", "GENERIC_INTERNAL_ERROR")
_TOO_MANY = "ICEBERG_TOO_MANY_OPEN_PARTITIONS"


class TrinoEngine:
    """Implements `Engine` with one client of a Trino server.

    The server is reached, and refused if its results cannot be trusted, at the first statement.

    Args:
        client: The way to the server, whose catalog is that of the lake.
        settings: The lake, where staging tables are made, and the limits of what runs in this
            process: sorting, and the check of checksums.

    """

    dialect = TrinoDialect()
    is_embedded = False

    def __init__(self, client: TrinoClient, settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._verified = VerifiedFiles.of(settings)
        self._bound: dict[str, TableVersion] = {}
        self._staged: dict[str, TableName] = {}
        self._own = contextlib.ExitStack()
        self._is_checked = False

    @classmethod
    def open(cls, settings: Settings, access: TrinoAccess) -> "TrinoEngine":
        """Make an engine; nothing is reached yet."""
        return cls(TrinoClient(access), settings)

    @cached_property
    def staging(self) -> Staging:
        """The staging tables of this engine, in the catalog of the lake."""
        lake = self._own.enter_context(OpenLake.open(self._settings))
        found = Staging(lake)
        found.drop_abandoned()
        return found

    @cached_property
    def _sorting(self) -> DuckDBEngine:
        return self._own.enter_context(DuckDBEngine.open(self._settings))

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
        """Make a pinned snapshot readable as `name`; its files are compared with their checksums.

        Raises:
            CorruptFileError: If a file is missing or damaged.
            UnsupportedTableError: If Trino would misread it.

        """
        scan_sql(version, catalog=self._catalog)
        self._verified.verify(version)
        self._unbind(name)
        self._bound[name] = version

    def bind_arrow(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`, as a staging table that `close` drops.

        Raises:
            ContractError: If a column has a type that tables cannot have.
            UnsupportedTableError: If names of the table differ only in case.

        """
        refuse_folded_names(table.schema, table=name, engine="Trino")
        staged = self.staging.rows(table)
        self._unbind(name)
        self._staged[name] = staged

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one query and stream its rows; read them to the end before the next statement.

        Raises:
            CorruptFileError: If a file of a bound snapshot turns out to be damaged.
            EngineUnavailableError: If the server ended.
            QueryCancelledError: If `cancel` was called.
            QueryFailedError: If the server refused or failed the query.

        """
        pages = self._run(self._over_bound(sql))
        columns, first = _until_columns(pages)
        try:
            found = schema_of(columns)
        except ValueError as error:
            raise QueryFailedError(str(error), reason="UNSUPPORTED_TYPE") from error
        return pa.RecordBatchReader.from_batches(found, _batches(first, pages, found))

    def write(self, sql: str, *, into: LakeTable) -> tuple[DataFile, ...]:
        """Write a query's rows as data files of a table, uncommitted.

        The server writes them. If the query ends with `order by` over plain columns, each file has
        that order; with any other order the rows come here, and our writer keeps it.

        Raises:
            CommitConflictError: If what the server wrote is not what it answered.
            ContractError: If the rows do not fit the table.
            Otherwise as `query`.

        """
        target = into.iceberg()
        wanted, table = schema.to_arrow(target.schema()), str(into.name)
        order = file_order(top_order(sql), wanted)
        if order is None:
            return write_batches(into, self.query(sql))
        plan = plan_insert(self._described(sql), wanted, table=table)
        with self.staging.clone(into, order=order) as clone:
            try:
                return clone.adopt(self._inserted(clone, sql, plan))
            except QueryFailedError as error:
                raise as_contract_error(error, table=table) from error

    def sort(
        self, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, by: Sequence[SortBy]
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows in the order of some columns; they are sorted here, not on the server.

        Raises:
            QueryCancelledError: If `cancel` was called.
            StorageError: If the rows cannot be written to the spill folder.

        """
        return self._sorting.sort(batches, schema=schema, by=by)

    def cancel(self) -> None:
        """Interrupt the running statement, from any thread, within about a second."""
        self._client.cancel()
        if "_sorting" in vars(self):
            self._sorting.cancel()

    def close(self) -> None:
        """Drop staging tables and close connections; closing again does nothing."""
        with self._own, contextlib.closing(self._client):
            for name in self._staged.values():
                self.staging.drop(name)
            self._staged.clear()

    def _inserted(self, clone: Clone, sql: str, plan: InsertPlan) -> list[Answered]:
        """Insert the rows, again in parts where they belong to more partitions than may be open."""
        into = table_sql(clone.name, catalog=self._catalog)
        try:
            return [self._insert(clone, plan.statement(sql), into=into, plan=plan)]
        except QueryFailedError as error:
            keys = keys_of(clone.target, plan)
            if error.reason != _TOO_MANY or not keys:
                raise
        found = [
            row for page in self._run(self._over_bound(keys_sql(sql, keys))) for row in page.rows
        ]
        return [
            self._insert(clone, plan.statement(sql, where=where), into=into, plan=plan)
            for where in conditions(found, keys)
        ]

    def _insert(self, clone: Clone, select: str, *, into: str, plan: InsertPlan) -> Answered:
        names = ", ".join(quote(name) for name, _ in plan.columns)
        statement = f"insert into {into} ({names}) {self._over_bound(select)}"
        last: Page | None = None
        for page in self._run(statement, session=session_of(clone.target, catalog=self._catalog)):
            last = page
        if last is None or last.rows_changed is None:
            msg = "the server did not say how many rows it wrote"
            raise QueryFailedError(
                msg, reason="NO_ROW_COUNT", query_id=last.query_id if last else ""
            )
        return Answered(query_id=last.query_id, rows=last.rows_changed)

    def _described(self, sql: str) -> pa.Schema:
        """Return the columns of a query, which the server plans and does not run."""
        rows = self.query(f"select * from (\n{sql.rstrip().rstrip(';')}\n) limit 0")
        with rows:
            return rows.read_all().schema

    def _run(self, sql: str, *, session: Mapping[str, str] | None = None) -> Generator[Page]:
        self._client.begin()
        if not self._is_checked:
            self._client.check()
            self._is_checked = True
        return self._named(self._client.pages(sql, session=session))

    def _named(self, pages: Generator[Page]) -> Generator[Page]:
        """Yield an answer; where the server fails, look whether a file it read is damaged."""
        with contextlib.closing(pages):
            try:
                yield from pages
            except QueryFailedError as error:
                if (error.reason or "").startswith(_OF_FILES):
                    self._find_damage(error)
                raise

    def _find_damage(self, error: QueryFailedError) -> None:
        for version in self._bound.values():
            try:
                version.check_metadata()
                self._verified.verify(version, again=True)
            except LakeError as damage:
                raise damage from error

    def _over_bound(self, sql: str) -> str:
        relations = {
            name: scan_sql(version, catalog=self._catalog) for name, version in self._bound.items()
        }
        for name, staged in self._staged.items():
            relations[name] = f"select * from {table_sql(staged, catalog=self._catalog)}"
        return over_relations(sql, relations)

    def _unbind(self, name: str) -> None:
        self._bound.pop(name, None)
        staged = self._staged.pop(name, None)
        if staged is not None:
            self.staging.drop(staged)

    @property
    def _catalog(self) -> str:
        return self._client.access.catalog


def _until_columns(pages: Iterator[Page]) -> tuple[list[dict[str, Any]], list[Page]]:
    """Read an answer until its columns are known; return them and the pages read."""
    read: list[Page] = []
    for page in pages:
        read.append(page)
        if page.columns is not None:
            return page.columns, read
    return [], read


def _batches(
    first: Sequence[Page], rest: Generator[Page], found: pa.Schema
) -> Generator[pa.RecordBatch]:
    waiting: list[list[Any]] = []
    with contextlib.closing(rest):
        for page in itertools.chain(first, rest):
            waiting += page.rows
            while len(waiting) >= BATCH_ROWS:
                yield batch_of(waiting[:BATCH_ROWS], found)
                waiting = waiting[BATCH_ROWS:]
        if waiting:
            yield batch_of(waiting, found)
