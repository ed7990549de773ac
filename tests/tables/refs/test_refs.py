"""Tags, branches and checked fast-forward."""

from pathlib import Path

import duckdb
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.extensions import load_iceberg_extension
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    InvalidNameError,
    NotAnAncestorError,
    ProtectedRefError,
    RefExistsError,
    SnapshotNotFoundError,
)
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.tables.factories import events, events_table, ids_of
from tests.tables.histories import branch_ids, build_of, few_snapshots, write


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
    with refused(SnapshotNotFoundError, wanted="tag or branch `nothing`"):
        refs.create_branch(table, "lost", at="nothing")
    with refused(SnapshotNotFoundError, wanted="snapshot 42"):
        refs.create_branch(table, "lost", at=42)


def test_a_commit_never_makes_a_branch(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    with refused(SnapshotNotFoundError, wanted="branch `trial`"):
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
    with refused(RefExistsError, reason=ConflictReason.REF_ELSEWHERE, ref="trial"):
        refs.create_branch(table, "trial")
    with refused(RefExistsError, reason=ConflictReason.REF_EXISTS, ref="trial"):
        refs.create_branch(table, "trial", at=first.snapshot_id, exclusive=True)
    with refused(RefExistsError, reason=ConflictReason.REF_OF_OTHER_KIND, ref="trial"):
        refs.tag(table, "trial", snapshot_id=first.snapshot_id)


@pytest.mark.parametrize("name", ["", "Trial", "1st", "a b", "a/../b", "a'b", "x" * 128])
def test_names_of_branches_and_tags_are_plain(lake: Lake, name: str) -> None:
    table = events_table(lake)
    first = write(table, [1])
    with refused(InvalidNameError, kind="branch"):
        refs.create_branch(table, name)
    with refused(InvalidNameError, kind="tag"):
        refs.tag(table, name, snapshot_id=first.snapshot_id)


def test_main_and_leases_cannot_be_dropped_or_taken(lake: Lake) -> None:
    table = events_table(lake)
    first = write(table, [1])
    with refused(ProtectedRefError, ref="main"):
        refs.plan_drop(table, "main")
    with refused(ProtectedRefError, ref="main"):
        refs.drop(table, "main", snapshot_id=first.snapshot_id)
    with refused(ProtectedRefError, ref="lease-1"):
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
    with refused(SnapshotNotFoundError, wanted="tag or branch `trial`"):
        refs.plan_drop(table, "trial")
    assert refs.plan_drop(table, "half").lost[0].rows_added == 2


def test_a_branch_that_moved_since_it_was_looked_at_is_not_dropped(lake: Lake) -> None:
    table = events_table(lake)
    write(table, [1])
    refs.create_branch(table, "trial")
    plan = refs.plan_drop(table, "trial")
    write(table, [2], branch="trial")
    with refused(CommitConflictError, reason=ConflictReason.REF_MOVED, ref="trial"):
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
    with pytest.raises(ValueError, match="max_age_s"):
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
    done = operations.append(table, files, provenance=provenance, branch="trial")
    registry = lake.registry
    registry.record_builds([build_of(done)])
    assert [each.rows_added for each in registry.commits("raw.events")] == [1]
    assert registry.edges() == []
    assert registry.builds("raw.events") == {}
    refs.fast_forward(table, "main", to="trial")
    assert len(registry.commits("raw.events")) == 2
    assert [edge.source for edge in registry.edges()] == ["raw.source"]
    assert registry.builds("raw.events").keys() == {"p"}


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
    load_iceberg_extension(connection)
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
