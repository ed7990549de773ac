"""The model's table does what pyiceberg's does, and refuses what the catalog refuses."""

import itertools
import time

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    TableUpdate,
    update_table_metadata,
)

from headrace.api import Lake
from headrace.iceberg.retention import expired, expired_before
from headrace.iceberg.updates import make_ref, set_ref
from headrace.tables.lake import LakeTable
from headrace.tables.refs import leases, refs
from tests.protocol.role import EXPIRY_SLACK
from tests.protocol.rules import Bounds, Rules
from tests.protocol.table import MAIN, NONE, Metadata, Request, Snapshot
from tests.protocol.world import LEASE, doomed, first_world, refuses
from tests.tables.factories import add, events_table

IDS = (1, 2, 3, 4)


def four_commits_with_a_tag(lake: Lake) -> tuple[LakeTable, dict[int, int]]:
    """Return a table and its snapshot ids by the model's ids; snapshot 2 is tagged."""
    table = events_table(lake)
    real = {each: add(table, [each]).snapshot_id for each in IDS}
    refs.tag(table, "tag", snapshot_id=real[2])
    return table, real


def model() -> Metadata:
    snapshots = tuple(
        Snapshot(each, each - 1, each, (), 0, each, -1, NONE, 0, 0, 1 << each) for each in IDS
    )
    return Metadata.of(sequence=4, snapshots=snapshots, refs=((MAIN, 4), ("tag", 2)))


def shape(metadata: TableMetadata, real: dict[int, int]) -> object:
    named = {snapshot_id: each for each, snapshot_id in real.items()} | {None: NONE}
    parents = [(named[s.snapshot_id], named[s.parent_snapshot_id]) for s in metadata.snapshots]
    return parents, {name: named[ref.snapshot_id] for name, ref in metadata.refs.items()}


def model_shape(metadata: Metadata) -> object:
    return [(s.id, s.parent) for s in metadata.snapshots], dict(metadata.refs)


def test_expiry_and_names_change_the_models_table_as_they_change_a_real_one(lake: Lake) -> None:
    table, real = four_commits_with_a_tag(lake)
    base = table.iceberg().metadata
    assert shape(base, real) == model_shape(model())
    for size in range(4):
        for dead in itertools.combinations((1, 2, 3), size):
            for drops in ((), ("tag",)):
                updates: list[TableUpdate] = [
                    set_ref("new", make_ref(real[4], SnapshotRefType.TAG)),
                    *(RemoveSnapshotRefUpdate.model_validate({"ref-name": d}) for d in drops),
                ]
                if dead:
                    ids = [real[each] for each in dead]
                    updates.append(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": ids}))
                asked = Request.of(sets=(("new", 4),), drops=drops, dead=frozenset(dead))
                found = update_table_metadata(base, tuple(updates))
                assert shape(found, real) == model_shape(model().after(asked)), asked


@pytest.mark.parametrize(
    ("sets", "dead"),
    [((), (2,)), ((), (1,)), ((), (9,)), ((("new", 9),), ()), ((("new", 3),), ())],
    ids=["a tagged one dies", "a free one dies", "a dead one dies", "names none", "names one"],
)
def test_the_catalog_refuses_what_the_model_says_it_does(
    lake: Lake, sets: tuple[tuple[str, int], ...], dead: tuple[int, ...]
) -> None:
    table, real = four_commits_with_a_tag(lake)
    world = first_world(Bounds(), ())._replace(table=model())
    asked = Request.of(sets=sets, dead=frozenset(dead))
    updates: list[TableUpdate] = [
        set_ref(name, make_ref(real.get(each, each), SnapshotRefType.TAG)) for name, each in sets
    ]
    if dead:
        ids = [real.get(each, each) for each in dead]
        updates.append(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": ids}))
    try:
        lake.catalog.commit_table(table.iceberg(), (), tuple(updates))
    except CommitFailedException:
        refused = True
    else:
        refused = False
    assert refused == refuses(world, asked, Rules())


@pytest.mark.parametrize("leased", [NONE, 1, 2, 3])
def test_expiry_plans_what_the_model_plans(lake: Lake, leased: int) -> None:
    table, real = four_commits_with_a_tag(lake)
    world = first_world(Bounds(), ())._replace(table=model())
    if leased:
        leases.lease(table, holder="test", ttl_s=60, snapshot_id=real[leased])
        world = world._replace(table=model().after(Request.of(sets=((LEASE, leased),))))
    metadata, now_ms = table.iceberg().metadata, time.time_ns() // 1_000_000
    over_ms = now_ms + 3_600_000  # the lease has ended by then
    for keep, over in itertools.product(range(4), (False, True)):
        at_ms = over_ms if over else now_ms
        in_commits = expired(metadata, keep=keep, now_ms=at_ms)
        alone = expired_before(metadata, keep=keep, before_ms=over_ms, now_ms=at_ms)
        now = world._replace(over=over)
        for slack, found in ((EXPIRY_SLACK, in_commits), (0, alone)):
            planned = doomed(now, keep=keep, slack=slack, rules=Rules())
            assert {real[each] for each in planned} == set(found), (keep, over, slack)
