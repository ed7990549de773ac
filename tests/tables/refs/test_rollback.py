"""Rollback: rows, offsets and builds go back together, or it is refused."""

import os
import signal
from typing import Any

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    DatabaseUnavailableError,
    FencedError,
    NotAnAncestorError,
    OffsetsUnknownError,
    SnapshotNotFoundError,
)
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.history.changes import changes
from headrace.tables.publishing.publish import Way, plan_publish
from headrace.tables.recover import recovered_registry
from headrace.tables.refs import leases, refs
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.processes import CONTEXT
from tests.raising import refused
from tests.tables.commits.test_faults import impatient, locked
from tests.tables.factories import add, day_key, events_table, ids_of
from tests.tables.histories import build_of, few_snapshots, take, write
from tests.waiting import WAIT_S


def test_rollback_gives_up_what_its_plan_said(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    refs.tag(table, "good", snapshot_id=first.snapshot_id)
    second, third = write(table, [2, 3]), write(table, [4])
    lake.registry.record_builds([build_of(third)])
    refs.tag(table, "bad", snapshot_id=third.snapshot_id)
    plan = plan_rollback(table, "good")
    assert [each.snapshot_id for each in plan.lost] == [third.snapshot_id, second.snapshot_id]
    assert (plan.rows_before, plan.rows_after, plan.kept_by) == (4, 1, ("bad",))
    assert ids_of(table) == [1, 2, 3, 4]
    apply_rollback(table, plan)
    apply_rollback(table, plan)
    assert ids_of(table) == [1]
    assert not plan_rollback(table, first.snapshot_id)
    assert [each.rows_added for each in lake.registry.commits("raw.events")] == [1]
    assert lake.registry.builds("raw.events") == {}
    add(table, [5])
    assert ids_of(table) == [1, 5]


def test_a_reader_of_changes_that_saw_rolled_back_commits_is_told(lake: Lake) -> None:
    table = events_table(lake)
    first, second = write(table, [1]), write(table, [2])
    apply_rollback(table, plan_rollback(table, first.snapshot_id))
    write(table, [3])
    with pytest.raises(SnapshotNotFoundError):
        changes(table, since=second.snapshot_id)
    assert changes(table, since=first.snapshot_id).partitions == {day_key(0)}


def test_rollback_is_only_to_what_main_was(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    write(table, [2], branch="trial")
    head = write(table, [3])
    with pytest.raises(NotAnAncestorError):
        plan_rollback(table, "trial")
    with pytest.raises(SnapshotNotFoundError):
        plan_rollback(table, 42)
    assert table.head().snapshot_id == head.snapshot_id


def test_a_rollback_planned_before_another_commit_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    write(table, [2])
    plan = plan_rollback(table, first.snapshot_id)
    write(table, [3])
    with refused(CommitConflictError, reason=ConflictReason.REF_MOVED, ref="main"):
        apply_rollback(table, plan)
    assert ids_of(table) == [1, 2, 3]


def test_offsets_and_watermark_go_back_with_the_rows_and_are_read_again(lake: Lake) -> None:
    table = events_table(lake)
    take(table, 2, watermark=10)
    good = take(table, 3)
    stale = operations.offsets(table.head(), "log")
    take(table, 7, watermark=20)
    take(table, 9, watermark=30)
    plan = plan_rollback(table, good.snapshot_id)
    (move,) = plan.offsets
    assert (move.stream, move.source, move.before, move.after) == ("log", "part-0", 9, 3)
    apply_rollback(table, plan)
    assert operations.offsets(table.head(), "log") == {"part-0": 3} == stale
    assert table.head().properties["headrace.watermark"] == "10"
    with pytest.raises(FencedError):  # an ingester that ran through it all resumes from the table
        operations.append(
            table,
            [],
            provenance=Provenance(),
            fence=Fence(key="log", expected={"part-0": 9}, offsets={"part-0": 10}),
        )
    take(table, 12)
    assert ids_of(table) == list(range(12))


def test_a_first_commit_that_is_rolled_back_takes_its_offsets_away(lake: Lake) -> None:
    table = events_table(lake)
    empty = operations.append(table, [], provenance=Provenance())
    take(table, 4, watermark=1)
    apply_rollback(table, plan_rollback(table, empty.snapshot_id))
    assert operations.offsets(table.head(), "log") == {}
    assert "headrace.watermark" not in table.head().properties


def test_a_rollback_that_is_taken_back_brings_offsets_forward_again(lake: Lake) -> None:
    table = events_table(lake)
    good = take(table, 3)
    bad = take(table, 8, watermark=5)
    refs.tag(table, "before-rollback", snapshot_id=bad.snapshot_id)
    apply_rollback(table, plan_rollback(table, good.snapshot_id))
    refs.fast_forward(table, "main", to="before-rollback")
    assert operations.offsets(table.head(), "log") == {"part-0": 8}
    assert table.head().properties["headrace.watermark"] == "5"
    assert len(lake.registry.commits("raw.events")) == 2


def test_offsets_go_back_over_commits_that_have_expired(settings: Settings) -> None:
    with Lake.open(few_snapshots(settings)) as lake:
        table = events_table(lake)
        good = take(table, 2)
        refs.tag(table, "good", snapshot_id=good.snapshot_id)
        for i in range(3, 14):
            take(table, i)
        assert len(table.iceberg().metadata.snapshots) < 8
        apply_rollback(table, plan_rollback(table, "good"))
        assert operations.offsets(table.head(), "log") == {"part-0": 2}
        take(table, 5)
        assert ids_of(table) == list(range(5))


def test_commits_from_before_the_first_ingest_are_known_to_have_moved_no_offsets(
    settings: Settings,
) -> None:
    with Lake.open(few_snapshots(settings)) as lake:
        table = events_table(lake)
        first = write(table, [1_000])
        refs.tag(table, "good", snapshot_id=first.snapshot_id)
        for i in range(1_001, 1_004):
            write(table, [i])
        refs.create_branch(table, "trial")
        write(table, [2_000], branch="trial")
        for i in range(1_004, 1_010):
            write(table, [i])
        take(table, 2)
        assert plan_publish(table, "trial").way is Way.CHERRY_PICK
        apply_rollback(table, plan_rollback(table, "good"))
        assert ids_of(table) == [1_000]
        assert operations.offsets(table.head(), "log") == {}


def test_a_rollback_whose_offsets_nobody_knows_is_refused(settings: Settings) -> None:
    few = few_snapshots(settings)
    with Lake.open(few) as lake:
        table = events_table(lake)
        good = take(table, 2)
        refs.tag(table, "good", snapshot_id=good.snapshot_id)
        take(table, 3)
        with table.iceberg().transaction() as transaction:
            transaction.set_properties({"headrace.offsets.log": '{"part-0": 77}'})
        with refused(OffsetsUnknownError, table_property="headrace.offsets.log"):
            plan_rollback(table, "good")
        assert ids_of(table) == [0, 1, 2]


def test_a_lost_registry_makes_a_far_rollback_refused_and_never_wrong(settings: Settings) -> None:
    few = few_snapshots(settings)
    with Lake.open(few) as lake:
        table = events_table(lake)
        good = take(table, 2)
        refs.tag(table, "good", snapshot_id=good.snapshot_id)
        for i in range(3, 14):
            take(table, i)
    for path in few.state_dir.glob("registry.db*"):
        path.unlink()
    with recovered_registry(few):  # which knows of the snapshots that are there
        pass
    with Lake.open(few) as lake:
        table = events_table(lake)
        with pytest.raises(NotAnAncestorError):
            plan_rollback(table, "good")
        assert operations.offsets(table.head(), "log") == {"part-0": 13}


def _roll_back(settings: Settings, crash_at: str) -> None:
    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        apply_rollback(table, plan_rollback(table, "good"))


@pytest.mark.parametrize("crash_at", ["updates.before_swap", "updates.after_swap"])
def test_a_kill_rolls_back_rows_offsets_and_builds_or_none_of_them(
    settings: Settings, crash_at: str
) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        refs.tag(table, "good", snapshot_id=take(table, 2).snapshot_id)
        lake.registry.record_builds([build_of(take(table, 5))])
        killed = CONTEXT.Process(target=_roll_back, args=(settings, crash_at))
        killed.start()
        killed.join(WAIT_S)
        assert killed.exitcode == -signal.SIGKILL
        done = crash_at == "updates.after_swap"
        assert ids_of(table) == list(range(2 if done else 5))
        assert operations.offsets(table.head(), "log") == {"part-0": 2 if done else 5}
        assert len(changes(table, since=None).operations) == (1 if done else 2)
        assert len(lake.registry.commits("raw.events")) == (1 if done else 2)
        assert len(lake.registry.builds("raw.events")) == (0 if done else 1)
        apply_rollback(table, plan_rollback(table, "good"))
        assert ids_of(table) == [0, 1]


def test_a_rollback_that_the_registry_cannot_be_told_of_changes_nothing(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        first = write(table, [1])
        write(table, [2])
        plan = plan_rollback(table, first.snapshot_id)
        with (
            locked(lake.settings.state_dir / "registry.db"),
            pytest.raises(DatabaseUnavailableError),
        ):
            apply_rollback(table, plan)
        assert ids_of(table) == [1, 2]
        with locked(lake.settings.state_dir / "registry.db"):
            refs.create_branch(table, "trial")
            write(table, [3], branch="trial")
            refs.fast_forward(table, "main", to="trial")
        assert len(changes(table, since=None).operations) == 3


def test_a_locked_catalog_is_named_and_nothing_is_changed(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        first = write(table, [1])
        write(table, [2])
        plan = plan_rollback(table, first.snapshot_id)
        before = table.iceberg().metadata_location
        for change in (
            lambda: refs.tag(table, "v1", snapshot_id=first.snapshot_id),
            lambda: refs.create_branch(table, "trial"),
            lambda: apply_rollback(table, plan),
            lambda: leases.lease(table, holder="me", ttl_s=60),
        ):
            with (
                locked(lake.settings.state_dir / "catalog.db"),
                refused(DatabaseUnavailableError, database="catalog"),
            ):
                change()
        assert table.iceberg().metadata_location == before


def test_an_answer_that_is_lost_is_found_out_and_not_done_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    first = write(table, [1])
    write(table, [2])
    swap = lake.catalog.commit_table

    def answer_lost(*arguments: Any) -> None:  # noqa: ANN401 - whatever the catalog takes
        swap(*arguments)
        raise OSError("connection reset")

    monkeypatch.setattr(lake.catalog, "commit_table", answer_lost)  # no server can be timed to
    refs.tag(table, "v1", snapshot_id=first.snapshot_id)
    refs.create_branch(table, "trial", at="v1")
    held = leases.lease(table, holder="me", ttl_s=60)
    leases.release(table, leases.renew(table, held, ttl_s=90))
    apply_rollback(table, plan_rollback(table, "v1"))
    refs.drop(table, "v1", snapshot_id=first.snapshot_id)
    assert {ref.name: ref.snapshot_id for ref in refs.refs(table)} == {
        "main": first.snapshot_id,
        "trial": first.snapshot_id,
    }
    assert [each.rows_added for each in lake.registry.commits("raw.events")] == [1]
