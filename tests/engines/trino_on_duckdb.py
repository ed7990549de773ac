"""Trino's SQL on DuckDB: what it means can be tested without a server."""

import sqlglot
from sqlglot import exp


def on_duckdb(sql: str) -> str:
    """Spell one statement of Trino as DuckDB does; both count the fields of a row from 1."""
    return sqlglot.parse_one(sql, read="trino").transform(_unnamed).sql("duckdb")


def _unnamed(node: exp.Expression) -> exp.Expression:
    # sqlglot would name the fields of a row after its columns, which no number finds then
    if isinstance(node, exp.Struct):
        return exp.Anonymous(this="row", expressions=node.expressions)
    return node
