"""Cherry-pick: what a snapshot added comes once."""

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    AlreadyPublishedError,
    CherryPickReason,
    CherryPickRefusedError,
    SnapshotNotFoundError,
)
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.publishing.cherry_pick import cherry_pick
from headrace.tables.recover import recovered_registry
from headrace.tables.refs import refs
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.raising import refused
from tests.tables.factories import events_table, ids_of
from tests.tables.histories import few_snapshots, take, write


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
    with refused(AlreadyPublishedError, snapshot_id=done.snapshot_id):
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
        with refused(AlreadyPublishedError, what=f"what snapshot {wanted.snapshot_id} added"):
            cherry_pick(table, wanted.snapshot_id)
    for path in few.state_dir.glob("registry.db*"):
        path.unlink()
    with recovered_registry(few):  # which knows of the snapshots that are there
        pass
    with Lake.open(few) as lake:
        table = events_table(lake)
        with refused(AlreadyPublishedError, table="raw.events") as found:
            cherry_pick(table, wanted.snapshot_id)
        assert found.value.what.endswith(f"of snapshot {wanted.snapshot_id}")  # told by its files
        assert ids_of(table) == list(range(1, 14))


def test_only_appends_without_offsets_are_picked(lake: Lake) -> None:
    table = events_table(lake)
    good = take(table, 2)
    taken = take(table, 5)
    apply_rollback(table, plan_rollback(table, good.snapshot_id))
    with refused(CherryPickRefusedError, reason=CherryPickReason.MOVED_OFFSETS):
        cherry_pick(table, taken.snapshot_id)
    refs.create_branch(table, "trial")
    cleared = operations.overwrite(table, [], provenance=Provenance(), branch="trial")
    with refused(CherryPickRefusedError, reason=CherryPickReason.NOT_AN_APPEND):
        cherry_pick(table, cleared.snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        cherry_pick(table, 42)
    assert ids_of(table) == [0, 1]
