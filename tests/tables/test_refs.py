"""Tags, branches, checked fast-forward, cherry-pick and rollback, against a model and in races."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from headrace.config import Settings
from headrace.engines.duckdb import load_iceberg_extension
from headrace.errors import (
    AlreadyPublishedError,
    CommitConflictError,
    DatabaseUnavailableError,
    FencedError,
    InvalidNameError,
    NotAnAncestorError,
    OffsetsUnknownError,
    PickRefusedError,
    ProtectedRefError,
    RefExistsError,
    SnapshotNotFoundError,
)
from headrace.identifiers import TableName
from headrace.registry import Build
from headrace.tables import commit, leases, refs
from headrace.tables.changes import changes
from headrace.tables.commit import Commit, Fence, Provenance
from headrace.tables.files import write_batches
from headrace.tables.lake import Lake, LakeTable
from headrace.tables.pick import cherry_pick
from headrace.tables.publish import Way, plan_publish
from headrace.tables.rollback import apply_rollback, plan_rollback
from tests.processes import CONTEXT
from tests.tables.factories import add, day_key, events, events_table, ids_of
from tests.tables.test_faults import impatient, locked


def write(
    table: LakeTable,
    ids: list[int],
    *,
    branch: str = "main",
    properties: dict[str, str] | None = None,
) -> Commit:
    files = write_batches(table, [events(ids)])
    return commit.append(
        table, files, provenance=Provenance(), branch=branch, properties=properties
    )


def take(table: LakeTable, upto: int, *, watermark: int | None = None) -> Commit:
    """Commit the records of a source up to `upto`, as an ingest does."""
    before = commit.offsets(table.head(), "log")
    fence = Fence(key="log", expected=before, offsets=before | {"part-0": upto})
    files = write_batches(table, [events(range(before.get("part-0", 0), upto))])
    properties = {} if watermark is None else {"headrace.watermark": str(watermark)}
    return commit.append(table, files, provenance=Provenance(), fence=fence, properties=properties)


def branch_ids(table: LakeTable, branch: str) -> list[int]:
    return sorted(table.head(branch).to_arrow(columns=["id"]).column("id").to_pylist())


def few_snapshots(settings: Settings, kept: int = 3) -> Settings:
    return Settings(**{**settings.__dict__, "snapshots_kept": kept})


def test_a_branch_begins_where_it_is_told_and_main_does_not_see_its_commits(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    write(table, [2])
    assert refs.create_branch(table, "trial", at=first.snapshot_id) == first.snapshot_id
    write(table, [3], branch="trial")
    assert branch_ids(table, "trial") == [1, 3]
    assert ids_of(table) == [1, 2]
    assert list(refs.branches(table)) == ["main", "trial"]


def test_a_branch_begins_at_main_a_tag_or_another_branch(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    refs.tag(table, "old", snapshot_id=first.snapshot_id)
    second = write(table, [2])
    assert refs.create_branch(table, "new") == second.snapshot_id
    assert refs.create_branch(table, "old-one", at="old") == first.snapshot_id
    assert refs.create_branch(table, "same", at="old-one") == first.snapshot_id
    assert refs.create_branch(table, "by-text", at=str(first.snapshot_id)) == first.snapshot_id
    with pytest.raises(SnapshotNotFoundError, match="`nothing`"):
        refs.create_branch(table, "lost", at="nothing")
    with pytest.raises(SnapshotNotFoundError, match="snapshot 42"):
        refs.create_branch(table, "lost", at=42)


def test_a_commit_never_makes_a_branch(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    with pytest.raises(SnapshotNotFoundError, match="branch `trial`"):
        write(table, [2], branch="trial")
    assert refs.branches(table).keys() == {"main"}


def test_the_same_branch_again_changes_nothing_and_elsewhere_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    refs.create_branch(table, "trial")
    before = table.iceberg().metadata_location
    refs.create_branch(table, "trial")
    assert table.iceberg().metadata_location == before
    write(table, [2])
    with pytest.raises(RefExistsError, match="already points"):
        refs.create_branch(table, "trial")
    with pytest.raises(RefExistsError, match="exists already"):
        refs.create_branch(table, "trial", at=first.snapshot_id, exclusive=True)
    with pytest.raises(RefExistsError, match="is a branch"):
        refs.tag(table, "trial", snapshot_id=first.snapshot_id)


@pytest.mark.parametrize("name", ["", "Trial", "1st", "a b", "a/../b", "a'b", "x" * 128])
def test_names_of_branches_and_tags_are_plain(lake: Lake, name: str) -> None:
    table = events_table(lake)
    first = write(table, [1])
    with pytest.raises(InvalidNameError, match="valid branch"):
        refs.create_branch(table, name)
    with pytest.raises(InvalidNameError, match="valid tag"):
        refs.tag(table, name, snapshot_id=first.snapshot_id)


def test_main_and_leases_cannot_be_dropped_or_taken(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    with pytest.raises(ProtectedRefError, match="it is the table"):
        refs.plan_drop(table, "main")
    with pytest.raises(ProtectedRefError, match="it is the table"):
        refs.drop(table, "main", snapshot_id=first.snapshot_id)
    with pytest.raises(ProtectedRefError, match="for leases"):
        refs.tag(table, "lease-1", snapshot_id=first.snapshot_id)


def test_dropping_a_branch_says_what_only_it_had_and_can_be_repeated(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    kept = write(table, [2, 3], branch="trial")
    refs.tag(table, "half", snapshot_id=kept.snapshot_id)
    lost = [write(table, [4], branch="trial"), write(table, [5, 6], branch="trial")]
    plan = refs.plan_drop(table, "trial")
    assert [each.snapshot_id for each in plan.lost] == [each.snapshot_id for each in lost[::-1]]
    assert (plan.kind, plan.rows_lost) == ("branch", 3)
    refs.apply_drop(table, plan)
    refs.apply_drop(table, plan)
    assert refs.branches(table).keys() == {"main"}
    with pytest.raises(SnapshotNotFoundError, match="`trial`"):
        refs.plan_drop(table, "trial")
    assert refs.plan_drop(table, "half").lost[0].rows_added == 2


def test_a_branch_that_moved_since_it_was_looked_at_is_not_dropped(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    plan = refs.plan_drop(table, "trial")
    write(table, [2], branch="trial")
    with pytest.raises(CommitConflictError, match="meanwhile"):
        refs.apply_drop(table, plan)
    assert branch_ids(table, "trial") == [1, 2]


def test_a_tag_with_an_age_goes_when_its_time_is_over(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    refs.tag(table, "short", snapshot_id=first.snapshot_id, max_age_s=0.001)
    refs.tag(table, "long", snapshot_id=first.snapshot_id, max_age_s=3600)
    (long,) = [ref for ref in refs.refs(table) if ref.name == "long"]
    assert long.ends_at_ms == (long.committed_at_ms or 0) + 3_600_000
    write(table, [2])
    assert refs.tags(table).keys() == {"long"}
    with pytest.raises(ValueError, match="positive"):
        refs.tag(table, "never", snapshot_id=first.snapshot_id, max_age_s=0)


def test_main_fast_forwards_to_a_branch_that_has_all_it_has(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    refs.create_branch(table, "trial")
    write(table, [2], branch="trial")
    last = write(table, [3], branch="trial")
    moved = refs.fast_forward(table, "main", to="trial")
    assert (moved.before_id, moved.after_id) == (first.snapshot_id, last.snapshot_id)
    assert ids_of(table) == [1, 2, 3]
    again = refs.fast_forward(table, "main", to="trial")
    assert (again.before_id, again.after_id) == (last.snapshot_id, last.snapshot_id)
    assert changes(table, since=first.snapshot_id).operations == ("append", "append")


def test_main_never_fast_forwards_over_its_own_commits(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    theirs = write(table, [2], branch="trial")
    mine = write(table, [3])
    with pytest.raises(NotAnAncestorError) as refused:
        refs.fast_forward(table, "main", to="trial")
    for head in (mine.snapshot_id, theirs.snapshot_id):
        assert str(head) in str(refused.value)
    assert ids_of(table) == [1, 3]
    refs.fast_forward(table, "trial", to="trial")
    with pytest.raises(NotAnAncestorError):
        refs.fast_forward(table, "trial", to="main")


def test_fast_forward_knows_a_chain_that_has_expired(settings: Settings) -> None:
    with Lake.open(few_snapshots(settings)) as lake:
        table = events_table(lake)
        write(table, [0])
        refs.create_branch(table, "trial")
        refs.create_branch(table, "other")
        write(table, [100], branch="other")
        for i in range(1, 9):
            write(table, [i], branch="trial")
        alive = {each.snapshot_id for each in table.iceberg().metadata.snapshots}
        assert len(alive) < 9
        moved = refs.fast_forward(table, "main", to="trial")
        assert ids_of(table) == list(range(9))
        assert len(changes(table, since=moved.before_id).operations) == 8
        with pytest.raises(NotAnAncestorError):
            refs.fast_forward(table, "other", to="main")


def test_what_only_a_branch_has_is_in_no_list_of_commits_until_it_is_published(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    files = write_batches(table, [events([2])])
    provenance = Provenance(inputs={"raw.source": 7}, code="c")
    done = commit.append(table, files, provenance=provenance, branch="trial")
    registry = lake.registry
    registry.record_builds([build_of(done)])
    assert [each.rows_added for each in registry.commits("raw.events")] == [1]
    assert registry.edges() == []
    assert registry.builds("raw.events") == {}
    refs.fast_forward(table, "main", to="trial")
    assert len(registry.commits("raw.events")) == 2
    assert [edge.source for edge in registry.edges()] == ["raw.source"]
    assert registry.builds("raw.events").keys() == {"p"}


def build_of(done: Commit) -> Build:
    return Build(
        table="raw.events",
        partition="p",
        snapshot_id=done.snapshot_id,
        inputs={},
        code="c",
        watermarks={},
    )


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
    with pytest.raises(CommitConflictError, match="after the rollback was planned"):
        apply_rollback(table, plan)
    assert ids_of(table) == [1, 2, 3]


def test_offsets_and_watermark_go_back_with_the_rows_and_are_read_again(lake: Lake) -> None:
    table = events_table(lake)
    take(table, 2, watermark=10)
    good = take(table, 3)
    stale = commit.offsets(table.head(), "log")
    take(table, 7, watermark=20)
    take(table, 9, watermark=30)
    plan = plan_rollback(table, good.snapshot_id)
    (move,) = plan.offsets
    assert (move.stream, move.source, move.before, move.after) == ("log", "part-0", 9, 3)
    apply_rollback(table, plan)
    assert commit.offsets(table.head(), "log") == {"part-0": 3} == stale
    assert table.head().properties["headrace.watermark"] == "10"
    with pytest.raises(FencedError):  # an ingester that ran through it all resumes from the table
        commit.append(
            table,
            [],
            provenance=Provenance(),
            fence=Fence(key="log", expected={"part-0": 9}, offsets={"part-0": 10}),
        )
    take(table, 12)
    assert ids_of(table) == list(range(12))


def test_a_first_commit_that_is_rolled_back_takes_its_offsets_away(lake: Lake) -> None:
    table = events_table(lake)
    empty = commit.append(table, [], provenance=Provenance())
    take(table, 4, watermark=1)
    apply_rollback(table, plan_rollback(table, empty.snapshot_id))
    assert commit.offsets(table.head(), "log") == {}
    assert "headrace.watermark" not in table.head().properties


def test_a_rollback_that_is_taken_back_brings_offsets_forward_again(lake: Lake) -> None:
    table = events_table(lake)
    good = take(table, 3)
    bad = take(table, 8, watermark=5)
    refs.tag(table, "before-rollback", snapshot_id=bad.snapshot_id)
    apply_rollback(table, plan_rollback(table, good.snapshot_id))
    refs.fast_forward(table, "main", to="before-rollback")
    assert commit.offsets(table.head(), "log") == {"part-0": 8}
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
        assert commit.offsets(table.head(), "log") == {"part-0": 2}
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
        assert commit.offsets(table.head(), "log") == {}


def test_a_rollback_whose_offsets_nobody_knows_is_refused(settings: Settings) -> None:
    few = few_snapshots(settings)
    with Lake.open(few) as lake:
        table = events_table(lake)
        good = take(table, 2)
        refs.tag(table, "good", snapshot_id=good.snapshot_id)
        take(table, 3)
        with table.iceberg().transaction() as transaction:
            transaction.set_properties({"headrace.offsets.log": '{"part-0": 77}'})
        with pytest.raises(OffsetsUnknownError, match="is not what its commits say"):
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
    with Lake.open(few) as lake:
        table = events_table(lake)
        with pytest.raises(NotAnAncestorError):
            plan_rollback(table, "good")
        assert commit.offsets(table.head(), "log") == {"part-0": 13}


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
        killed.join(120)
        assert killed.exitcode == -signal.SIGKILL
        done = crash_at == "updates.after_swap"
        assert ids_of(table) == list(range(2 if done else 5))
        assert commit.offsets(table.head(), "log") == {"part-0": 2 if done else 5}
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
                pytest.raises(DatabaseUnavailableError, match="catalog"),
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


def test_cherry_pick_adds_what_a_snapshot_added_once(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    skipped = write(table, [2], branch="trial")
    wanted = write(table, [3, 4], branch="trial")
    write(table, [5])
    files = {file.path for file in table.head("trial").files()}
    done = cherry_pick(table, wanted.snapshot_id)
    assert ids_of(table) == [1, 3, 4, 5]
    assert done.rows_added == 2
    assert table.head().summary["source-snapshot-id"] == str(wanted.snapshot_id)
    assert len({file.path for file in table.head().files()} - files) == 1  # nothing was copied
    with pytest.raises(AlreadyPublishedError, match=str(done.snapshot_id)):
        cherry_pick(table, wanted.snapshot_id)
    with pytest.raises(AlreadyPublishedError):
        cherry_pick(table, skipped.snapshot_id, branch="trial")
    assert ids_of(table) == [1, 3, 4, 5]


def test_a_snapshot_is_not_picked_again_when_its_pick_expired_or_the_registry_is_lost(
    settings: Settings,
) -> None:
    few = few_snapshots(settings)
    with Lake.open(few) as lake:
        table = events_table(lake)
        write(table, [1])
        refs.create_branch(table, "trial")
        wanted = write(table, [2], branch="trial")
        write(table, [3])
        cherry_pick(table, wanted.snapshot_id)
        for i in range(4, 14):
            write(table, [i])
        with pytest.raises(AlreadyPublishedError, match="what snapshot"):
            cherry_pick(table, wanted.snapshot_id)
    for path in few.state_dir.glob("registry.db*"):
        path.unlink()
    with Lake.open(few) as lake:
        table = events_table(lake)
        with pytest.raises(AlreadyPublishedError, match="parquet"):
            cherry_pick(table, wanted.snapshot_id)
        assert ids_of(table) == list(range(1, 14))


def test_only_appends_without_offsets_are_picked(lake: Lake) -> None:
    table = events_table(lake)
    good = take(table, 2)
    taken = take(table, 5)
    apply_rollback(table, plan_rollback(table, good.snapshot_id))
    with pytest.raises(PickRefusedError, match="source offsets"):
        cherry_pick(table, taken.snapshot_id)
    refs.create_branch(table, "trial")
    cleared = commit.overwrite(table, [], provenance=Provenance(), branch="trial")
    with pytest.raises(PickRefusedError, match="only appends"):
        cherry_pick(table, cleared.snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        cherry_pick(table, 42)
    assert ids_of(table) == [0, 1]


def test_pyiceberg_and_duckdb_read_branches_and_tags(lake: Lake, tmp_path: Path) -> None:
    table = events_table(lake)
    first = write(table, [1])
    refs.tag(table, "v1", snapshot_id=first.snapshot_id)
    refs.create_branch(table, "trial")
    write(table, [2], branch="trial")
    write(table, [3])
    wanted = {"main": [1, 3], "trial": [1, 2], "v1": [1]}
    loaded = table.iceberg()
    connection = duckdb.connect()
    load_iceberg_extension(connection, folder=tmp_path / "extensions")
    location = table.head().metadata_location
    for ref in refs.refs(table):
        read = loaded.scan(snapshot_id=ref.snapshot_id).to_arrow().column("id").to_pylist()
        assert sorted(read) == wanted[ref.name]
        by_name = loaded.scan().use_ref(ref.name).to_arrow().column("id").to_pylist()
        assert sorted(by_name) == wanted[ref.name]
        rows = connection.execute(
            f"select id from iceberg_scan('{location}', snapshot_from_id = {ref.snapshot_id}) "
            "order by id"
        ).fetchall()
        assert [row[0] for row in rows] == wanted[ref.name]


def _forward(settings: Settings, branch: str, outcomes: "multiprocessing.Queue[str]") -> None:
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        try:
            refs.fast_forward(table, "main", to=branch)
        except NotAnAncestorError:
            outcomes.put("refused")
        else:
            outcomes.put(branch)


def test_of_two_processes_that_fast_forward_to_two_branches_one_wins(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        write(table, [1])
        for i, name in enumerate(("left", "right")):
            refs.create_branch(table, name)
            write(table, [10 + i], branch=name)
        outcomes = CONTEXT.Queue()
        workers = [
            CONTEXT.Process(target=_forward, args=(settings, name, outcomes))
            for name in ("left", "right")
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        said = sorted(outcomes.get(timeout=10) for _ in workers)
        assert "refused" in said
        (winner,) = set(said) - {"refused"}
        assert ids_of(table) == branch_ids(table, winner)


def _append_many(settings: Settings, first: int, count: int) -> None:
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        for i in range(first, first + count):
            write(table, [i])


def test_tags_branches_and_drops_beside_appends_lose_nothing(settings: Settings) -> None:
    few = few_snapshots(settings)
    with Lake.open(few) as lake:
        table = events_table(lake)
        write(table, [0])
        worker = CONTEXT.Process(target=_append_many, args=(few, 1, 25))
        worker.start()
        made: dict[str, tuple[int, int]] = {}
        number = 0
        while worker.is_alive() and number < 60:
            head = table.head()
            name = f"at-{number}"
            try:
                refs.tag(table, name, snapshot_id=head.snapshot_id or 0)
            except SnapshotNotFoundError:
                pass  # it expired a moment ago, and the tag says so
            else:
                made[name] = (head.snapshot_id or 0, head.row_count)
            if number % 3 == 0 and made:
                gone, (snapshot_id, _) = made.popitem()
                refs.drop(table, gone, snapshot_id=snapshot_id)
            number += 1
        worker.join(120)
        assert worker.exitcode == 0
        assert ids_of(table) == list(range(26))
        assert refs.tags(table) == {name: at for name, (at, _) in made.items()}
        for name, (_, rows) in made.items():
            assert len(table.at(tag=name).to_arrow()) == rows


def test_a_snapshot_that_expires_under_another_branch_is_no_error(settings: Settings) -> None:
    with Lake.open(few_snapshots(settings)) as lake:
        table = events_table(lake)
        write(table, [0])
        refs.create_branch(table, "trial")
        for i in range(1, 12):
            write(table, [i], branch="trial" if i % 2 else "main")
        assert branch_ids(table, "trial") == [0, 1, 3, 5, 7, 9, 11]
        assert ids_of(table) == [0, 2, 4, 6, 8, 10]
