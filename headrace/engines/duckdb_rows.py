"""Gives rows in memory to a DuckDB of the caller's, without a copy."""

import duckdb
import pyarrow as pa

Connection = duckdb.DuckDBPyConnection
Relation = duckdb.DuckDBPyRelation


def relation_of(rows: pa.Table, connection: Connection | None) -> Relation:
    """Return a relation over `rows`, in the connection that `duckdb.sql` uses if none is given."""
    used = duckdb.default_connection() if connection is None else connection
    return used.from_arrow(rows)
