"""Rows that were read from a table, and their ways on: Arrow, pandas, Polars, DuckDB."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.extras import needing
from headrace.shown import cut, rows_html

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from headrace.engines.duckdb_rows import Connection, Relation

_EXTRA = "frames"
_ROWS_SHOWN = 10
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Rows:
    """Rows in memory, with times in UTC; `arrow` holds them.

    Libraries that take Arrow streams take it as it is: `pa.table(rows)`, `pl.DataFrame(rows)`, and
    DuckDB by the name of the variable.
    """

    arrow: "pa.Table"

    def __len__(self) -> int:
        return self.arrow.num_rows

    def __getitem__(self, column: str) -> "pa.ChunkedArray":
        """Return a column by its name.

        Raises:
            KeyError: If there is none.

        """
        return self.arrow.column(column)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict of Python's values."""
        for batch in self.arrow.to_batches():
            yield from batch.to_pylist()

    def __repr__(self) -> str:
        names = self.arrow.column_names
        more = f", and {len(names) - _NAMES_SHOWN} more" if names[_NAMES_SHOWN:] else ""
        listed = ", ".join(cut(name) for name in names[:_NAMES_SHOWN])
        return f"Rows({len(self):,} rows of {len(names)} columns: {listed}{more})"

    def _repr_html_(self) -> str:
        first = self.arrow.slice(0, _ROWS_SHOWN).to_pylist()
        texts = [[_text(value) for value in row.values()] for row in first]
        return rows_html(self.arrow.column_names, texts, total=len(self))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the rows to a library that takes Arrow's C streams; see Arrow's PyCapsule interface."""
        return self.arrow.__arrow_c_stream__(requested_schema)

    @property
    def schema(self) -> "pa.Schema":
        """The columns and their types."""
        return self.arrow.schema

    def to_arrow(self) -> "pa.Table":
        """Return `arrow`."""
        return self.arrow

    def to_pandas(self) -> "pd.DataFrame":
        """Copy the rows into a frame of pandas.

        Integers stay exact: where a column of their type has nulls, they are pandas' `Int64`.

        Raises:
            ExtraMissingError: If pandas is not installed.

        """
        with needing(_EXTRA):
            import pandas as pd

        exact = {"int32": pd.Int32Dtype(), "int64": pd.Int64Dtype()}
        holed = {str(each.type) for each in self.arrow.columns if each.null_count}
        return self.arrow.to_pandas(
            types_mapper=lambda kind: exact.get(str(kind)) if str(kind) in holed else None
        )

    def to_polars(self) -> "pl.DataFrame":
        """Return the rows as a frame of Polars, which shares the memory where types allow.

        Raises:
            ExtraMissingError: If Polars is not installed.

        """
        with needing(_EXTRA):
            import polars as pl

        return pl.DataFrame(self.arrow)

    def to_duckdb(self, connection: "Connection | None" = None) -> "Relation":
        """Return the rows as a relation of DuckDB, to query without a copy.

        Args:
            connection: Where to query; the one that `duckdb.sql` uses by default.

        """
        from headrace.engines.duckdb_rows import relation_of

        return relation_of(self.arrow, connection)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)
