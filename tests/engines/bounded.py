"""A table of one row a file, and filters by which an engine passes files over."""

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import pyarrow as pa

from headrace.api import Lake
from headrace.engines.base import Engine
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

_LAST = "\U0010ffff"
_DAYS = (dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(9999, 12, 31))
_TIMES = tuple(
    map(
        dt.datetime.fromisoformat,
        ("1900-01-01", "1969-12-31 23:59:59.999999", "1970-01-01", "2200-12-31 23:59:59.000001"),
    )
)
# as many of each, one of which is null
VALUES: Mapping[str, tuple[pa.DataType, Sequence[object]]] = {
    "yes": (pa.bool_(), (True, False, None, True, False, True)),
    "small": (pa.int32(), (-(2**31), -1, None, 0, 1, 2**31 - 1)),
    "big": (pa.int64(), (-(2**63), -1, None, 0, 2**53 + 1, 2**63 - 1)),
    "real": (pa.float32(), (float("-inf"), -0.0, None, 0.0, 1.5, float("nan"))),
    "double": (pa.float64(), (float("-inf"), -0.0, None, 5e-324, 0.1, float("nan"))),
    "exact": (
        pa.decimal128(38, 6),
        (Decimal(f"-{10**31}.5"), Decimal("-0.000001"), None, Decimal(0), Decimal(1), 10**31),
    ),
    "money": (pa.decimal128(9, 2), (Decimal("-1.28"), Decimal(0), None, 1, 128, Decimal("9.99"))),
    "text": (pa.string(), ("", "a" * 16, None, "a" * 16 + "b", "ü" * 16 + _LAST, _LAST * 20)),
    "raw": (pa.binary(), (b"", b"a" * 17, None, b"\x00" * 20, b"\x7f\x80", b"\xff" * 20)),
    "day": (pa.date32(), (_DAYS[0], _DAYS[1], None, _DAYS[2], dt.date(2024, 2, 29), _DAYS[3])),
    "naive": (pa.timestamp("us"), (_TIMES[0], _TIMES[1], None, _TIMES[2], None, _TIMES[3])),
    "zoned": (
        pa.timestamp("us", tz="UTC"),
        tuple(None if at is None else at.replace(tzinfo=dt.UTC) for at in (*_TIMES, None, None)),
    ),
}


def bounded_table(lake: Lake) -> LakeTable:
    """Make a table of `VALUES`, one row in each file."""
    schema = pa.schema(
        [pa.field("id", pa.int64()), *(pa.field(n, k) for n, (k, _) in VALUES.items())]
    )
    table = lake.create(TableName("raw", "bounded"), schema)
    for number in range(len(VALUES["yes"][1])):
        row = {"id": number, **{name: values[number] for name, (_, values) in VALUES.items()}}
        batch = pa.RecordBatch.from_pylist([row], schema=schema)
        append(table, write_batches(table, [batch]), provenance=Provenance())
    return table


def differences(
    engine: Engine, table: LakeTable, *, type_sql: Callable[[pa.DataType], str]
) -> dict[str, list[object]]:
    """Return the columns by which a filter finds other rows in the table than in its rows in memory."""
    engine.bind("found", table.head())
    engine.bind_arrow("expected", table.head().to_arrow())
    differ: dict[str, list[object]] = {}
    for name, (kind, values) in VALUES.items():
        constants = [_constant(value, type_sql(kind)) for value in values if value is not None]
        filters = [f"{name} = {each}" for each in constants]
        filters += [f"{name} {'<>'[k % 2]}= {each}" for k, each in enumerate(constants)]
        filters.append(f"{name} is null")
        if name != "real":  # of which Trino 476 compares lists bit by bit: 0.0 is not -0.0 there
            filters.append(f"{name} in ({', '.join(constants)})")
        found, expected = _found(engine, filters), _expected(engine, filters)
        assert len(expected) > len(filters)
        if found != expected:
            differ[name] = [(filters[k], number) for k, number in sorted(found ^ expected)]
    return differ


def _found(engine: Engine, filters: Sequence[str]) -> set[tuple[int, int]]:
    """Return which filter finds which row, each in a look of its own at the files."""
    each = (f"select {k} as k, id from found where {sql}" for k, sql in enumerate(filters))
    rows = engine.query(" union all ".join(each)).read_all()
    pairs = list(zip(*(rows.column(name).to_pylist() for name in ("k", "id")), strict=True))
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def _expected(engine: Engine, filters: Sequence[str]) -> set[tuple[int, int]]:
    """Return the same of rows in memory, where each filter is a value of the row."""
    each = (f"({sql}) as f{k}" for k, sql in enumerate(filters))
    rows = engine.query(f"select id, {', '.join(each)} from expected").read_all().to_pylist()
    return {(k, row["id"]) for row in rows for k in range(len(filters)) if row[f"f{k}"]}


def _constant(value: object, kind: str) -> str:
    match value:
        case bytes():
            return f"from_hex('{value.hex()}')"
        case str():
            return f"'{value}'"
        case float() if not math.isfinite(value):
            text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case dt.datetime():
            text = f"{value:%Y-%m-%d %H:%M:%S.%f}" + ("+00:00" if value.tzinfo else "")
        case _:
            text = str(value).lower()
    return f"cast('{text}' as {kind})"
