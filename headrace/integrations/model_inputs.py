"""Which tables a model's SQL names, so that it reads none that its provenance does not record."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from headrace.identifiers import TableName, is_plain


def tables_named(connection: duckdb.DuckDBPyConnection, sql: str) -> frozenset[TableName]:
    """Find the schema-qualified tables anywhere in SQL.

    SQL that cannot be parsed returns none: running it reports the error. Nor does SQL that DuckDB
    cannot serialize, a `pivot` without `in`.
    """
    found = connection.execute("select json_serialize_sql(?)", [sql]).fetchone()
    tree: Any = json.loads(found[0]) if found else None
    names = {(schema.lower(), name.lower()) for schema, name in _named(tree)}
    return frozenset(TableName(*parts) for parts in names if all(is_plain(part) for part in parts))


def _named(tree: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(tree, dict):
        if tree.get("type") == "BASE_TABLE" and tree["schema_name"]:
            yield tree["schema_name"], tree["table_name"]
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _named(part)
