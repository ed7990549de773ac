"""A pinned Iceberg snapshot as a Trino query, in the columns of its schema."""

import pyarrow as pa

from headrace.engines.misread_files import refuse_folded_names
from headrace.engines.trino_dialect import type_sql
from headrace.iceberg.projection import Absent, Cast, Elements, Entries, Fields, Same, Step
from headrace.identifiers import TableName, quote
from headrace.tables.version import TableVersion


def scan_sql(version: TableVersion, *, catalog: str) -> str:
    """Render a pinned snapshot as a `select` of the columns of `version.schema`.

    Raises:
        CorruptFileError: If its metadata is damaged; Trino checks no checksums.
        UnsupportedTableError: If Trino would misread it.

    """
    version.check_metadata()
    for columns in (version.columns_at_commit, version.schema):
        refuse_folded_names(columns, table=str(version.name), engine="Trino")
    if version.snapshot_id is None:
        nulls = ", ".join(f"{_null(field.type)} as {quote(field.name)}" for field in version.schema)
        return f"select {nulls} where false"
    # Trino shows a snapshot in the schema of its commit: later changes are applied here
    columns = ", ".join(
        f"{_stepped(None if name is None else quote(name), step)} as {quote(field.name)}"
        for field, (name, step) in zip(
            version.schema, version.projection_since_commit.columns, strict=True
        )
    )
    table = table_sql(version.name, catalog=catalog)
    return f"select {columns} from {table} for version as of {version.snapshot_id}"


def table_sql(name: TableName, *, catalog: str) -> str:
    """Render a table's full name."""
    return f"{quote(catalog)}.{name.sql}"


def _stepped(value: str | None, step: Step, *, depth: int = 0) -> str:
    """Render what a step does to a value; None stands for a column that did not exist."""
    if value is None:
        return _null(step.target)
    each = f"e{depth}"
    match step:
        case Fields():
            fields = ", ".join(
                _stepped(None if name is None else f"{value}.{quote(name)}", inner, depth=depth)
                for name, inner in step.sources
            )
            changed = f"cast(row({fields}) as {type_sql(step.target)})"
        case Elements():
            element = _stepped(each, step.element, depth=depth + 1)
            changed = f"transform({value}, {each} -> {element})"
        case Entries():
            key = _stepped(f"{each}[1]", step.key, depth=depth + 1)
            item = _stepped(f"{each}[2]", step.value, depth=depth + 1)
            entries = f"transform(map_entries({value}), {each} -> row({key}, {item}))"
            changed = f"map_from_entries({entries})"
        case Absent() | Cast():
            return f"cast({value} as {type_sql(step.target)})"
        case Same():
            return value
    return f"case when {value} is null then null else {changed} end"


def _null(kind: pa.DataType) -> str:
    return f"cast(null as {type_sql(kind)})"
