"""A pinned Iceberg snapshot as a DuckDB table expression, in the columns of its schema."""

from pathlib import Path

import pyarrow as pa

from headrace.engines.duckdb_dialect import sql_type
from headrace.engines.lost_columns import refuse_lost_columns
from headrace.engines.misread_deletes import refuse_misread_deletes
from headrace.engines.misread_files import (
    columns_of_unproved_bounds,
    refuse_folded_names,
    refuse_unmarked_text,
)
from headrace.engines.own_metadata import engine_metadata
from headrace.iceberg.projection import Absent, Cast, Elements, Entries, Fields, Same, Step
from headrace.identifiers import quote, quote_text
from headrace.tables.flaws import find_flaws
from headrace.tables.version import TableVersion


def scan_sql(version: TableVersion, *, folder: Path) -> str:
    """Render a pinned snapshot as a DuckDB table expression with the columns of `version.schema`.

    Metadata of other programs is copied to `folder`, which must last as long as the engine.

    Raises:
        CorruptFileError: If its metadata is damaged. DuckDB checks neither metadata nor data files.
        StorageError: If `folder` cannot be written.
        UnsupportedTableError: If DuckDB would misread it or end the process.

    """
    version.check_metadata()
    refuse_lost_columns(version)
    refuse_misread_deletes(version)
    refuse_folded_names(version.columns_at_commit, table=str(version.name))
    refuse_folded_names(version.schema, table=str(version.name))
    if not _has_files(version):
        return f"({empty_sql(version.schema)})"
    flaws = find_flaws(version, version.files())
    refuse_unmarked_text(flaws, table=str(version.name))
    fenced = columns_of_unproved_bounds(flaws, version.columns_at_commit)
    # DuckDB shows a snapshot in the schema of its commit: later changes are applied here
    columns = ", ".join(
        f"{_stepped(_read(name, fenced=name in fenced), step)} as {quote(field.name)}"
        for field, (name, step) in zip(
            version.schema, version.projection_since_commit.columns, strict=True
        )
    )
    location = quote_text(engine_metadata(version, folder=folder))
    return (
        f"(select {columns} from "
        f"iceberg_scan({location}, snapshot_from_id = {version.snapshot_id}))"
    )


def empty_sql(columns: pa.Schema) -> str:
    """Render a query of no rows with these columns."""
    return f"select {', '.join(_null(field) for field in columns)} where false"


def _read(name: str | None, *, fenced: bool) -> str | None:
    if name is None or not fenced:
        return None if name is None else quote(name)
    return f"[{quote(name)}][1]"  # no filter is pushed through this, so file bounds are not used


def _has_files(version: TableVersion) -> bool:
    # not by the row count: a row that two delete files delete is subtracted twice
    total = version.summary.get("total-data-files")
    return bool(version.files()) if total is None else int(total) > 0


def _stepped(value: str | None, step: Step, *, depth: int = 0) -> str:
    """Render what a step does to a value; None stands for a column that did not exist."""
    kind = sql_type(step.target)
    if value is None:
        return f"cast(null as {kind})"
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
            return f"cast({value} as {kind})"
        case Same():
            return value
    return f"case when {value} is null then null else {changed} end"


def _part(value: str, name: str | None) -> str | None:
    return None if name is None else f"struct_extract({value}, {quote_text(name)})"


def _null(field: pa.Field) -> str:
    return f"cast(null as {sql_type(field.type)}) as {quote(field.name)}"
