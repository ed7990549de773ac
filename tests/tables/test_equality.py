"""Rows deleted by value: the format's rule, nulls and every type included, against plain Python."""

import datetime as dt
import decimal
import uuid
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.types import LongType

from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import UnsupportedTableError
from headrace.identifiers import TableName
from headrace.tables import commit, schema
from headrace.tables.commit import Provenance
from headrace.tables.equality import ValueDeletes, _field
from headrace.tables.files import write_batches
from headrace.tables.lake import Lake, LakeTable
from tests.tables.delete_files import delete_positions, delete_values
from tests.tables.factories import UTC_US

COLUMNS = pa.schema([("n", pa.int64()), ("a", pa.int32()), ("b", pa.string())])
Row = tuple[int, int | None, str | None]


def new_table(lake: Lake, columns: pa.Schema = COLUMNS) -> LakeTable:
    return lake.create(TableName("raw", f"t{uuid.uuid4().hex}"), columns)


def put(table: LakeTable, rows: list[tuple[Any, ...]], columns: pa.Schema = COLUMNS) -> None:
    batch = pa.record_batch([list(c) for c in zip(*rows, strict=True)], schema=columns)
    commit.append(table, write_batches(table, [batch]), provenance=Provenance())


def left(table: LakeTable) -> list[tuple[Any, ...]]:
    """Read every file through `ValueDeletes`, oldest first."""
    version = table.head()
    wanted = schema.to_arrow(table.iceberg().schema(), field_ids=True)
    entries = sorted(version.files(), key=lambda entry: entry.sequence)
    values = ValueDeletes.of(version, entries)
    batches = [batch for entry in entries for batch in values.rows_left(entry, wanted)]
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


maybe_a = st.one_of(st.none(), st.integers(0, 2))
maybe_b = st.one_of(st.none(), st.sampled_from(["", "x", "y"]))
rows_of = st.lists(st.tuples(st.integers(0, 99), maybe_a, maybe_b), min_size=1, max_size=6)
steps_of = st.lists(
    st.one_of(
        st.tuples(st.just("put"), rows_of),
        st.tuples(st.just("a"), st.lists(st.tuples(maybe_a), min_size=1, max_size=3)),
        st.tuples(st.just("b a"), st.lists(st.tuples(maybe_b, maybe_a), min_size=1, max_size=3)),
        st.tuples(st.just("a b"), st.lists(st.tuples(maybe_a, maybe_b), min_size=1, max_size=3)),
        st.tuples(st.just("position"), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=8,
)


@hypothesis_settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has its own table
)
@given(first=rows_of, steps=steps_of)
def test_rows_go_exactly_if_a_younger_delete_has_their_values(
    lake: Lake, first: list[Row], steps: list[tuple[str, Any]]
) -> None:
    table = new_table(lake)
    put(table, first)
    files = [list(first)]
    model = [list(first)]
    for kind, what in steps:
        if kind == "put":
            put(table, what)
            files.append(list(what))
            model.append(list(what))
        elif kind == "position":
            oldest = min(table.head().files(), key=lambda entry: entry.sequence)
            position = what % oldest.rows
            delete_positions(table, {oldest: [position]}, bounded=what % 2 == 0)
            gone = files[0][position]
            # rows that look alike are told apart by where they are
            files[0][position] = (-1, None, None)
            if gone in model[0]:
                model[0].remove(gone)
        else:
            names = kind.split()
            fields = [COLUMNS.field(name) for name in names]
            columns = [list(column) for column in zip(*what, strict=True)]
            delete_values(table, pa.table(columns, schema=pa.schema(fields)))
            at = [COLUMNS.names.index(name) for name in names]
            for rows in model:
                rows[:] = [row for row in rows if tuple(row[i] for i in at) not in what]
    assert sorted(map(str, left(table))) == sorted(str(row) for rows in model for row in rows)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.bool_(), [True, False]),
        (pa.int32(), [-(2**31), 7]),
        (pa.int64(), [2**62, -1]),
        (pa.float32(), [0.5, float("inf")]),
        (pa.float64(), [0.1, -2.5]),
        (pa.decimal128(20, 3), [decimal.Decimal("1.500"), decimal.Decimal("-7.001")]),
        (pa.date32(), [dt.date(1969, 1, 1), dt.date(2030, 12, 31)]),
        (pa.time64("us"), [dt.time(0), dt.time(23, 59, 59, 999_999)]),
        (UTC_US, [dt.datetime(1960, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 5, 1, tzinfo=dt.UTC)]),
        (pa.string(), ["", "ä"]),
        (pa.binary(), [b"", b"\xff"]),
        (pa.binary(4), [b"abcd", b"\0\0\0\0"]),
        (pa.uuid(), [uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes]),
    ],
)
def test_values_of_every_type_are_found(lake: Lake, kind: pa.DataType, values: list[Any]) -> None:
    columns = pa.schema([("n", pa.int64()), ("v", kind)])
    table = new_table(lake, columns)
    put(table, [(0, values[0]), (1, values[1]), (2, None)], columns)
    delete_values(table, pa.table([[values[0]]], schema=pa.schema([columns.field("v")])))
    assert [row[0] for row in left(table)] == [1, 2]
    delete_values(table, pa.table([[None]], schema=pa.schema([columns.field("v")])))
    assert [row[0] for row in left(table)] == [1]


def test_columns_that_were_dropped_or_added_later_still_say_what_is_deleted(lake: Lake) -> None:
    table = new_table(lake)
    put(table, [(1, 5, "x"), (2, 6, "y")])
    with table.iceberg().update_schema() as update:
        update.add_column("late", LongType())
    late = pa.schema([*COLUMNS, ("late", pa.int64())])
    put(table, [(3, 5, "z", 9)], late)
    delete_values(
        table, pa.table([[None], [6]], schema=pa.schema([late.field("late"), late.field("a")]))
    )
    with table.iceberg().update_schema() as update:
        update.delete_column("a")
    assert left(table) == [(1, "x", None), (3, "z", 9)]


def test_a_field_inside_of_a_struct_is_refused_by_name(lake: Lake) -> None:
    columns = pa.schema([("n", pa.int64()), ("s", pa.struct([("x", pa.int64())]))])
    table = new_table(lake, columns)
    put(table, [(1, {"x": 2})], columns)
    inner = table.iceberg().schema().find_field("s.x").field_id
    with pytest.raises(UnsupportedTableError, match=f"field {inner}"):
        _field(inner, table.iceberg().metadata, table="raw.t")


def test_duckdb_still_takes_nulls_away_with_any_delete_by_value(lake: Lake) -> None:
    """Once this fails DuckDB is right, and may be asked about deletes by value."""
    table = new_table(lake)
    put(table, [(1, None, "x"), (2, 5, "x"), (3, 6, "x")])
    delete_values(table, pa.table({"a": pa.array([5], pa.int32())}))
    assert [row[0] for row in left(table)] == [1, 3]
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("t", table.head())
        assert engine.query("select n from t").read_all()["n"].to_pylist() == [3]
