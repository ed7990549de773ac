"""The embedded engine: DuckDB over pinned Iceberg snapshots."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.config import Settings
from headrace.engines.damage import naming_damage
from headrace.engines.extensions import load_iceberg_extension, open_in_memory
from headrace.engines.lost_columns import refuse_lost_columns
from headrace.engines.misread_deletes import refuse_misread_deletes
from headrace.engines.misread_files import (
    columns_of_unproved_bounds,
    refuse_folded_names,
    refuse_unmarked_text,
)
from headrace.engines.own_metadata import engine_metadata
from headrace.engines.sort import SortBy, sort_rows
from headrace.engines.spill import SpillFolder, naming_full
from headrace.errors import UnsupportedTableError
from headrace.iceberg.projection import Absent, Cast, Elements, Entries, Fields, Same, Step
from headrace.identifiers import quote, quote_text
from headrace.tables.flaws import find_flaws
from headrace.tables.lake import LakeTable
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches

_BATCH_ROWS = 65_536


def scan_sql(version: TableVersion, *, folder: Path) -> str:
    """Render a pinned snapshot as a DuckDB table expression with the columns of `version.schema`.

    `folder` lasts as long as the engine: metadata of other programs is copied there.

    Raises:
        CorruptFileError: If its metadata is damaged. DuckDB checks neither that nor data files.
        StorageError: If `folder` cannot be written.
        UnsupportedTableError: If DuckDB would read it wrong, or not survive it.

    """
    version.check_metadata()
    refuse_lost_columns(version)
    refuse_misread_deletes(version)
    refuse_folded_names(version.columns_then, table=str(version.name))
    refuse_folded_names(version.schema, table=str(version.name))
    if not _has_files(version):
        columns = ", ".join(_null(field) for field in version.schema)
        return f"(select {columns} where false)"
    flaws = find_flaws(version, version.files())
    refuse_unmarked_text(flaws, table=str(version.name))
    fenced = columns_of_unproved_bounds(flaws, version.columns_then)
    # DuckDB shows a snapshot in the schema it was committed with: what came later is done here
    columns = ", ".join(
        f"{_stepped(_read(name, fenced=name in fenced), step)} as {quote(field.name)}"
        for field, (name, step) in zip(version.schema, version.since_then.columns, strict=True)
    )
    location = quote_text(engine_metadata(version, folder=folder))
    return (
        f"(select {columns} from "
        f"iceberg_scan({location}, snapshot_from_id = {version.snapshot_id}))"
    )


def _read(name: str | None, *, fenced: bool) -> str | None:
    if name is None or not fenced:
        return None if name is None else quote(name)
    return f"[{quote(name)}][1]"  # no filter passes this, so none meets the bounds of files


def _has_files(version: TableVersion) -> bool:
    # not by the count of rows: a row that two delete files take away is subtracted from it twice
    total = version.summary.get("total-data-files")
    return bool(version.files()) if total is None else int(total) > 0


class DuckDBEngine:
    """One in-memory DuckDB with its own spill folder."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        spill: SpillFolder,
        *,
        verified: VerifiedFiles,
    ) -> None:
        self._connection, self._spill, self._verified = connection, spill, verified
        self._bound: dict[str, TableVersion] = {}
        self._reads_iceberg = False

    @classmethod
    def open(cls, settings: Settings) -> "DuckDBEngine":
        """Start an engine with the memory and threads of `settings`."""
        spill = SpillFolder(settings.state_dir / "spill")
        connection = open_in_memory()
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"set threads = {settings.threads}")
        connection.execute(f"set memory_limit = '{settings.memory_limit_mib}MiB'")
        connection.execute(f"set temp_directory = {quote_text(str(spill.path))}")
        return cls(connection, spill, verified=VerifiedFiles.of(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def bind(self, name: str, version: TableVersion) -> None:
        """Make a pinned snapshot readable as `name` (`relation` or `namespace.relation`).

        Its data files are checked before, each once as long as it does not change: DuckDB takes a
        flipped bit for another value.

        Raises:
            CorruptFileError: If a file is missing or damaged.
            UnsupportedTableError: If DuckDB cannot read it, or would read it wrong.

        """
        self._read_iceberg()
        rows = scan_sql(version, folder=self._spill.path)
        relation = self._relation(name)
        self._verified.verify(version)
        with naming_damage(self._verified, lambda: [version]):
            try:
                self._connection.execute(f"create or replace view {relation} as from {rows}")
            except duckdb.ProgrammingError as error:
                detail = f"DuckDB cannot read it: {error}"
                raise UnsupportedTableError(str(version.name), detail) from error
        self._bound[relation] = version

    def bind_arrow(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`, as often as wanted.

        Raises:
            UnsupportedTableError: If names of it differ only in case.

        """
        refuse_folded_names(table.schema, table=name)
        relation = self._relation(name)
        self._connection.register("headrace_arrow", table)
        self._connection.execute(f"create or replace table {relation} as from headrace_arrow")
        self._connection.unregister("headrace_arrow")

    def _read_iceberg(self) -> None:
        if not self._reads_iceberg:
            load_iceberg_extension(self._connection)
            self._reads_iceberg = True

    def _relation(self, name: str) -> str:
        parts = name.split(".")
        if len(parts) == 2:
            self._connection.execute(f"create schema if not exists {quote(parts[0])}")
        return ".".join(quote(part) for part in parts)

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one query and stream its rows; the reader must be drained before the next query.

        Raises:
            CorruptFileError: Here or while reading, if a file of a bound version is damaged since.
            StorageFullError: Here or while reading, if there is no room for what does not fit into
                memory.

        """
        with self._naming_damage(), naming_full(self._spill.path):
            rows = self._connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(rows.schema, self._streamed(rows))

    def _streamed(self, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with self._naming_damage(), naming_full(self._spill.path):
            yield from rows

    def _naming_damage(self) -> AbstractContextManager[None]:
        return naming_damage(self._verified, self._bound.values)

    def write(self, sql: str, *, into: LakeTable) -> tuple[DataFile, ...]:
        """Write a query's rows as data files of a table, in the query's order, uncommitted."""
        return write_batches(into, self.query(sql))

    def sort(
        self, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, by: Sequence[SortBy]
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows in the order of some columns, equal ones as they came: see `sort_rows`."""
        return sort_rows(self._connection, batches, schema=schema, by=by, folder=self._spill.path)

    def close(self) -> None:
        """Release memory and temporary files."""
        self._connection.close()
        self._spill.close()


def _stepped(value: str | None, step: Step, *, depth: int = 0) -> str:
    """Render what a step does to a value; None stands for one that was not there."""
    sql_type = _sql_type(step.target)
    if value is None:
        return f"cast(null as {sql_type})"
    each = f"e{depth}"
    match step:
        case Fields():
            fields = ", ".join(
                f"{quote(field.name)} := {_stepped(_part(value, name), inner, depth=depth)}"
                for field, (name, inner) in zip(step.target, step.sources, strict=True)
            )
            changed = f"struct_pack({fields})"
        case Elements():
            element = _stepped(each, step.element, depth=depth + 1)
            changed = f"list_transform({value}, lambda {each}: {element})"
        case Entries():
            key = _stepped(_part(each, "key"), step.key, depth=depth + 1)
            item = _stepped(_part(each, "value"), step.value, depth=depth + 1)
            entry = f"struct_pack(key := {key}, value := {item})"
            changed = (
                f"map_from_entries(list_transform(map_entries({value}), lambda {each}: {entry}))"
            )
        case Absent() | Cast():
            return f"cast({value} as {sql_type})"
        case Same():
            return value
    return f"case when {value} is null then null else {changed} end"


def _part(value: str, name: str | None) -> str | None:
    return None if name is None else f"struct_extract({value}, {quote_text(name)})"


def _null(field: pa.Field) -> str:
    return f"cast(null as {_sql_type(field.type)}) as {quote(field.name)}"


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"map({_sql_type(kind.key_type)}, {_sql_type(kind.item_type)})"
    if pa.types.is_struct(kind):
        fields = (kind.field(position) for position in range(kind.num_fields))
        return f"struct({', '.join(f'{quote(f.name)} {_sql_type(f.type)}' for f in fields)})"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    if pa.types.is_fixed_size_binary(kind):
        return "blob"
    names = {
        pa.string(): "varchar",
        pa.binary(): "blob",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double",
        pa.bool_(): "boolean",
        pa.date32(): "date",
        pa.time64("us"): "time",
        pa.uuid(): "uuid",
    }
    return names[kind]
