"""Which days changed, for jobs that compute one day from another."""

import datetime as dt

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.iceberg.partitions import PartitionKey
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import Changes, changed_days, changes
from headrace.tables.writer import write_batches
from tests.tables.factories import UTC_US, add, day_key, events_table

MONDAY, TUESDAY = dt.date(2024, 5, 6), dt.date(2024, 5, 7)
BY_DAY = "day(event_time)"


def found(*keys: PartitionKey, partition_by: tuple[str, ...] = (BY_DAY,)) -> Changes:
    return Changes(
        since=1,
        until=2,
        operations=("append",),
        partitions=frozenset(keys),
        partition_by=partition_by,
    )


def test_days_of_a_time_are_known_where_it_alone_partitions_the_table() -> None:
    assert changed_days(found((MONDAY,), (TUESDAY,)), column="event_time") == {MONDAY, TUESDAY}
    assert changed_days(found(), column="event_time") == frozenset()


@pytest.mark.parametrize(
    "partition_by", [(), ("day(known_at)",), ("event_date",), (BY_DAY, "country")]
)
def test_any_day_may_have_changed_in_other_tables(partition_by: tuple[str, ...]) -> None:
    some = found((MONDAY,), partition_by=partition_by)
    assert changed_days(some, column="event_time") is None


def test_rows_without_a_time_are_in_no_day_of_it() -> None:
    assert changed_days(found((MONDAY,), (None,)), column="event_time") == {MONDAY}


def test_without_a_column_every_partition_has_to_be_one_date() -> None:
    by_date = ("event_date",)
    assert changed_days(found((MONDAY,), partition_by=by_date)) == {MONDAY}
    assert changed_days(found(partition_by=())) == frozenset()
    for odd in ((None,), (7,), (MONDAY, "nl"), ()):
        assert changed_days(found((MONDAY,), odd, partition_by=by_date)) is None


def test_the_days_of_commits_are_found(lake: Lake) -> None:
    table = events_table(lake)
    first = add(table, [1], day=0)
    add(table, [2], day=2)
    seen = changes(table, since=first.snapshot_id)
    assert seen.partition_by == (BY_DAY,)
    assert changed_days(seen, column="event_time") == set(day_key(2))
    assert changed_days(seen, column="known_at") is None


def test_a_table_that_is_not_partitioned_has_no_days(lake: Lake) -> None:
    table = lake.create(TableName("raw", "plain"), pa.schema([("event_time", UTC_US)]))
    batch = pa.record_batch({"event_time": pa.array([dt.datetime(2024, 5, 6)], UTC_US)})  # noqa: DTZ001
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    seen = changes(table, since=None)
    assert changed_days(seen) is None
    assert changed_days(seen, column="event_time") is None
