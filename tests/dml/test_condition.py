"""Conditions mean what SQL means, prove only what is so, and are refused where they do not fit."""

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.expressions import (
    AlwaysTrue,
    EqualTo,
    GreaterThan,
    In,
    LessThan,
    NotEqualTo,
    NotIn,
    Or,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from headrace.api import Lake
from headrace.dml.condition import Condition
from headrace.dml.condition_text import DEPTH_MAX
from headrace.errors import ConditionError
from headrace.identifiers import TableName
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.dml import conditions, keyed
from tests.dml.keyed import SCHEMES, Row, add_rows, arrow, keyed_table
from tests.golden.golden import Golden
from tests.raising import refused, said

TYPED = {
    "i": (pa.int32(), [1, 2, None]),
    "l": (pa.int64(), [1, 2, None]),
    "f": (pa.float32(), [0.3, 0.5, None]),
    "d": (pa.float64(), [0.3, -0.0, None]),
    "n": (pa.decimal128(9, 2), [Decimal("1.50"), Decimal("2.00"), None]),
    "s": (pa.string(), ["a", "b", None]),
    "b": (pa.binary(), [b"a", b"b", None]),
    "x": (pa.binary(2), [b"ab", b"cd", None]),
    "o": (pa.bool_(), [True, False, None]),
    "day": (pa.date32(), [dt.date(2024, 5, 1), dt.date(2024, 5, 2), None]),
    "at": (pa.timestamp("us", tz="UTC"), [keyed.START, keyed.START + dt.timedelta(1), None]),
    "local": (pa.timestamp("us"), [dt.datetime(2024, 5, 1), dt.datetime(2024, 5, 2), None]),  # noqa: DTZ001
    "t": (pa.time64("us"), [dt.time(1), dt.time(2), None]),
    "u": (pa.uuid(), [uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes, None]),
    "tags": (pa.list_(pa.int64()), [[1], [], None]),
}
BATCH = pa.record_batch(
    [pa.array(values, kind) for kind, values in TYPED.values()], names=list(TYPED)
)


@pytest.fixture
def typed(lake: Lake) -> LakeTable:
    return lake.create(TableName("raw", "typed"), BATCH.schema)


def checked(table: LakeTable, condition: object) -> Condition:
    return Condition(condition, table.iceberg().metadata, table="raw.typed")  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@settings(
    max_examples=examples(60, few=20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    condition=conditions.conditions,
    files=st.lists(st.lists(keyed.rows, min_size=1, max_size=3), min_size=1, max_size=3),
    partition_by=st.sampled_from(SCHEMES),
)
def test_rows_match_as_in_sql_and_files_are_never_judged_wrongly(
    lake: Lake,
    condition: conditions.Condition,
    files: list[list[Row]],
    partition_by: tuple[str, ...],
) -> None:
    table = keyed_table(lake, partition_by)
    for rows in files:
        add_rows(table, rows)
    version = table.head()
    ours = Condition(condition.text, version.metadata, table=str(table.name))
    batch = arrow([row for rows in files for row in rows]).combine_chunks().to_batches()[0]
    wanted = [condition.is_true(row) is True for rows in files for row in rows]
    assert ours.matches(batch).to_pylist() == wanted
    listed = {entry.path for entry in version.files_in(ours.may_list)}
    for entry in version.files():
        rows = pa.parquet.read_table(entry.path, partitioning=None).to_pylist()
        true = [condition.is_true(tuple(row.values())) is True for row in rows]  # pyright: ignore[reportArgumentType]
        if any(true):
            assert ours.may_match(entry.data_file)
            assert entry.path in listed
        if not all(true):
            assert not ours.must_match(entry.data_file)


@pytest.mark.parametrize(
    "condition",
    [
        "i = 1",
        "l <= 1",
        "f = 0.3",
        EqualTo("f", 0.3),
        "f in (0.3, 7.5)",
        "d = 0.3",
        "d > 0",
        "n = 1.5",
        "n < 2",
        "n in (1.5, 1.75)",
        "s = 'a'",
        "s not in ('b', 'c')",
        EqualTo("b", b"a"),
        In("b", [b"a", b"z"]),
        EqualTo("x", b"ab"),
        "o = true",
        "day = '2024-05-01'",
        LessThan("day", dt.date(2024, 5, 2)),
        "at = '2024-05-01 00:00:00Z'",
        "at < '2024-05-01T16:59:59-07:00'",
        "at in ('2024-05-01T00:00:00+00:00', '2024-05-01T12:00:00+00:00')",
        EqualTo("at", keyed.START),
        "local < '2024-05-01T00:00:01'",
        "t = '01:00:00'",
        f"u = '{uuid.UUID(int=1)}'",
        NotEqualTo("u", uuid.UUID(int=2)),
        "tags is not null and i = 1",
    ],
    ids=str,
)
def test_a_value_of_every_type_finds_its_row_in_files_and_in_memory(
    typed: LakeTable, condition: object
) -> None:
    ours = checked(typed, condition)
    assert ours.matches(BATCH).to_pylist() == [True, False, False]
    for number, is_there in enumerate([True, False, False]):
        (file,) = write_batches(typed, [BATCH.slice(number, 1)])
        if is_there:
            assert ours.may_match(file)
        else:
            assert not ours.must_match(file)


def test_a_decimal_of_38_digits_is_found_and_one_of_more_is_refused(lake: Lake) -> None:
    digits = "123456789012345678901234567890123456"
    schema = pa.schema([("n", pa.decimal128(38, 2))])
    table = lake.create(TableName("raw", "wide"), schema)
    values = [Decimal(f"{digits}.78"), Decimal(f"{digits}.79"), Decimal(1), None]
    batch = pa.record_batch([pa.array(values, schema.field("n").type)], schema=schema)
    (file,) = write_batches(table, [batch])
    for text, matching in (
        (f"n = {digits}.78", [True, False, False, False]),
        (f"n in ({digits}.79, 1.0)", [False, True, True, False]),
        (f"n > {digits}", [True, True, False, False]),
        (f"n != {digits}.78", [False, True, True, False]),
    ):
        ours = checked(table, text)
        assert ours.matches(batch).to_pylist() == matching
        assert ours.may_match(file)
    assert not checked(table, f"n > {digits}.79").may_match(file)
    for beyond in (f"{digits}9", f"{digits}9.5", "9" * 60, "9" * 100 + ".5", f"{digits}.789"):
        with refused(ConditionError, table="raw.typed", column="n"):
            checked(table, f"n = {beyond}")


def test_zero_is_zero_whatever_its_sign(typed: LakeTable) -> None:
    for condition in ("d = 0.0", "d in (0.0, 5.0)"):
        assert checked(typed, condition).matches(BATCH).to_pylist() == [False, True, False]


def test_missing_statistics_prove_nothing(typed: LakeTable) -> None:
    # bounds without counts: other writers leave them out, and then there may be nulls and NaN
    one = (1).to_bytes(4, "little")
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path="x.parquet",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=3,
        file_size_in_bytes=1,
        lower_bounds={1: one},
        upper_bounds={1: one},
        null_value_counts={},
        nan_value_counts={},
        value_counts={},
    )
    file.spec_id = 0
    for text in ("i = 1", "i != 2", "i not in (2, 3)", "i >= 0", "d < 5.5"):
        assert not checked(typed, text).must_match(file)
        assert checked(typed, text).may_match(file)


def test_a_column_of_nulls_is_unequal_to_nothing(typed: LakeTable) -> None:
    (file,) = write_batches(typed, [BATCH.slice(2, 1)])
    for text in ("s != 'z'", "s not in ('y', 'z')", "not (s = 'z')", "s not like 'z%'"):
        assert not checked(typed, text).must_match(file)
        assert checked(typed, text).matches(BATCH).to_pylist() == [True, True, False]


_REFUSED: tuple[tuple[object, str | None], ...] = (
    ("", None),
    ("i = 1; drop table x", None),
    ("i = l", None),
    ("i == 1 and", None),
    ("true and i = 1", None),
    ("s like 'a%b'", None),
    ("nope = 1", "nope"),
    ("I = 1", "I"),
    ("tags.element = 1", "tags.element"),
    ("tags = 1", "tags"),
    ("i = 'x'", "i"),
    ("i = '7'", "i"),
    ("i = 1.5", "i"),
    ("i = true", "i"),
    ("i = 3000000000", "i"),
    ("i != 3000000000", "i"),
    ("i in (1, 3000000000)", "i"),
    ("n = 1.555", "n"),
    ("n = 12345678.5", "n"),
    ("n = 12345678", "n"),
    (f"d < 1{'0' * 400}.5", "d"),
    ("s = 5", "s"),
    ("s is nan", "s"),
    ("i like '1%'", "i"),
    ("day = 19000", "day"),
    ("day = 'yesterday'", "day"),
    ("day = '2024-13-01'", "day"),
    ("at = '2024-05-01T00:00:00'", "at"),
    ("local = '2024-05-01T00:00:00+00:00'", "local"),
    ("u = 'x'", "u"),
    (EqualTo("x", b"abc"), "x"),
    (GreaterThan("day", keyed.START), "day"),
    ("i = 1 or " * 2_000 + "i = 1", None),
    (NotIn("i", {2**40}), "i"),
)


@pytest.mark.parametrize(("condition", "column"), _REFUSED, ids=lambda each: str(each)[:40])
def test_a_condition_that_does_not_fit_is_refused_by_name(
    typed: LakeTable, condition: object, column: str | None
) -> None:
    with refused(ConditionError, table="raw.typed", column=column):
        checked(typed, condition)


def test_refused_conditions_say_why_and_what_fits(typed: LakeTable, golden: Golden) -> None:
    told = (
        f"{str(each)[:100]}\n  {said(ConditionError, lambda each=each: checked(typed, each))}\n"
        for each, _ in _REFUSED
    )
    golden.check("refused-conditions.txt", "\n".join(told))


@pytest.mark.slow
def test_deep_conditions_are_refused_and_wide_ones_are_not(typed: LakeTable) -> None:
    deep = EqualTo("i", 0)
    for number in range(DEPTH_MAX):
        deep = Or(deep, EqualTo("i", number + 1))
    with refused(ConditionError, column=None):
        checked(typed, deep)
    wide = Or(*(EqualTo("i", number) for number in range(500)))
    assert checked(typed, wide).matches(BATCH).to_pylist() == [True, True, False]
    assert checked(typed, In("i", range(1, 5_000))).matches(BATCH).true_count == 2
    assert checked(typed, AlwaysTrue()).matches(BATCH).true_count == 3
