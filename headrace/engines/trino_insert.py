"""Plans an insert of a query's rows into a table: which columns, which casts, in which order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from headrace.engines.trino_dialect import type_sql
from headrace.engines.trino_sql import OrderTerm
from headrace.errors import ColumnReason, ContractError, QueryFailedError, Remedy
from headrace.identifiers import quote

_NULL = re.compile(r"NULL value not allowed for NOT NULL column: (\S+)")
_OF_VALUES = frozenset({"INVALID_CAST_ARGUMENT", "NUMERIC_VALUE_OUT_OF_RANGE", "TYPE_MISMATCH"})


@dataclass(frozen=True, kw_only=True)
class InsertPlan:
    """The columns to write, each with the expression over the query's columns that gives it."""

    columns: tuple[tuple[str, str], ...]

    def statement(self, sql: str, *, where: str = "") -> str:
        """Render the query of the rows as they are written; `where` chooses among them."""
        values = ", ".join(f"{value} as {quote(name)}" for name, value in self.columns)
        rows = sql.rstrip().rstrip(";")
        return f"select {values} from (\n{rows}\n) as written{where}"


def plan_insert(found: pa.Schema, wanted: pa.Schema, *, table: str) -> InsertPlan:
    """Match a query's columns with a table's, as `tables.writer.fit` does for batches. Pure.

    Types that would be rounded are refused, as a cast of Trino would not say it: integers from
    fractions, decimals of a smaller scale, doubles from integers that they cannot hold.

    Raises:
        ContractError: If a column is missing, unknown, twice or does not fit; it names the column.

    """
    names = found.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        detail, reason = f"column `{twice}` occurs more than once", ColumnReason.DUPLICATE_COLUMN
        raise ContractError(table, detail, reason=reason, column=twice)
    unknown = next((name for name in names if name not in wanted.names), None)
    if unknown is not None:
        detail, reason = f"it has no column `{unknown}`", ColumnReason.UNKNOWN_COLUMN
        raise ContractError(table, detail, reason=reason, column=unknown)
    columns: list[tuple[str, str]] = []
    for field in wanted:
        if field.name in names:
            columns.append((field.name, _value(found.field(field.name), field, table=table)))
        elif not field.nullable:
            detail = f"required column `{field.name}` is null or missing"
            reason = ColumnReason.NULL_VALUE
            raise ContractError(table, detail, reason=reason, column=field.name)
    return InsertPlan(columns=tuple(columns))


def as_contract_error(error: QueryFailedError, *, table: str) -> Exception:
    """Name a refused row as `tables.writer` does; other errors stay what they are."""
    if found := _NULL.search(error.detail):
        detail = f"required column `{found[1]}` is null or missing (query `{error.query_id}`)"
        return ContractError(table, detail, reason=ColumnReason.NULL_VALUE, column=found[1])
    if error.reason in _OF_VALUES:
        detail = f"{error.detail} (query `{error.query_id}`)"
        return ContractError(table, detail, reason=ColumnReason.WRONG_VALUE)
    return error


def file_order(
    terms: Sequence[OrderTerm] | None, wanted: pa.Schema
) -> tuple[tuple[str, bool, bool], ...] | None:
    """Turn the order of a query into the order of each file; None if files cannot have it.

    A qualified name may be another column than the one of that name that is written.
    """
    if terms is None or any(each.qualified or each.column not in wanted.names for each in terms):
        return None
    kinds = [wanted.field(each.column).type for each in terms]
    if any(pa.types.is_nested(kind) for kind in kinds):
        return None
    return tuple((each.column, each.descending, each.nulls_first) for each in terms)


def _value(found: pa.Field, wanted: pa.Field, *, table: str) -> str:
    name, have, want = quote(found.name), found.type, wanted.type
    if have == want:
        return name
    if not _fits(have, want):
        raise ContractError(
            table,
            f"`{wanted.name}` is {want}, got {have}",
            reason=ColumnReason.WRONG_TYPE,
            column=wanted.name,
            remedy=Remedy(advice="cast it"),
        )
    return f"cast({name} as {type_sql(want)})"


def _fits(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether a cast of Trino keeps every value, or fails where it would not."""
    if pa.types.is_null(have):
        return True
    if pa.types.is_integer(have):
        exact = have.bit_width < 64  # a double holds 53 bits
        return (
            pa.types.is_integer(want)
            or (want == pa.float64() and exact)
            or pa.types.is_decimal(want)
        )
    if pa.types.is_decimal(have) and pa.types.is_decimal(want):
        return have.scale <= want.scale
    if pa.types.is_floating(have):
        return pa.types.is_floating(want)
    if pa.types.is_timestamp(have) and pa.types.is_timestamp(want):
        return (have.tz is None) == (want.tz is None)
    if pa.types.is_nested(have) or pa.types.is_fixed_size_binary(want):
        return pa.types.is_nested(want) or pa.types.is_binary(have)
    return False
