"""SQL as Trino spells it. Text only: no Trino is needed to render it."""

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
_MILLISECOND_US, _SECOND_US = 1_000, 1_000_000


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


def _path(keys: Sequence[str]) -> str:
    return quote_text("$" + "".join(f'["{key}"]' for key in keys))


class TrinoDialect:
    """Implements `Dialect` for Trino.

    Instants are exact between 1902 and 2105. `to_unixtime` is a double, which beyond 2^32 seconds is
    off by more than half a microsecond.
    """

    name = "trino"
    has_asof_join = False

    def epoch_us(self, instant: str) -> str:
        """Render the microseconds since 1970 of an instant.

        Whole seconds are exact doubles; only the rest is rounded. A product of all of it would be
        off by a microsecond from 2038 on.
        """
        whole = f"to_unixtime(date_trunc('second', {instant}))"
        rest = f"round((to_unixtime({instant}) - {whole}) * {_SECOND_US})"
        return f"(cast({whole} as bigint) * {_SECOND_US} + cast({rest} as bigint))"

    def instant(self, us: str) -> str:
        """Render the instant of a count of microseconds."""
        nanos = f"from_unixtime_nanos(({us}) * 1000)"
        return f"cast({nanos} as timestamp(6) with time zone)"

    def literal(self, moment: datetime) -> str:
        """Render a moment as a constant."""
        return f"timestamp '{utc_text(moment)} UTC'"

    def shifted(self, instant: str, by: timedelta) -> str:
        """Render an instant moved by a duration: an interval, which has whole milliseconds."""
        if not by:
            return instant
        sign, us = ("-", -by // MICROSECOND) if by < timedelta(0) else ("+", by // MICROSECOND)
        if us % _MILLISECOND_US:
            return self.instant(f"{self.epoch_us(instant)} {sign} {us}")
        seconds, rest = divmod(us, _SECOND_US)
        fraction = f".{rest // _MILLISECOND_US:03}" if rest else ""
        return f"{instant} {sign} interval '{seconds}{fraction}' second"

    def is_nan(self, number: str) -> str:
        """Render whether a double is NaN."""
        return f"is_nan({number})"

    def md5_hex(self, text: str) -> str:
        """Render the MD5 of a text in hexadecimal digits."""
        return f"lower(to_hex(md5(to_utf8({text}))))"

    def hash60(self, text: str) -> str:
        """Render the first 60 bits of the MD5 of a text."""
        return f"from_base(substr(to_hex(md5(to_utf8({text}))), 1, 15), 16)"

    def tie_hash(self, values: Sequence[str]) -> str:
        """Render a hash of values by their texts, a bigint."""
        texts = ", ".join(f"cast({value} as varchar)" for value in values)
        return f"from_big_endian_64(xxhash64(to_utf8(concat_ws(chr(31), {texts}))))"

    def has_json(self, text: str, path: Sequence[str]) -> str:
        """Render whether something is at a path: a null of JSON is no null of SQL."""
        return f"json_extract({text}, {_path(path)}) is not null"

    def json_as(self, text: str, path: Sequence[str], kind: pa.DataType) -> str:
        """Render a value of a type."""
        if pa.types.is_list(kind):
            return f"cast(json_extract({text}, {_path(path)}) as {type_sql(kind)})"
        found = f"json_extract_scalar({text}, {_path(path)})"
        if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
            return f"from_base64({found})"
        if pa.types.is_timestamp(kind):
            return f"cast(from_iso8601_timestamp_nanos({found}) as {type_sql(kind)})"
        return f"cast({found} as {type_sql(kind)})"

    def first_of_key(self, rows: FirstOfKey) -> str:
        """Render the choice of one row of each key, by a number in a sub-select."""
        names = ", ".join(name for _, name in rows.columns)
        return (
            f"select {names} from (select {columns_as(rows.columns)},"
            f" {first_over(rows)} as headrace_nth from {rows.relation} where {rows.where}) where headrace_nth = 1"
        )

    def newest_before(self, join: NewestBefore) -> str:
        """Render one time line of probes and rows, of each key.

        A probe sorts before a row of the same instant, which keeps the comparison strict. What is
        taken of a row travels through the window as one value: a join would compute the rows again.
        """
        keys = ", ".join(join.keys)
        probe = list(dict.fromkeys((*join.carried, *join.keys)))
        empty = ", ".join(name if name in join.keys else f"null as {name}" for name in probe)
        columns = [f"s.{name} as {name}" for name in join.carried]
        columns += [f"s.newest[{n}] as {name}" for n, (_, name) in enumerate(join.taken, start=1)]
        row = ", ".join(name for name, _ in join.taken)
        present = " and ".join(f"{key} is not null" for key in join.keys)
        return (
            f"select {', '.join(columns)} from (select {', '.join(probe)}, kind,"
            f" case when {present} then last_value(held) ignore nulls over"
            f" (partition by {keys} order by moment asc, kind asc"
            " rows between unbounded preceding and current row) end as newest"
            f" from (select {', '.join(probe)}, {join.at} as moment, 0 as kind, null as held"
            f" from {join.probes} e"
            f" union all select {empty}, {join.clock}, 1, row({row}) from {join.rows})) s"
            " where s.kind = 0"
        )

    def step_once(self, name: str, sql: str) -> str:
        """Render a step; Trino repeats every step where it is used."""
        return f"{name} as ({sql})"

    def step_inlined(self, name: str, sql: str) -> str:
        """Render a step; Trino repeats every step where it is used."""
        return f"{name} as ({sql})"
