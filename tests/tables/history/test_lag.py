"""How far a reader is behind a table: from the registry's log, and where that has a gap."""

import datetime as dt

import sqlalchemy as sa

from headrace.api import Lake
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.registry.schema import COMMITS
from headrace.tables.history.lag import Lag, lag_of, rows_gained
from tests.tables.factories import add, events_table


def test_commits_are_counted_and_compactions_are_not(lake: Lake) -> None:
    table = events_table(lake)
    first, second = add(table, [1]), add(table, [2])
    for number in range(3, 13):
        add(table, [number])
    compact(table)
    head = table.head().snapshot_id
    found = lag_of(lake, "raw.events", head=head, since=first.snapshot_id)
    assert found is not None
    assert found.commits == 11
    written = lake.registry.commit("raw.events", second.snapshot_id)
    assert written is not None
    assert found.since_ms == written.committed_at_ms
    assert lag_of(lake, "raw.events", head=head, since=head) == Lag(commits=0)


def test_a_gap_in_the_log_is_filled_from_the_table(lake: Lake) -> None:
    table = events_table(lake)
    first, second = add(table, [1]), add(table, [2])
    add(table, [3])
    with lake.registry.engine.begin() as connection:
        connection.execute(sa.delete(COMMITS).where(COMMITS.c.snapshot_id == second.snapshot_id))
    found = lag_of(lake, "raw.events", head=table.head().snapshot_id, since=first.snapshot_id)
    assert found == Lag(commits=2)


def test_an_unknown_snapshot_is_not_taken_for_up_to_date(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    head = table.head().snapshot_id
    assert lag_of(lake, "raw.events", head=head, since=7) is None
    assert lag_of(lake, "raw.nothing", head=1, since=7) is None


def test_rows_gained_leave_out_what_was_there_before_and_what_was_only_rewritten(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1, 2, 3])
    record = lake.registry.commits("raw.events")[0]
    for number in range(4, 14):
        add(table, [number])
    compact(table)
    assert rows_gained(lake, "raw.events", since_ms=0) == 13
    assert rows_gained(lake, "raw.events", since_ms=record.committed_at_ms + 1) in range(11)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    assert rows_gained(lake, "raw.events", since_ms=round(later.timestamp() * 1000)) == 0


def test_locations_change_with_every_commit_and_read_no_metadata(lake: Lake) -> None:
    table, other = events_table(lake), events_table(lake, "raw.other")
    assert isinstance(lake.catalog, MemoCatalog)
    before = lake.locations()
    assert before.keys() == {TableName("raw", "events"), TableName("raw", "other")}
    assert before[table.name] == table.iceberg().metadata_location
    add(other, [1])
    after = lake.locations()
    assert after[table.name] == before[table.name]
    assert after[other.name] != before[other.name]
