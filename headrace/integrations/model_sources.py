"""What a table records of the columns that those of its dbt model come from."""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from headrace.definitions.properties import MODEL_COLUMNS
from headrace.identifiers import TableName


def model_sources(
    sql: str, columns: Mapping[TableName, Sequence[str]], *, dialect: str
) -> dict[str, str]:
    """Trace the columns of a model, as a property of its table; of SQL that cannot be read none.

    Without the package `sqlglot`, which Dagster brings, nothing is recorded.

    Args:
        sql: What dbt compiled.
        columns: The columns of the tables that it reads.
        dialect: The engine that it is for.

    """
    if find_spec("sqlglot") is None:
        return {}
    from headrace.integrations.column_lineage import column_lineage

    traced = column_lineage(sql, columns, dialect=dialect)
    said = {name: [(str(x.table), x.name) for x in found] for name, found in traced.items()}
    return {MODEL_COLUMNS: json.dumps(said)}
