"""How the server writes files: by the table's recipe, in statements of few partitions each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyiceberg.table import Table

from headrace.engines.trino_insert import InsertPlan
from headrace.iceberg import partitions
from headrace.iceberg.standard_properties import parquet_recipe
from headrace.identifiers import quote_text

PARTITIONS_MAX = 50  # in one statement: the server opens at most 100 for each writer
_CODECS = {"zstd": "ZSTD", "snappy": "SNAPPY", "gzip": "GZIP", "none": "NONE"}
_TRUNCATED = ("year", "month", "hour")


def session_of(table: Table, *, catalog: str) -> Mapping[str, str]:
    """Return the session properties with which files of a table are written.

    Statistics would be a second commit of the clone, by the same query.

    Raises:
        UnsupportedTableError: If a property of the table has an invalid value.

    """
    recipe = parquet_recipe(table.properties, table=".".join(table.name()))
    return {
        f"{catalog}.compression_codec": _CODECS[recipe.codec],
        f"{catalog}.collect_extended_statistics_on_write": "false",
    }


def keys_of(table: Table, plan: InsertPlan) -> tuple[str, ...]:
    """Render the partition of a row as expressions over the columns of a query.

    Transforms that SQL does not have, as `bucket`, are left out.
    """
    values = dict(plan.columns)
    terms = partitions.terms_of(table.spec(), table.schema())
    keys = (_key(term, values[term.column]) for term in terms if term.column in values)
    return tuple(key for key in keys if key)


def keys_sql(sql: str, keys: Sequence[str]) -> str:
    """Render the query of the partitions that the rows of `sql` belong to, as text."""
    names = [f"k{n}" for n in range(len(keys))]
    columns = ", ".join(f"{key} as {name}" for key, name in zip(keys, names, strict=True))
    texts = ", ".join(f"cast({name} as varchar) as {name}" for name in names)
    listed = ", ".join(names)
    return (
        f"select {texts} from (select distinct {listed} from (select {columns} from (\n{sql}\n)))"
        f" order by {listed}"
    )


def conditions(found: Sequence[Sequence[Any]], keys: Sequence[str]) -> Iterator[str]:
    """Render the conditions that split rows into statements of at most `PARTITIONS_MAX` partitions."""
    for at in range(0, len(found), PARTITIONS_MAX):
        each = (_is(keys, values) for values in found[at : at + PARTITIONS_MAX])
        yield f" where {' or '.join(each)}"


def _is(keys: Sequence[str], values: Sequence[Any]) -> str:
    same = (
        f"cast({key} as varchar) {'is null' if value is None else f'= {quote_text(value)}'}"
        for key, value in zip(keys, values, strict=True)
    )
    return f"({' and '.join(same)})"


def _key(term: partitions.Term, value: str) -> str:
    if term.transform == partitions.IDENTITY:
        return value
    if term.by_day:
        return f"cast({value} as date)"
    return (
        f"date_trunc({quote_text(term.transform)}, {value})" if term.transform in _TRUNCATED else ""
    )
