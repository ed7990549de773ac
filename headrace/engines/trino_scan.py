"""A pinned Iceberg snapshot as a Trino query, in the columns of its schema."""

import pyarrow as pa

from headrace.engines.misread_files import refuse_folded_names
from headrace.iceberg.projection import Absent, Cast, Elements, Entries, Fields, Same, Step
from headrace.identifiers import TableName, quote
from headrace.tables.version import TableVersion

_NAMES = {
    pa.string(): "varchar",
    pa.binary(): "varbinary",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.time64("us"): "time(6)",
    pa.uuid(): "uuid",
}


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


def type_sql(kind: pa.DataType) -> str:
    """Render the Trino type that a table's column of an Arrow type has."""
    if pa.types.is_list(kind):
        return f"array({type_sql(kind.value_type)})"
    if pa.types.is_map(kind):
        return f"map({type_sql(kind.key_type)}, {type_sql(kind.item_type)})"
    if pa.types.is_struct(kind):
        fields = (kind.field(position) for position in range(kind.num_fields))
        return f"row({', '.join(f'{quote(f.name)} {type_sql(f.type)}' for f in fields)})"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp(6)" if kind.tz is None else "timestamp(6) with time zone"
    if pa.types.is_fixed_size_binary(kind):
        return "varbinary"
    return _NAMES[kind]


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
