"""How long snapshots live: of what the lake, the table and its branches say, the stricter holds."""

import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.update import SetPropertiesUpdate, TableUpdate

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import GarbageKeptError, UnsupportedTableError
from headrace.iceberg.retention import expired_before
from headrace.iceberg.standard_properties import FORMAT_RETENTION
from headrace.iceberg.updates import set_ref
from headrace.maintenance.cleanup.trash import empty_trash
from headrace.maintenance.health.state import table_state
from headrace.maintenance.queue.actions import Kind, propose
from headrace.tables.commits import operations
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.maintenance.cleanup.cleaning import keeping
from tests.tables.catalogs.test_foreign import catalog as foreign_catalog
from tests.tables.catalogs.test_foreign import rows
from tests.tables.factories import add, events, events_table
from tests.tables.refs.test_time_travel import STEP_MS, History

catalog = foreign_catalog
LATER_MS = 1 << 62
MIN, AGE, REF_AGE = (
    f"history.expire.{name}"
    for name in ("min-snapshots-to-keep", "max-snapshot-age-ms", "max-ref-age-ms")
)


def say(table: LakeTable, **properties: str) -> None:
    said = {name.replace("__", ".").replace("_", "-"): value for name, value in properties.items()}
    update = SetPropertiesUpdate(updates=said)
    wanted = said.items()
    commit_updates(
        table, lambda now: () if wanted <= now.metadata.properties.items() else (update,)
    )


def kept_by_java(metadata: TableMetadata, *, now_ms: int) -> set[int]:
    """What the Java library's `RemoveSnapshots` retains, from its description alone."""
    said = metadata.properties
    parents = {s.snapshot_id: s.parent_snapshot_id for s in metadata.snapshots}
    times = {s.snapshot_id: s.timestamp_ms for s in metadata.snapshots}
    kept: set[int] = set()
    reached: set[int] = set()
    for ref in metadata.refs.values():
        kept.add(ref.snapshot_id)
        if ref.snapshot_ref_type == SnapshotRefType.TAG:
            reached.add(ref.snapshot_id)
            continue
        count = ref.min_snapshots_to_keep or int(said.get(MIN, 1))
        age_ms = ref.max_snapshot_age_ms or int(said.get(AGE, 5 * 86_400_000))
        at: int | None = ref.snapshot_id
        while at is not None and at in parents:
            reached.add(at)
            if count > 0 or times[at] >= now_ms - age_ms:
                kept.add(at)
            count -= 1
            at = parents[at]
    age_ms = int(said.get(AGE, 5 * 86_400_000))
    return kept | {s for s in times if s not in reached and times[s] >= now_ms - age_ms}


counts = st.none() | st.integers(1, 6)
ages = st.none() | st.integers(1, 12).map(lambda steps: steps * STEP_MS)
refs_said = st.lists(st.tuples(st.integers(0, 20), st.booleans(), counts, ages), max_size=3)


@hypothesis_settings(deadline=None, max_examples=examples(100, few=40))
@given(
    commits=st.lists(st.booleans(), min_size=1, max_size=10),
    moves=st.lists(st.integers(0, 10), max_size=2),
    named=refs_said,
    said=st.tuples(counts, ages),
    keep=st.integers(1, 4),
)
def test_nothing_expires_that_the_format_keeps_and_all_else_does(
    commits: list[bool],
    moves: list[int],
    named: list[tuple[int, bool, int | None, int | None]],
    said: tuple[int | None, int | None],
    keep: int,
) -> None:
    history = History()
    history.follow(
        [("commit" if main else "branch", 0) for main in (True, *commits)], as_stock=True
    )
    for at in moves:
        history.move(at)
    ids = [s.snapshot_id for s in history.metadata.snapshots]
    refs_made = dict(history.metadata.refs)
    for number, (at, is_tag, count, age_ms) in enumerate(named):
        kind = SnapshotRefType.TAG if is_tag else SnapshotRefType.BRANCH
        retention = (
            {} if is_tag else {"min_snapshots_to_keep": count, "max_snapshot_age_ms": age_ms}
        )
        refs_made[f"r{number}"] = SnapshotRef(
            snapshot_id=ids[at % len(ids)], snapshot_ref_type=kind, **retention
        )
    properties = {
        name: str(value) for name, value in zip((MIN, AGE), said, strict=True) if value is not None
    }
    metadata = history.metadata.model_copy(update={"refs": refs_made, "properties": properties})
    now_ms = history.now_ms + STEP_MS
    gone = set(
        expired_before(
            metadata, keep=keep, before_ms=LATER_MS, now_ms=now_ms, defaults=FORMAT_RETENTION
        )
    )
    named_ids = {ref.snapshot_id for ref in refs_made.values()}
    newest = [each for each in ids if each not in named_ids][-keep:]
    assert gone == set(ids) - kept_by_java(metadata, now_ms=now_ms) - set(newest)


def test_a_table_that_says_more_than_the_lake_keeps_more_at_each_commit(settings: Settings) -> None:
    with Lake.open(keeping(settings, 2)) as lake:
        table = events_table(lake)
        say(table, **{MIN: "8"})
        for number in range(7):
            add(table, [number])
        assert len(table.iceberg().metadata.snapshots) == 7
        for number in range(7):
            add(table, [10 + number])
        assert 8 <= len(table.iceberg().metadata.snapshots) <= 10  # one commit in many expires


def test_a_commit_to_a_branch_leaves_its_retention_as_it_was(lake: Lake) -> None:
    table = events_table(lake)
    head = add(table, [1]).snapshot_id
    own = SnapshotRef(
        snapshot_id=head,
        snapshot_ref_type=SnapshotRefType.BRANCH,
        min_snapshots_to_keep=5,
        max_snapshot_age_ms=7,
        max_ref_age_ms=10**12,
    )

    def updates_of(name: str) -> tuple[TableUpdate, ...]:
        return () if table.iceberg().metadata.refs.get(name) == own else (set_ref(name, own),)

    for name in ("main", "audit"):
        commit_updates(table, lambda _, name=name: updates_of(name))
        files = write_batches(table, [events([2])])
        landed = operations.append(table, files, provenance=Provenance(), branch=name)
        expected = own.model_copy(update={"snapshot_id": landed.snapshot_id})
        assert table.iceberg().metadata.refs[name] == expected


def test_snapshots_of_another_catalog_live_as_the_format_says_unless_the_table_says_less(
    catalog: Catalog, settings: Settings
) -> None:
    for number in range(1, 4):
        catalog.load_table("mydb.events").append(rows([number]))
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table("mydb.events")
        assert operations.expire(table, keep=1, before_ms=LATER_MS) == ()
        say(table, **{AGE: "1"})
        time.sleep(0.01)
        assert len(operations.expire(table, keep=1, before_ms=LATER_MS)) == 2


def test_nothing_expires_or_goes_for_good_where_the_table_says_its_files_are_shared(
    settings: Settings,
) -> None:
    with Lake.open(keeping(settings, 1)) as lake:
        table = events_table(lake)
        refs_before = add(table, [0]).snapshot_id
        refs.tag(table, "short", snapshot_id=refs_before, max_age_s=0.001)
        say(table, gc__enabled="FALSE")
        time.sleep(0.01)
        for number in range(6):
            add(table, [number])
        assert len(table.iceberg().metadata.snapshots) == 7
        assert "short" in refs.tags(table)
        with pytest.raises(GarbageKeptError):
            operations.expire(table, keep=1, before_ms=LATER_MS)
        with pytest.raises(GarbageKeptError):
            empty_trash(table)
        state = table_state(table)
        assert (state.expirable, state.look_due, state.shared) == (0, False, True)
        waiting = propose(state, now_ms=state.read_at_ms)
        assert {each.kind for each in waiting} & {
            Kind.EXPIRE,
            Kind.FIND_ORPHANS,
            Kind.REMOVE_ORPHANS,
        } == set()


def test_refs_that_say_no_age_end_at_the_tables(catalog: Catalog, settings: Settings) -> None:
    found = catalog.load_table("mydb.events")
    first = found.metadata.snapshots[0].snapshot_id
    found.manage_snapshots().create_tag(first, "theirs").commit()
    catalog.load_table("mydb.events").append(rows([1]))
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table("mydb.events")
        refs.tag(table, "before", snapshot_id=first)
        say(table, **{REF_AGE: "1"})
        refs.tag(table, "ours", snapshot_id=first)  # which promises to stay, as the one before
        time.sleep(0.01)
        ends = {ref.name: ref.ends_at_ms for ref in refs.refs(table)}
        assert ends["ours"] is ends["before"] is None
        assert ends["theirs"] is not None
        operations.expire(table, keep=1, before_ms=LATER_MS)
        assert refs.tags(table) == {"before": first, "ours": first}


def test_a_retention_that_says_nothing_is_refused_by_who_needs_it_and_by_nothing_else(
    settings: Settings,
) -> None:
    with Lake.open(keeping(settings, 1)) as lake:
        table = events_table(lake)
        say(table, **{MIN: "many"})
        for number in range(4):
            add(table, [number])
        assert len(table.iceberg().metadata.snapshots) == 4
        assert table_state(table).expirable == 0
        with pytest.raises(UnsupportedTableError):
            operations.expire(table, keep=1, before_ms=LATER_MS)
