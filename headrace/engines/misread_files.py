"""Refuses names and files that engines misread, and finds bounds that DuckDB must not use."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from headrace.errors import Remedy, UnsupportedReason, UnsupportedTableError
from headrace.iceberg.schema import field_id
from headrace.tables.flaws import FileFlaws


def refuse_folded_names(columns: pa.Schema, *, table: str, engine: str = "DuckDB") -> None:
    """Refuse columns, or fields of a struct, whose names differ only in case.

    DuckDB 1.5.5 does not tell them apart: it shows the values of the first under another name, and
    null for the second. Trino calls such a name ambiguous.

    Raises:
        UnsupportedTableError: Naming them.

    """
    if twins := _twins(list(columns)):
        one, other = twins
        detail = f"`{one}` and `{other}` differ only in case, and {engine} takes them for one"
        advice = "rename one and write to the table again"
        remedy = Remedy.run_on_catalog("tables", "alter", table, advice=advice)
        reason = UnsupportedReason.NAMES_DIFFER_IN_CASE
        raise UnsupportedTableError(table, detail, reason=reason, column=other, remedy=remedy)


def refuse_unmarked_text(flaws: Mapping[str, FileFlaws], *, table: str) -> None:
    """Refuse files whose text is not marked as text: DuckDB shows characters beyond ASCII as bytes.

    Raises:
        UnsupportedTableError: Naming a file; compaction repairs it.

    """
    for path, each in flaws.items():
        if each.unmarked_text:
            detail = f"`{path}` has text that is not marked as text, of which DuckDB would show the bytes"
            raise UnsupportedTableError(
                table,
                detail,
                reason=UnsupportedReason.UNMARKED_TEXT,
                path=path,
                remedy=Remedy.compact(table),
            )


def columns_of_unproved_bounds(
    flaws: Mapping[str, FileFlaws], columns: pa.Schema
) -> frozenset[str]:
    """Name the columns whose bounds are not proven: filters on them would make DuckDB skip rows."""
    unproved = frozenset(key for each in flaws.values() for key in each.unproved_bounds)
    return frozenset(field.name for field in columns if not unproved.isdisjoint(_ids(field)))


def _twins(fields: Sequence[pa.Field]) -> tuple[str, str] | None:
    seen: dict[bytes, str] = {}
    for field in fields:
        folded = field.name.encode().lower()  # DuckDB folds the case of ASCII letters only
        if folded in seen:
            return seen[folded], field.name
        seen[folded] = field.name
    inner = (_twins(_children(field.type)) for field in fields)
    return next((twins for twins in inner if twins), None)


def _ids(field: pa.Field) -> set[int | None]:
    return {field_id(field)}.union(*map(_ids, _children(field.type)))


def _children(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(at) for at in range(kind.num_fields)] if pa.types.is_nested(kind) else []
