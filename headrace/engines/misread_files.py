"""What of a table's names and files DuckDB reads wrong: refused, or kept from going wrong."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from headrace.errors import UnsupportedTableError
from headrace.iceberg.schema import field_id
from headrace.tables.flaws import FileFlaws


def refuse_folded_names(columns: pa.Schema, *, table: str) -> None:
    """Refuse columns, or fields of a struct, whose names differ only in case.

    DuckDB 1.5.5 takes them for one: it shows the values of the first under a made-up name, and null
    for the other.

    Raises:
        UnsupportedTableError: Naming them.

    """
    if twins := _twins(list(columns)):
        one, other = twins
        detail = (
            f"`{one}` and `{other}` differ only in case, and DuckDB takes them for one; rename one "
            f"with `headrace tables alter {table}` and write to the table again"
        )
        raise UnsupportedTableError(table, detail)


def refuse_unmarked_text(flaws: Mapping[str, FileFlaws], *, table: str) -> None:
    """Refuse files whose text is not marked as text: DuckDB shows the bytes of what is not ASCII.

    Raises:
        UnsupportedTableError: Naming a file; compaction mends it.

    """
    for path, each in flaws.items():
        if each.unmarked_text:
            detail = (
                f"`{path}` has text that is not marked as text, of which DuckDB would show the "
                f"bytes; write it anew with `headrace tables compact {table} --apply`"
            )
            raise UnsupportedTableError(table, detail)


def columns_of_unproved_bounds(
    flaws: Mapping[str, FileFlaws], columns: pa.Schema
) -> frozenset[str]:
    """Name those of some columns, with their ids, by whose bounds DuckDB would leave rows out."""
    unproved = frozenset(key for each in flaws.values() for key in each.unproved_bounds)
    return frozenset(field.name for field in columns if not unproved.isdisjoint(_ids(field)))


def _twins(fields: Sequence[pa.Field]) -> tuple[str, str] | None:
    seen: dict[bytes, str] = {}
    for field in fields:
        folded = field.name.encode().lower()  # of letters beyond ASCII DuckDB keeps the case
        if folded in seen:
            return seen[folded], field.name
        seen[folded] = field.name
    inner = (_twins(_children(field.type)) for field in fields)
    return next((twins for twins in inner if twins), None)


def _ids(field: pa.Field) -> set[int | None]:
    return {field_id(field)}.union(*map(_ids, _children(field.type)))


def _children(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(at) for at in range(kind.num_fields)] if pa.types.is_nested(kind) else []
