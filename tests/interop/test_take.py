"""Imports of Paimon tables: every change once, with its kind; named stops where something is gone."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import PAIMON
from headrace.errors import (
    FencedError,
    PaimonHistoryChangedError,
    PaimonReason,
    PaimonSnapshotsExpiredError,
    PaimonTargetError,
    PaimonUnsupportedError,
)
from headrace.identifiers import TableName
from headrace.interop.paimon.plan import Begin
from headrace.interop.paimon.rows import TakenAs
from headrace.interop.paimon.take import take_changes, take_features, take_state
from headrace.tables.commits.operations import expire
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.interop.warehouses import Written, events, refuses_repeats, replayed, rows_of, users
from tests.raising import refused

RAW = TableName.parse("raw.users")
VIEW = TableName.parse("features.users")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return users(tmp_path / "paimon")


def test_every_change_is_taken_once_with_its_kind(lake: Lake, written: Written) -> None:
    written.put(1, 2, name="a")
    written.put(1, name="b")
    first = take_changes(lake, written.table(), RAW)
    assert (first.rows, first.snapshots, first.commits, first.snapshot_id) == (3, 2, 1, 2)
    written.remove(2)
    second = take_changes(lake, written.table(), RAW)
    assert (second.rows, second.snapshots) == (1, 1)
    assert rows_of(lake, "raw.users", "_row_kind", "id", "name") == [
        ("+I", 1, "a"),
        ("+I", 2, "a"),
        ("+I", 1, "b"),
        ("-D", 2, None),
    ]
    assert take_changes(lake, written.table(), RAW).commits == 0
    assert replayed(lake, "raw.users") == {1: "b"}
    refuses_repeats(lake, "raw.users")


def test_commits_of_one_millisecond_are_all_taken(lake: Lake, written: Written) -> None:
    # a range of times from the first on would leave out the second: both have the same time
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    written.put(2, name="b")
    at = written.table().snapshots()[0].committed_at_ms
    path = written.path / "snapshot" / "snapshot-2"
    now = written.table().snapshots()[1].committed_at_ms
    path.write_text(path.read_text().replace(str(now), str(at)))
    assert take_changes(lake, written.table(), RAW).rows == 1
    assert replayed(lake, "raw.users") == {1: "a", 2: "b"}


def test_a_commit_takes_whole_snapshots(lake: Lake, written: Written) -> None:
    for name in "abc":
        written.put(1, 2, 3, name=name)
    done = take_changes(lake, written.table(), RAW, rows_per_commit=4)
    assert (done.commits, done.rows) == (2, 9)
    refuses_repeats(lake, "raw.users")


def test_a_table_without_a_key_gives_its_appends(lake: Lake, tmp_path: Path) -> None:
    written = events(tmp_path / "paimon")
    written.write([{"id": 1, "v": "x"}])
    target = TableName.parse("raw.events")
    take_changes(lake, written.table(), target)
    written.write([{"id": 2, "v": None}])
    assert take_changes(lake, written.table(), target).rows == 1
    assert rows_of(lake, "raw.events", "_row_kind", "id", "v") == [("+I", 1, "x"), ("+I", 2, None)]


def test_snapshots_that_expired_unread_are_a_named_stop(lake: Lake, written: Written) -> None:
    for name in "abcd":
        written.put(1, name=name)
        if name == "a":
            take_changes(lake, written.table(), RAW)
    written.expire(1, 2, 3)
    with refused(
        PaimonSnapshotsExpiredError, target="raw.users", first_snapshot_id=2, last_snapshot_id=3
    ):
        take_changes(lake, written.table(), RAW)
    assert replayed(lake, "raw.users") == {1: "a"}


def test_a_token_whose_own_snapshot_expired_goes_on(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    written.put(1, name="b")
    written.expire(1)
    take_changes(lake, written.table(), RAW)
    assert replayed(lake, "raw.users") == {1: "b"}


def test_a_table_whose_first_snapshots_expired_begins_with_its_state(
    lake: Lake, written: Written
) -> None:
    written.put(1, 2, name="a")
    written.put(1, name="b")
    written.remove(2)
    written.expire(1)
    take_changes(lake, written.table(), RAW)
    assert rows_of(lake, "raw.users", "_row_kind", "id", "name") == [
        ("+I", 1, "b"),
        ("+I", 2, "a"),
        ("-D", 2, None),
    ]
    assert replayed(lake, "raw.users") == {1: "b"}


def test_history_that_was_rolled_back_is_a_named_stop(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    written.put(1, name="b")
    take_changes(lake, written.table(), RAW)
    written.opened.rollback_to(1)
    with refused(PaimonHistoryChangedError, snapshot_id=2, found_at_ms=None):
        take_changes(lake, written.table(), RAW)
    written.put(1, name="c")
    with refused(PaimonHistoryChangedError, snapshot_id=2):
        take_changes(lake, written.table(), RAW)
    assert replayed(lake, "raw.users") == {1: "b"}


def test_a_table_that_was_made_again_is_not_read_on_where_its_first_snapshots_expired(
    lake: Lake, written: Written
) -> None:
    written.put(1, name="a")
    written.put(1, name="b")
    take_changes(lake, written.table(), RAW)
    written.catalog.drop_table(written.name, False)
    again = users(written.folder)
    for name in "cdef":
        again.put(1, name=name)
    again.expire(1, 2)
    with refused(PaimonHistoryChangedError, snapshot_id=2, found_at_ms=None):
        take_changes(lake, again.table(), RAW)
    assert replayed(lake, "raw.users") == {1: "b"}


def test_an_overwrite_is_a_named_stop_and_the_newest_state_a_way_on(
    lake: Lake, tmp_path: Path
) -> None:
    written = events(tmp_path / "paimon")
    written.write([{"id": 1, "v": "x"}])
    written.write([{"id": 2, "v": "y"}], overwrite=True)
    with refused(PaimonUnsupportedError, reason=PaimonReason.OVERWRITTEN):
        take_changes(lake, written.table(), RAW)
    take_changes(lake, written.table(), RAW, begin=Begin.NEWEST)
    written.write([{"id": 3, "v": "z"}])
    take_changes(lake, written.table(), RAW)
    assert rows_of(lake, "raw.users", "id", "v") == [(2, "y"), (3, "z")]


def test_a_target_of_something_else_is_refused(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    with refused(PaimonTargetError, target="raw.users"):
        take_state(lake, written.table(), RAW)
    other = events(written.folder)
    other.write([{"id": 1, "v": "x"}])
    with refused(PaimonTargetError, target="raw.users"):
        take_changes(lake, other.table(), RAW)


def test_of_two_importers_one_is_fenced(
    lake: Lake, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    written.put(2, name="b")
    slow = written.table()
    read = slow.changed_files_of

    def overtaken(*args: object, **more: object) -> object:
        take_changes(lake, written.table(), RAW)
        return read(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(slow, "changed_files_of", overtaken)
    with pytest.raises(FencedError):
        take_changes(lake, slow, RAW)
    assert replayed(lake, "raw.users") == {1: "a", 2: "b"}
    refuses_repeats(lake, "raw.users")


def test_the_token_outlives_the_snapshots_of_the_target(lake: Lake, written: Written) -> None:
    for name in "abc":
        written.put(1, name=name)
        take_changes(lake, written.table(), RAW)
    table = lake.table("raw.users")
    assert expire(table, keep=1, before_ms=lake.now_ms() + 1)
    assert PAIMON in table.head().properties
    assert take_changes(lake, written.table(), RAW).rows == 0


def test_a_rollback_moves_the_token_with_the_rows(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    table = lake.table("raw.users")
    first = table.head().snapshot_id
    written.put(1, name="b")
    take_changes(lake, written.table(), RAW)
    apply_rollback(table, plan_rollback(table, first or 0))
    assert replayed(lake, "raw.users") == {1: "a"}
    assert take_changes(lake, written.table(), RAW).rows == 1
    assert replayed(lake, "raw.users") == {1: "b"}
    refuses_repeats(lake, "raw.users")


def test_a_feature_view_has_each_state_that_was_visible(lake: Lake, written: Written) -> None:
    written.put(1, 2, name="a")
    written.write([{"id": 1, "name": "b", "op": "+I"}, {"id": 3, "name": "c", "op": "+I"}])
    written.remove(2)
    view = FeatureView(view=VIEW, entity=("id",))
    done = take_features(lake, written.table(), view)
    assert (done.taken_as, done.rows) == (TakenAs.FEATURES, 5)
    times = [each.committed_at for each in written.table().snapshots()]
    assert rows_of(lake, "features.users", "id", "name", "event_time", "known_at") == [
        (1, "a", times[0], times[0]),
        (2, "a", times[0], times[0]),
        (1, "b", times[1], times[1]),
        (3, "c", times[1], times[1]),
        (2, None, times[2], times[2]),
    ]
    assert (
        FeatureView.from_property(
            VIEW, lake.table("features.users").head().properties["headrace.feature_view"]
        )
        == view
    )


def test_a_commit_by_a_slower_clock_is_not_known_before_the_one_it_follows(
    lake: Lake, written: Written
) -> None:
    written.put(1, name="a")
    view = FeatureView(view=VIEW, entity=("id",))
    take_features(lake, written.table(), view)
    written.put(1, name="b")
    first, second = written.table().snapshots()
    path = written.path / "snapshot" / "snapshot-2"
    earlier = first.committed_at_ms - 60_000
    path.write_text(path.read_text().replace(str(second.committed_at_ms), str(earlier)))
    take_features(lake, written.table(), view)
    (_, known), (_, later) = rows_of(lake, "features.users", "name", "known_at")
    assert later == known == first.committed_at


def test_a_table_without_a_key_is_no_feature_view(lake: Lake, tmp_path: Path) -> None:
    written = events(tmp_path / "paimon")
    written.write([{"id": 1, "v": "x"}])
    with refused(PaimonUnsupportedError, reason=PaimonReason.KEY_ABSENT):
        take_features(lake, written.table(), FeatureView(view=VIEW, entity=("id",)))
    assert lake.names() == []


def test_the_state_of_a_tag_is_taken_with_its_tag(lake: Lake, written: Written) -> None:
    written.put(1, 2, name="a")
    written.table().create_tag("monday", snapshot_id=1)
    written.put(1, name="b")
    take_state(lake, written.table(), RAW, tag="monday")
    take_state(lake, written.table(), RAW)
    assert take_state(lake, written.table(), RAW).commits == 0
    table = lake.table("raw.users")
    assert sorted(table.at(tag="monday").to_arrow().column("name").to_pylist()) == ["a", "a"]
    assert rows_of(lake, "raw.users", "id", "name") == [(1, "b"), (2, "a")]


def test_a_tag_keeps_what_expired(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    written.table().create_tag("monday", snapshot_id=1)
    written.put(1, name="b")
    written.expire(1)
    take_state(lake, written.table(), RAW, tag="monday")
    assert rows_of(lake, "raw.users", "name") == [("a",)]


def test_paimon_is_asked_to_keep_what_was_not_taken(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW, hold=True)
    assert written.opened.consumer_manager().consumers() == {"headrace-raw-users": 2}


def test_a_column_that_a_table_gains_is_gained(lake: Lake, written: Written) -> None:
    from pypaimon.schema.data_types import AtomicType
    from pypaimon.schema.schema_change import SchemaChange

    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    change = SchemaChange.add_column("age", AtomicType("INT"))
    written.catalog.alter_table(written.name, [change], False)
    written.schema = written.schema.append(pa.field("age", pa.int32()))
    written.write([{"id": 2, "name": "b", "op": "+I", "age": 7}])
    take_changes(lake, written.table(), RAW)
    assert rows_of(lake, "raw.users", "id", "age") == [(1, None), (2, 7)]


def test_times_are_in_utc(lake: Lake, written: Written) -> None:
    written.put(1, name="a")
    take_changes(lake, written.table(), RAW)
    ((at,),) = rows_of(lake, "raw.users", "_source_time")
    assert abs(at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
