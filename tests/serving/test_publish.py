"""Publishing brings the store to the newest row of each entity, and does no more than needed."""

import contextlib
import datetime as dt
import gc
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.errors import (
    DatabaseDamagedError,
    DatabaseFullError,
    LakeError,
    OnlineStoreError,
)
from headrace.serving.publish import Published, publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.tables.alter import AddColumn, DropColumn, alter
from headrace.tables.commits.operations import Provenance, overwrite_partitions, replace_files
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.disks import held_open
from tests.processes import exit_code, start
from tests.serving.conftest import SCHEMA, add, hours, row

Views = Callable[..., LakeTable]
VIEW = "features.item_ctr"


@pytest.fixture
def store(settings: Settings) -> Iterator[SQLiteOnlineStore]:
    with SQLiteOnlineStore(settings.online_store) as opened:
        yield opened


def latest(store: SQLiteOnlineStore, *items: int) -> list[tuple[object, ...] | None]:
    found = store.get(VIEW, [("all", item) for item in items])
    return [None if r is None else (r.event_time, r.known_at, *r.values) for r in found]


def outcome(done: Published) -> tuple[str, int, int]:
    return done.mode, done.rows_read, done.rows_changed


def test_the_newest_row_of_each_entity_is_published(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(
        table,
        [
            row(1, at=1, ctr=0.1),
            row(1, at=30, known=31, ctr=0.2),
            row(1, at=30, known=40, ctr=0.3),
            row(1, at=29, known=90, ctr=0.4),
            row(2, at=2, ctr=0.5),
        ],
    )
    assert outcome(publish_view(lake, store, table.head())) == ("full", 2, 2)
    assert latest(store, 1, 2, 3) == [
        (hours(30), hours(40), 0.3, 3),
        (hours(2), hours(2), 0.5, 3),
        None,
    ]


def test_a_store_without_room_says_so_and_is_as_it_was(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1, ctr=0.1)])
    publish_view(lake, store, table.head())
    before = store.state(VIEW)
    (pages,) = store._connections.writer.execute("pragma page_count").fetchone()
    store._connections.writer.execute(f"pragma max_page_count = {pages}")
    add(table, [row(item, at=2) for item in range(1, 3_000)])
    with pytest.raises(DatabaseFullError) as caught:
        publish_view(lake, store, table.head())
    assert caught.value.path == str(lake.settings.online_store)
    assert store.state(VIEW) == before
    assert latest(store, 1, 2) == [(hours(1), hours(1), 0.1, 3), None]
    store._connections.writer.execute("pragma max_page_count = 1000000")
    publish_view(lake, store, table.head())
    assert latest(store, 2) != [None]


def test_a_store_that_is_damaged_is_named(settings: Settings) -> None:
    settings.online_store.parent.mkdir(parents=True)
    settings.online_store.write_bytes(b"no database" * 1_000)
    with pytest.raises(DatabaseDamagedError):
        SQLiteOnlineStore(settings.online_store)


def test_a_commit_that_fails_leaves_the_store_usable_and_as_it_was(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])

    def refuse(_: int, what: str | None, *_rest: object) -> int:
        return sqlite3.SQLITE_DENY if what == "COMMIT" else sqlite3.SQLITE_OK

    store._connections.writer.set_authorizer(refuse)
    with pytest.raises(LakeError):
        publish_view(lake, store, table.head())
    store._connections.writer.set_authorizer(None)
    assert store.state(VIEW) is None
    assert outcome(publish_view(lake, store, table.head())) == ("full", 1, 1)


def test_a_store_that_cannot_be_opened_is_closed(settings: Settings) -> None:
    SQLiteOnlineStore(settings.online_store).close()
    with contextlib.closing(sqlite3.connect(settings.online_store)) as connection:
        connection.execute("pragma user_version = 1")
    with pytest.raises(OnlineStoreError) as caught:
        SQLiteOnlineStore(settings.online_store)
    assert (caught.value.found, caught.value.path) == (1, str(settings.online_store))
    assert str(settings.online_store.resolve()) not in held_open()


def test_publishing_again_changes_nothing_and_says_so(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    assert outcome(publish_view(lake, store, table.head())) == ("unchanged", 0, 0)


def test_the_garbage_collector_is_patient_while_rows_are_published(
    lake: Lake, view: Views, settings: Settings
) -> None:
    """It would walk through rows that stay, again and again: a third of a publication's CPU."""
    table, seen, before = view(), list[int](), gc.get_threshold()

    class Noting(SQLiteOnlineStore):
        def put(self, *args: Any, **options: Any) -> int:  # noqa: ANN401 - passed on
            seen.append(gc.get_threshold()[0])
            return super().put(*args, **options)

    with Noting(settings.online_store) as store:
        for at in (1, 2):
            add(table, [row(1, at=at)])
            publish_view(lake, store, table.head())
    assert seen == [500_000]
    assert gc.get_threshold() == before


def test_only_days_that_changed_are_read_again(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(item, at=item) for item in range(20)])
    publish_view(lake, store, table.head())
    add(table, [row(1, at=25, ctr=0.9), row(50, at=26)])
    assert outcome(publish_view(lake, store, table.head())) == ("incremental", 2, 2)
    assert latest(store, 1, 0) == [(hours(25), hours(25), 0.9, 3), (hours(0), hours(0), 0.5, 3)]


def test_a_late_row_in_an_old_day_never_overwrites_a_newer_one(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=30)])
    publish_view(lake, store, table.head())
    add(table, [row(1, at=2, known=99, ctr=0.9)])
    assert outcome(publish_view(lake, store, table.head())) == ("incremental", 1, 0)
    assert latest(store, 1) == [(hours(30), hours(30), 0.5, 3)]


def test_compaction_is_nothing_to_publish(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    add(table, [row(2, at=2)])
    publish_view(lake, store, table.head())
    head = table.head()
    replace_files(
        table,
        removed=[entry.data_file for entry in head.files()],
        added=write_batches(table, head.batches()),
        provenance=Provenance(),
    )
    assert outcome(publish_view(lake, store, table.head())) == ("unchanged", 0, 0)


def test_known_at_in_the_store_includes_the_delay(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view(delay_s=300)
    add(table, [row(1, at=1), row(2, at=1, known=2)])
    publish_view(lake, store, table.head())
    five_minutes = dt.timedelta(minutes=5)
    assert latest(store, 1, 2) == [
        (hours(1), hours(1) + five_minutes, 0.5, 3),
        (hours(1), hours(2), 0.5, 3),
    ]


def test_a_row_not_known_yet_is_held_back_until_it_is(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view(delay_s=3_600)
    add(table, [row(1, at=1, ctr=0.1), row(1, at=5, ctr=0.2), row(2, at=9)])
    assert outcome(publish_view(lake, store, table.head(), as_of=hours(6))) == ("full", 1, 1)
    assert latest(store, 1, 2) == [(hours(1), hours(2), 0.1, 3), None]
    again = publish_view(lake, store, table.head(), as_of=hours(6.5))
    assert outcome(again) == ("incremental", 1, 1)
    assert latest(store, 1, 2) == [(hours(5), hours(6), 0.2, 3), None]
    assert outcome(publish_view(lake, store, table.head(), as_of=hours(11))) == (
        "incremental",
        2,
        1,
    )
    assert outcome(publish_view(lake, store, table.head())) == ("unchanged", 0, 0)


def test_a_new_column_is_published_for_every_entity(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1), row(2, at=30)])
    publish_view(lake, store, table.head())
    table = view(schema=SCHEMA.append(pa.field("clicks", pa.int64())))
    add(table, [{**row(2, at=31), "clicks": 4}])
    assert outcome(publish_view(lake, store, table.head())) == ("full", 2, 2)
    assert latest(store, 1, 2) == [
        (hours(1), hours(1), 0.5, 3, None),
        (hours(31), hours(31), 0.5, 3, 4),
    ]


def test_a_state_is_parsed_again_only_when_it_was_written(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    before = store.state(VIEW)
    assert store.state(VIEW) is before
    add(table, [row(2, at=1)])
    publish_view(lake, store, table.head())
    after = store.state(VIEW)
    assert after is not None
    assert after.snapshot_id == table.head().snapshot_id


def test_a_new_ttl_alone_is_written_without_reading_rows_again(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    table = view(ttl_s=60)
    assert outcome(publish_view(lake, store, table.head())) == ("incremental", 0, 0)
    state = store.state(VIEW)
    assert state is not None
    assert state.ttl == dt.timedelta(minutes=1)


def test_an_unknown_snapshot_in_the_store_means_reading_everything(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    state = store.state(VIEW)
    assert state is not None
    store.put(replace(state, snapshot_id=12345), [])
    assert outcome(publish_view(lake, store, table.head())) == ("full", 1, 1)


def test_a_table_without_day_partitions_is_read_whole_unless_rows_were_only_appended(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view(partition_by=("campaign",))
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    add(table, [row(2, at=1)])
    assert outcome(publish_view(lake, store, table.head())) == ("incremental", 1, 1)
    delete_where(table, "item_id = 1", provenance=Provenance())
    assert outcome(publish_view(lake, store, table.head())) == ("full", 1, 1)


def test_an_empty_view_has_nothing_to_publish(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    assert outcome(publish_view(lake, store, view().head())) == ("unchanged", 0, 0)


def test_an_entity_whose_rows_are_gone_is_gone_and_one_that_went_back_is_as_it_was(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1), row(2, at=1, ctr=0.1), row(3, at=30)])
    add(table, [row(1, at=25), row(2, at=26, ctr=0.2), row(3, at=27)])
    publish_view(lake, store, table.head())
    day = (hours(24).date(),)
    left = write_batches(table, [pa.RecordBatch.from_pylist([row(4, at=28)], schema=SCHEMA)])
    overwrite_partitions(table, left, partitions=[day], provenance=Provenance())
    assert outcome(publish_view(lake, store, table.head())) == ("incremental", 3, 4)
    assert latest(store, 1, 2, 3, 4) == [
        (hours(1), hours(1), 0.5, 3),
        (hours(1), hours(1), 0.1, 3),
        None,
        (hours(28), hours(28), 0.5, 3),
    ]


def test_more_entities_that_are_gone_than_the_store_takes_at_once_are_published_all_the_same(
    lake: Lake, view: Views, settings: Settings
) -> None:
    class Few(SQLiteOnlineStore):
        """As a store on a server, which is blocked while keys are deleted."""

        without_max = 2

        def put(self, state: Any, rows: Any, *, without: Any = (), guard: Any = None) -> int:  # noqa: ANN401
            assert len(list(without)) <= 2
            return super().put(state, rows, without=without, guard=guard)

    table = view()
    add(table, [*(row(item, at=1) for item in range(6)), row(9, at=30)])
    with Few(settings.online_store) as few:
        publish_view(lake, few, table.head())
        delete_where(table, "item_id < 2", provenance=Provenance())
        assert outcome(publish_view(lake, few, table.head()))[0] == "incremental"
        delete_where(table, "item_id < 5", provenance=Provenance())
        assert outcome(publish_view(lake, few, table.head())) == ("full", 2, 2)
        assert [each is None for each in latest(few, 3, 9)] == [True, False]


def test_a_view_of_another_definition_takes_the_place_of_the_old_one(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=30, ctr=0.1), row(2, at=2, ctr=0.1)])
    publish_view(lake, store, table.head())
    made = [row(1, at=3, ctr=0.9), row(2, at=2, ctr=0.9)]
    files = write_batches(table, [pa.RecordBatch.from_pylist(made, schema=SCHEMA)])
    days = [(hours(0).date(),), (hours(24).date(),)]
    overwrite_partitions(table, files, partitions=days, provenance=Provenance())
    assert outcome(publish_view(lake, store, table.head())) == ("full", 2, 2)
    assert latest(store, 1, 2) == [(hours(3), hours(3), 0.9, 3), (hours(2), hours(2), 0.9, 3)]


def test_a_column_dropped_and_added_again_has_no_old_values(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    alter(table, DropColumn("ctr"), AddColumn("ctr", type=pa.float64()))
    assert outcome(publish_view(lake, store, table.head())) == ("full", 1, 1)
    assert latest(store, 1) == [(hours(1), hours(1), 3, None)]


def test_a_publisher_of_an_older_snapshot_changes_nothing(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1), row(2, at=2)])
    older = table.head()
    delete_where(table, "item_id = 1", provenance=Provenance())
    head = table.head()
    publish_view(lake, store, head, as_of=hours(9))
    done = publish_view(lake, store, older, as_of=hours(4))
    assert (outcome(done), done.snapshot_id) == (("superseded", 0, 0), head.snapshot_id)
    assert latest(store, 1, 2) == [None, (hours(2), hours(2), 0.5, 3)]


def test_a_publisher_that_was_overtaken_plans_again(
    lake: Lake, view: Views, store: SQLiteOnlineStore, settings: Settings
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    add(table, [row(1, at=2), row(2, at=2)])
    slow = table.head()

    class Overtaken(SQLiteOnlineStore):
        def put(self, *args: Any, **options: Any) -> int:  # noqa: ANN401 - passed on
            if not table.head().summary.get("deleted-records"):
                delete_where(table, "item_id = 1", provenance=Provenance())
                publish_view(lake, store, table.head())
            return super().put(*args, **options)

    with Overtaken(settings.online_store) as late:
        assert publish_view(lake, late, slow).mode == "superseded"
    assert latest(store, 1, 2) == [None, (hours(2), hours(2), 0.5, 3)]


def test_a_table_made_anew_and_still_empty_serves_nothing(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    empty = table.head()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    assert publish_view(lake, store, empty).mode == "superseded"
    lake.catalog.drop_table(("features", "item_ctr"))
    done = publish_view(lake, store, view().head())
    assert (outcome(done), done.snapshot_id) == (("full", 0, 1), None)
    assert store.state(VIEW) is None


ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 60), st.integers(0, 30)), min_size=1, max_size=6
)


@given(commits=st.lists(ROWS, min_size=1, max_size=3))
@hypothesis_settings(
    deadline=None,
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_publishing_after_each_commit_ends_like_publishing_once(
    lake: Lake, view: Views, store: SQLiteOnlineStore, commits: list[list[tuple[int, int, int]]]
) -> None:
    table = view()
    for rows in commits:
        add(table, [row(item, at=at, known=at + late, ctr=late / 64) for item, at, late in rows])
        publish_view(lake, store, table.head())
    every = table.head().to_arrow().to_pylist()
    for item in (1, 2, 3):
        mine = [(r["event_time"], r["known_at"]) for r in every if r["item_id"] == item]
        (found,) = latest(store, item)
        assert (None if found is None else found[:2]) == max(mine, default=None)


def publish_once(settings: Settings) -> None:
    with Lake.open(settings) as lake, SQLiteOnlineStore(settings.online_store) as store:
        publish_view(lake, store, lake.table("features.item_ctr").head())


def test_killing_a_publication_leaves_the_previous_state_and_rerunning_completes(
    lake: Lake, view: Views, store: SQLiteOnlineStore, settings: Settings
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_view(lake, store, table.head())
    before = store.freshness(VIEW)
    add(table, [row(1, at=30), row(2, at=30)])
    killed = start(publish_once, settings, crash_at="serving.before_commit")
    assert exit_code(killed) == -signal.SIGKILL
    assert store.freshness(VIEW) == before
    assert latest(store, 1, 2) == [(hours(1), hours(1), 0.5, 3), None]
    assert outcome(publish_view(lake, store, table.head())) == ("incremental", 2, 2)
