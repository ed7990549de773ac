"""What a table holds, for people: columns, first rows, growth."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.profile import columns_of, first_rows, shown, sizes_over_time
from headrace.tables.writer import write_batches
from tests.tables.factories import add, events_table


def test_columns_have_iceberg_types_and_the_share_of_their_nulls(lake: Lake) -> None:
    table = lake.create(
        TableName("raw", "some"), pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC"))])
    )
    for ids in ([1, None, 3], [None]):
        batch = pa.record_batch(
            {
                "id": pa.array(ids, pa.int64()),
                "at": pa.array([None] * len(ids), pa.timestamp("us", "UTC")),
            }
        )
        operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    found = columns_of(table.head())
    assert [(each.name, each.type, each.null_share) for each in found] == [
        ("id", "long", 0.5),
        ("at", "timestamptz", 1.0),
    ]


def test_an_empty_table_has_columns_and_no_shares(lake: Lake) -> None:
    table = events_table(lake)
    assert [each.null_share for each in columns_of(table.head())] == [0.0, None, None, 0.0]
    assert first_rows(table.head(), limit=5) == []
    assert sizes_over_time(table.head()) == ()


def test_the_first_rows_are_few_whatever_the_table_holds(lake: Lake) -> None:
    table = events_table(lake)
    add(table, list(range(100)))
    add(table, [2**60], day=1)
    assert len(first_rows(table.head(), limit=7)) == 7
    rows = first_rows(table.head(), limit=1_000)
    assert len(rows) == 101
    assert str(2**60) in [row["id"] for row in rows]


def test_sizes_follow_the_commits(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    add(table, [3], day=1)
    found = sizes_over_time(table.head())
    assert [(each.rows, each.files) for each in found] == [(2, 1), (3, 2)]
    assert found[0].bytes < found[1].bytes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (-(2**60), "-1152921504606846976"),
        (True, True),
        (Decimal("1.10"), "1.10"),
        (b"\xff{", "\\xff{"),
        (
            dt.datetime(2024, 5, 1, 14, 0, 0, 120, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "2024-05-01 12:00:00.00012",
        ),
        ([1, 2], "[1, 2]"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_values_are_shown_exactly(value: object, text: object) -> None:
    assert shown(value) == text
