"""What Arrow casts without a word, and a table refuses: rows of it would say something else."""

import datetime as dt

import pyarrow as pa
import pytest

from headrace.errors import ColumnReason, ContractError
from headrace.tables.writer import fit
from tests.raising import refused

LONG, DOUBLE, FLOAT = pa.int64(), pa.float64(), pa.float32()
TEXT = pa.string()
NAIVE, TIME = pa.timestamp("us"), pa.timestamp("us", tz="UTC")
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
MIDNIGHT = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
PAIR = pa.struct([("a", LONG), ("b", LONG)])


def fitted(value: object, have: pa.DataType, wanted: pa.DataType) -> object:
    batch = pa.record_batch([pa.array([None, value], have)], names=["c"])
    return fit(batch, pa.schema([pa.field("c", wanted)]), table="raw.t").column(0)[1].as_py()


@pytest.mark.parametrize(
    ("value", "have", "wanted", "reason"),
    [
        (1e300, DOUBLE, FLOAT, ColumnReason.WRONG_VALUE),  # infinite
        ([1e300], pa.list_(DOUBLE), pa.list_(FLOAT), ColumnReason.WRONG_VALUE),
        (
            {"a": -1e300},
            pa.struct([("a", DOUBLE)]),
            pa.struct([("a", FLOAT)]),
            ColumnReason.WRONG_VALUE,
        ),
        ([("k", 1e300)], pa.map_(TEXT, DOUBLE), pa.map_(TEXT, FLOAT), ColumnReason.WRONG_VALUE),
        (1e300, pa.dictionary(pa.int8(), DOUBLE), FLOAT, ColumnReason.WRONG_VALUE),
        (5, LONG, pa.bool_(), ColumnReason.WRONG_VALUE),  # true
        (0.5, DOUBLE, pa.bool_(), ColumnReason.WRONG_VALUE),  # true
        ([MIDNIGHT], pa.list_(NAIVE), pa.list_(TIME), ColumnReason.WRONG_TYPE),  # of any zone
        (0.15, DOUBLE, pa.decimal128(9, 1), ColumnReason.WRONG_VALUE),  # 0.1
        (NOON, TIME, pa.date32(), ColumnReason.WRONG_VALUE),  # midnight
        (NOON, TIME, pa.time64("us"), ColumnReason.WRONG_TYPE),  # of any day
        (1_714_564_800_000, LONG, TIME, ColumnReason.WRONG_TYPE),  # taken for microseconds
        (NOON, TIME, LONG, ColumnReason.WRONG_TYPE),
        (
            {"a": 1, "b": 2},
            PAIR,
            pa.struct([("a", LONG)]),
            ColumnReason.WRONG_TYPE,
        ),  # b was dropped
        (
            [{"a": 1, "b": 2}],
            pa.list_(PAIR),
            pa.list_(pa.struct([("a", LONG)])),
            ColumnReason.WRONG_TYPE,
        ),
    ],
)
def test_a_value_that_would_become_another_one_is_refused_by_name(
    value: object, have: pa.DataType, wanted: pa.DataType, reason: ColumnReason
) -> None:
    with refused(ContractError, reason=reason, column="c"):
        fitted(value, have, wanted)


@pytest.mark.parametrize(
    ("value", "have", "wanted", "found"),
    [
        (0.5, DOUBLE, FLOAT, 0.5),
        (float("inf"), DOUBLE, FLOAT, float("inf")),
        (1, LONG, pa.bool_(), True),
        (1.0, DOUBLE, pa.bool_(), True),
        ([("k", 0.5)], pa.map_(TEXT, DOUBLE), pa.map_(TEXT, FLOAT), [("k", 0.5)]),
        (MIDNIGHT, TIME, pa.date32(), dt.date(2024, 5, 1)),
        ({"b": 1, "a": 2}, pa.struct([("b", pa.int32()), ("a", LONG)]), PAIR, {"a": 2, "b": 1}),
        ({"a": 2}, pa.struct([("a", LONG)]), PAIR, {"a": 2, "b": None}),
    ],
)
def test_a_value_that_stays_what_it_is_is_cast(
    value: object, have: pa.DataType, wanted: pa.DataType, found: object
) -> None:
    assert fitted(value, have, wanted) == found
