"""Which columns of its inputs each column of a dbt model is computed from, read from its SQL."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope
from sqlglot.schema import MappingSchema

from headrace.errors import InvalidNameError
from headrace.identifiers import TableName

# what sqlglot raises of queries that it does not know well enough; a build is not to fail by it
_UNREADABLE = (SqlglotError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


class Column(NamedTuple):
    """A column of a table."""

    table: TableName
    name: str


def column_lineage(
    sql: str, columns: Mapping[TableName, Sequence[str]], *, dialect: str
) -> dict[str, tuple[Column, ...]]:
    """Trace each column of a query to the columns of tables; empty if the query cannot be read.

    Columns that only filter or join are left out.

    Args:
        sql: What dbt compiled.
        columns: The columns of the tables that it reads, so that `*` can be expanded.
        dialect: The engine that it is for.

    """
    schema = MappingSchema(
        {
            namespace: {
                table.name: dict.fromkeys(names, "text")
                for table, names in columns.items()
                if table.namespace == namespace
            }
            for namespace in {table.namespace for table in columns}
        },
        dialect=dialect,
    )
    try:
        query = parse_one(sql, dialect=dialect)
        for table in query.find_all(exp.Table):
            table.set("catalog", None)  # of the engine's session: it stores nothing
        query = qualify(query, schema=schema, dialect=dialect, validate_qualify_columns=False)
        if not isinstance(query, exp.Query):
            return {}
        scope = build_scope(query)
        return {
            name: _sources(name, query, scope=scope, schema=schema, dialect=dialect)
            for name in query.named_selects
        }
    except _UNREADABLE:
        return {}


def _sources(
    name: str,
    query: exp.Expr,
    *,
    scope: object,
    schema: MappingSchema,
    dialect: str,
) -> tuple[Column, ...]:
    node = lineage(name, query, schema, scope=scope, dialect=dialect, trim_selects=False)  # pyright: ignore[reportArgumentType]
    found: set[Column] = set()
    for each in node.walk():
        if isinstance(each.source, exp.Table) and each.name != "*":  # of a table not in `columns`
            try:
                table = TableName(each.source.db, each.source.name)
            except InvalidNameError:
                continue
            found.add(Column(table, exp.to_column(each.name).name))
    return tuple(sorted(found))
