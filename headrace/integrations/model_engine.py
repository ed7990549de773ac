"""What a model's build asks of the engine that computes its rows: DuckDB in this process, or a server."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from headrace.engines.base import Engine
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.trino_sql import names_in, without_database
from headrace.identifiers import TableName, is_plain, quote
from headrace.integrations.model_inputs import tables_named
from headrace.integrations.model_request import ModelRequest
from headrace.integrations.model_types import arrow_schema, kept_schema

_NEW_ROWS = "headrace_new_rows"
DATABASE = "memory"  # dbt's name for the DuckDB that all targets have


class ModelEngine(Protocol):
    """Computes the rows of one model at a time."""

    def columns(self, sql: str, request: ModelRequest) -> pa.Schema:
        """Return the columns that a query gives, with their table types; nothing is computed.

        Raises:
            ModelTypeError: If a column has a type that tables cannot keep.

        """
        ...

    def tables_named(self, sql: str) -> frozenset[TableName]:
        """Find the schema-qualified tables anywhere in SQL."""
        ...

    def kept(self, sql: str) -> str:
        """Return SQL for the same rows, computed once where the engine can keep them."""
        ...

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one query and stream its rows; see `Engine.query`."""
        ...


class DuckDBModels:
    """Computes models in the DuckDB of dbt; may leave temporary tables there."""

    def __init__(self, engine: DuckDBEngine) -> None:
        self._engine = engine

    def columns(self, sql: str, request: ModelRequest) -> pa.Schema:
        """See `ModelEngine.columns`.

        Raises:
            ModelTypeError: If a column has a type that tables cannot keep.

        """
        rows = self._engine.connection.sql(sql)
        return arrow_schema(rows.columns, rows.types, request)

    def tables_named(self, sql: str) -> frozenset[TableName]:
        """See `ModelEngine.tables_named`."""
        return tables_named(self._engine.connection, sql)

    def kept(self, sql: str) -> str:
        """Keep the rows in a temporary table."""
        self._engine.connection.execute(f"create or replace temp table {_NEW_ROWS} as {sql}")
        return f"select * from {_NEW_ROWS}"

    def query(self, sql: str) -> pa.RecordBatchReader:
        """See `ModelEngine.query`."""
        return self._engine.query(sql)


class ServerModels:
    """Computes models on a server, over the snapshots that are bound to it by their names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def columns(self, sql: str, request: ModelRequest) -> pa.Schema:
        """See `ModelEngine.columns`.

        Raises:
            ModelTypeError: If a column has a type that tables cannot keep.

        """
        with self.query(f"select * from ({sql}) as model limit 0") as rows:
            found = rows.read_all().schema
        return kept_schema(found, request)

    def tables_named(self, sql: str) -> frozenset[TableName]:
        """See `ModelEngine.tables_named`."""
        found = (name.split(".") for name in names_in(without_database(sql, DATABASE)))
        return frozenset(TableName(*parts) for parts in found if all(map(is_plain, parts)))

    def kept(self, sql: str) -> str:
        """Return the same SQL: its inputs are pinned, so that it gives the same rows again."""
        return sql

    def query(self, sql: str) -> pa.RecordBatchReader:
        """See `ModelEngine.query`."""
        return self._engine.query(without_database(sql, DATABASE))


def duplicate_key(
    engine: ModelEngine, sql: str, *, keys: Sequence[str]
) -> tuple[object, ...] | None:
    """Return a key that several rows of a query have; None if there is none."""
    listed = ", ".join(quote(key) for key in keys)
    found = engine.query(
        f"select {listed} from ({sql}) as new_rows group by {listed} having count(*) > 1 "
        f"order by {listed} limit 1"
    ).read_all()
    return tuple(found.to_pylist()[0].values()) if found.num_rows else None
