"""SQL as DuckDB spells it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from headrace.engines.dialect import (
    MICROSECOND,
    FirstOfKey,
    NewestBefore,
    columns_as,
    first_over,
    utc_text,
)
from headrace.identifiers import quote, quote_text

_NAMES = {
    pa.string(): "varchar",
    pa.binary(): "blob",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.time64("us"): "time",
    pa.uuid(): "uuid",
}


def sql_type(kind: pa.DataType) -> str:
    """Render the DuckDB type that a table's column of an Arrow type has."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"map({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_struct(kind):
        fields = (kind.field(position) for position in range(kind.num_fields))
        return f"struct({', '.join(f'{quote(f.name)} {sql_type(f.type)}' for f in fields)})"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    if pa.types.is_fixed_size_binary(kind):
        return "blob"
    return _NAMES[kind]


def _path(keys: Sequence[str]) -> str:
    return quote_text("$" + "".join(f'."{key}"' for key in keys))


class DuckDBDialect:
    """Implements `Dialect` for DuckDB 1.5."""

    name = "duckdb"
    has_asof_join = True

    def epoch_us(self, instant: str) -> str:
        """Render the microseconds since 1970 of an instant, a bigint."""
        return f"epoch_us({instant})"

    def instant(self, us: str) -> str:
        """Render the instant of a count of microseconds."""
        return f"make_timestamptz({us})"

    def literal(self, moment: datetime) -> str:
        """Render a moment as a constant."""
        return f"timestamptz '{utc_text(moment)}+00:00'"

    def shifted(self, instant: str, by: timedelta) -> str:
        """Render an instant moved by a duration.

        DuckDB adds an interval to a `timestamptz` through a calendar, at three times the cost of a
        whole point-in-time join. Adding microseconds avoids that.
        """
        if not by:
            return instant
        return self.instant(f"{self.epoch_us(instant)} + ({by // MICROSECOND})")

    def is_nan(self, number: str) -> str:
        """Render whether a double is NaN."""
        return f"isnan({number})"

    def md5_hex(self, text: str) -> str:
        """Render the MD5 of a text in hexadecimal digits."""
        return f"md5({text})"

    def hash60(self, text: str) -> str:
        """Render the first 60 bits of the MD5 of a text."""
        return f"cast('0x' || substr(md5({text}), 1, 15) as bigint)"

    def tie_hash(self, values: Sequence[str]) -> str:
        """Render a hash of values, an unsigned bigint."""
        return f"hash({', '.join(values)})"

    def has_json(self, text: str, path: Sequence[str]) -> str:
        """Render whether something is at a path."""
        return f"json_exists({text}, {_path(path)})"

    def json_as(self, text: str, path: Sequence[str], kind: pa.DataType) -> str:
        """Render a value of a type."""
        if pa.types.is_list(kind):
            return f"cast(json_extract({text}, {_path(path)}) as {sql_type(kind)})"
        found = f"json_extract_string({text}, {_path(path)})"
        if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
            return f"from_base64({found})"
        return f"cast({found} as {sql_type(kind)})"

    def first_of_key(self, rows: FirstOfKey) -> str:
        """Render the choice of one row of each key, by `qualify`."""
        return (
            f"select {columns_as(rows.columns)} from {rows.relation} where {rows.where}"
            f" qualify {first_over(rows)} = 1"
        )

    def newest_before(self, join: NewestBefore) -> str:
        """Render an `asof left join`."""
        columns = [f"e.{name} as {name}" for name in join.carried]
        columns += [f"r.{name} as {output}" for name, output in join.taken]
        same = " and ".join(f"e.{key} = r.{key}" for key in join.keys)
        return (
            f"select {', '.join(columns)} from {join.probes} e"
            f" asof left join {join.rows} r on {same} and {join.at} > r.{join.clock}"
        )

    def step_once(self, name: str, sql: str) -> str:
        """Render a step that is computed once."""
        return f"{name} as materialized ({sql})"

    def step_inlined(self, name: str, sql: str) -> str:
        """Render a step that is repeated where it is used."""
        return f"{name} as not materialized ({sql})"
