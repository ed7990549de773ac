"""Time travel: the snapshot that was current then, or an error; never its neighbour in the log."""

import datetime as dt
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, SnapshotLogEntry, Summary
from pyiceberg.table.sorting import SortOrder
from pyiceberg.table.update import RemoveSnapshotsUpdate, update_table_metadata
from pyiceberg.types import LongType, NestedField

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import SnapshotNotFoundError, TimeGapError
from headrace.iceberg.snapshot_log import SnapshotRemoval, snapshot_at
from headrace.tables.commits import operations
from headrace.tables.refs.refs import tag
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.amounts import examples
from tests.tables.catalogs.test_foreign import catalog as foreign_catalog
from tests.tables.catalogs.test_foreign import rows
from tests.tables.factories import add, events_table

catalog = foreign_catalog
STEP_MS = 1_000


@dataclass
class History:
    """A table's metadata after some moves of `main`, and what `main` was after each of them."""

    metadata: TableMetadata = field(
        default_factory=lambda: new_table_metadata(
            Schema(NestedField(1, "id", LongType())), PartitionSpec(), SortOrder(), "file:///t"
        )
    )
    truth: list[tuple[int, int]] = field(default_factory=list)
    now_ms: int = 1_700_000_000_000

    def commit(self, *, to_main: bool) -> None:
        self.now_ms += STEP_MS
        number = self.metadata.last_sequence_number + 1
        parents = [s.snapshot_id for s in self.metadata.snapshots]
        current = self.metadata.current_snapshot_id
        parent = current if to_main or not parents else parents[-1]
        snapshot = Snapshot(
            snapshot_id=number * 10,
            parent_snapshot_id=parent,
            sequence_number=number,
            timestamp_ms=self.now_ms,
            manifest_list="none",
            summary=Summary(Operation.APPEND),
        )
        update = {
            "snapshots": [*self.metadata.snapshots, snapshot],
            "last_sequence_number": number,
        }
        self.metadata = self.metadata.model_copy(update=update)
        if to_main:
            self._move(snapshot.snapshot_id)

    def move(self, at: int) -> None:
        alive = [s.snapshot_id for s in self.metadata.snapshots]
        if alive and alive[at % len(alive)] != self.metadata.current_snapshot_id:
            self.now_ms += STEP_MS
            self._move(alive[at % len(alive)])

    def _move(self, snapshot_id: int) -> None:
        entry = SnapshotLogEntry(snapshot_id=snapshot_id, timestamp_ms=self.now_ms)
        ref = SnapshotRef(snapshot_id=snapshot_id, snapshot_ref_type=SnapshotRefType.BRANCH)
        update = {
            "snapshot_log": [*self.metadata.snapshot_log, entry],
            "current_snapshot_id": snapshot_id,
            "refs": {"main": ref},
        }
        self.metadata = self.metadata.model_copy(update=update)
        self.truth.append((self.now_ms, snapshot_id))

    def expire(self, at: int, *, as_stock: bool) -> None:
        dead = [s.snapshot_id for s in self.metadata.snapshots]
        dead = [each for each in dead if each != self.metadata.current_snapshot_id]
        if dead:
            ids = dead[at % len(dead) :][: 1 + at % 3]
            plain = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": ids})
            update = plain if as_stock else SnapshotRemoval.of(ids)
            self.metadata = update_table_metadata(self.metadata, (update,))

    def follow(self, steps: list[tuple[str, int]], *, as_stock: bool) -> None:
        for kind, at in steps:
            if kind == "expire":
                self.expire(at, as_stock=as_stock)
            elif kind == "move":
                self.move(at)
            else:
                self.commit(to_main=kind == "commit")

    def wrong(self, *, trusted: bool) -> list[object]:
        """Ask for a time after each move; return answers that are not what was current then."""
        found: list[object] = []
        for at_ms, snapshot_id in self.truth:
            seen = answer(self.metadata, at_ms + STEP_MS // 2, trusted=trusted)
            if seen not in (None, snapshot_id):
                found.append((at_ms, snapshot_id, seen))
        return found


def answer(metadata: TableMetadata, at_ms: int, *, trusted: bool) -> int | None:
    at = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
    try:
        return snapshot_at(metadata, at, table="t", trusted=trusted)
    except SnapshotNotFoundError:
        return None


steps = st.lists(
    st.tuples(
        st.sampled_from(["commit", "commit", "branch", "move", "expire"]), st.integers(0, 20)
    ),
    max_size=14,
)


@hypothesis_settings(deadline=None, max_examples=examples(120, few=40))
@given(steps=steps, as_stock=st.booleans())
def test_an_answer_is_what_was_current_then_whoever_expires(
    steps: list[tuple[str, int]], *, as_stock: bool
) -> None:
    history = History()
    history.follow(steps, as_stock=as_stock)
    assert history.wrong(trusted=not as_stock) == []


@hypothesis_settings(deadline=None, max_examples=examples(60, few=20))
@given(steps=steps)
def test_nothing_is_refused_where_nothing_has_expired(steps: list[tuple[str, int]]) -> None:
    history = History()
    history.follow([each for each in steps if each[0] != "expire"], as_stock=True)
    for at_ms, snapshot_id in history.truth:
        assert answer(history.metadata, at_ms + STEP_MS // 2, trusted=False) == snapshot_id


def test_commits_are_found_though_older_ones_have_expired() -> None:
    history = History()
    history.follow([("commit", 0)] * 8, as_stock=True)
    ids = [s.snapshot_id for s in history.metadata.snapshots]
    gone = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [*ids[:2], *ids[3:5]]})
    history.metadata = update_table_metadata(history.metadata, (gone,))
    seen = [answer(history.metadata, ms + 1, trusted=False) for ms, _ in history.truth]
    # of the kept one nobody can say how long it was current
    assert seen == [None, None, None, None, None, *ids[5:]]


def test_a_gap_says_what_bounds_it(catalog: Catalog, settings: Settings) -> None:
    table = catalog.load_table("mydb.events")
    for number in range(1, 4):
        time.sleep(0.01)
        table.append(rows([number]))
    snapshots = table.metadata.snapshots
    table.manage_snapshots().create_tag(snapshots[0].snapshot_id, "kept").commit()
    gone = [each.snapshot_id for each in snapshots[1:3]]
    table.maintenance.expire_snapshots().by_ids(gone).commit()
    at = dt.datetime.fromtimestamp((snapshots[1].timestamp_ms + 1) / 1000, dt.UTC)
    with Lake.of(catalog, settings=settings) as lake:
        with pytest.raises(TimeGapError) as refused:
            lake.table("mydb.events").at(time=at)
        assert lake.table("mydb.events").at(tag="kept").row_count == 1
    assert refused.value.before == (snapshots[0].snapshot_id, snapshots[0].timestamp_ms)
    assert refused.value.after == (snapshots[3].snapshot_id, snapshots[3].timestamp_ms)


def test_expiry_cuts_the_log_up_to_the_last_hole(catalog: Catalog, settings: Settings) -> None:
    """Readers that trust the log, as stock PyIceberg does, are not misled either."""
    table = catalog.load_table("mydb.events")
    for number in range(1, 4):
        time.sleep(0.01)
        table.append(rows([number]))
    snapshots = table.metadata.snapshots
    table.manage_snapshots().create_tag(snapshots[0].snapshot_id, "kept").commit()
    with table.transaction() as change:  # the format's own default is five days
        change.set_properties({"history.expire.max-snapshot-age-ms": "1"})
    with Lake.of(catalog, settings=settings) as lake:
        gone = operations.expire(lake.table("mydb.events"), keep=1, before_ms=1 << 62)
    assert gone == (snapshots[1].snapshot_id,)
    after = catalog.load_table("mydb.events")
    assert [each.snapshot_id for each in after.metadata.snapshot_log] == [
        each.snapshot_id for each in snapshots[2:]
    ]
    assert after.snapshot_as_of_timestamp(snapshots[1].timestamp_ms) is None


def test_a_rolled_back_snapshot_is_what_was_read_then(lake: Lake) -> None:
    table = events_table(lake)
    first, second = add(table, [1]).snapshot_id, add(table, [2]).snapshot_id
    tag(table, "second", snapshot_id=second)
    between = dt.datetime.now(dt.UTC)
    time.sleep(0.01)
    apply_rollback(table, plan_rollback(table, first))
    add(table, [3])
    assert table.at(time=between).snapshot_id == second
