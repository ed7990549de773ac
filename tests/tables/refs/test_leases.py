"""Leases: what a paused reader finds when it comes back, in time and too late."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import ancestors_of

from headrace import clock
from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import LeaseLapsedError, ProtectedRefError, SnapshotNotFoundError
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.refs import leases, refs
from headrace.tables.refs.leases import Lease
from tests.raising import refused
from tests.tables.commits.test_faults import impatient, locked
from tests.tables.factories import add, day_key, events_table, ids_of
from tests.tables.no_locks import NoLocks

pytestmark = pytest.mark.slow

HOUR_S = 3600.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings under which three snapshots are kept."""
    return replace(settings, snapshots_kept=3)


def alive(table: LakeTable) -> set[int]:
    return {each.snapshot_id for each in table.iceberg().metadata.snapshots}


def end_soon(table: LakeTable, held: Lease) -> Lease:
    """Let a lease end in a moment, as time would."""
    ending = leases.renew(table, held, ttl_s=0.001)
    time.sleep(0.01)
    return ending


def keep_busy(table: LakeTable, ids: range) -> None:
    """Append, compact and expire."""
    for i in ids:
        add(table, [i], day=i % 3)
        if i % 6 == 0:
            compact(table)
        operations.expire(table, keep=1, before_ms=2**62)


def test_a_reader_paused_on_a_lease_loses_nothing_until_its_time_is_over(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(4):
        add(table, [i])
    held = leases.lease(table, holder="a trainer", ttl_s=HOUR_S)
    paused = table.at(snapshot_id=held.snapshot_id)
    keep_busy(table, range(4, 24))
    assert sorted(paused.to_arrow().column("id").to_pylist()) == [0, 1, 2, 3]
    metadata = table.iceberg().metadata
    chain = list(ancestors_of(metadata.current_snapshot(), metadata))
    assert held.snapshot_id in {each.snapshot_id for each in chain}
    since = [each for each in chain if (each.sequence_number or 0) > 4]
    assert sum(each.summary is not None and "added-records" in each.summary for each in since) >= 20
    for each in since:  # what every commit since added can still be read
        assert len(table.at(snapshot_id=each.snapshot_id).to_arrow()) >= 5
    found = changes(table, since=held.snapshot_id)
    assert found.partitions == {day_key(0), day_key(1), day_key(2)}
    assert len(found.operations) == 20
    ending = end_soon(table, held)
    keep_busy(table, range(24, 26))
    assert len(alive(table)) <= 5
    assert held.snapshot_id not in alive(table)
    assert ending.tag not in table.iceberg().metadata.refs
    with pytest.raises(SnapshotNotFoundError):
        table.at(snapshot_id=held.snapshot_id)
    with refused(LeaseLapsedError, lease_id=ending.id):
        leases.renew(table, ending, ttl_s=HOUR_S)
    assert ids_of(table) == list(range(26))


def test_a_lease_keeps_the_chain_from_an_old_snapshot_on_but_nothing_before_it(lake: Lake) -> None:
    table = events_table(lake)
    made = [add(table, [i]) for i in range(3)]
    held = leases.lease(table, holder="me", ttl_s=HOUR_S, snapshot_id=made[1].snapshot_id)
    made += [add(table, [i]) for i in range(3, 9)]
    kept = [each.snapshot_id in alive(table) for each in made]
    assert kept == [False] + [True] * 8
    leases.release(table, held)
    add(table, [9])
    assert len(alive(table)) <= 4


def test_renewing_moves_the_end_and_releasing_twice_changes_nothing(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    held = leases.lease(table, holder="me", ttl_s=60)
    longer = leases.renew(table, held, ttl_s=HOUR_S)
    assert longer.id == held.id
    assert longer.expires_at - held.expires_at > dt.timedelta(seconds=3000)
    assert [each.expires_at for each in leases.leases(table)] == [longer.expires_at]
    with pytest.raises(LeaseLapsedError):
        leases.renew(table, held, ttl_s=60)  # it is the newer one that counts
    leases.release(table, held)
    leases.release(table, longer)
    assert leases.leases(table) == ()
    with pytest.raises(LeaseLapsedError):
        leases.renew(table, longer, ttl_s=60)


def test_a_block_holds_a_lease_and_ends_it_also_when_it_fails(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])

    class Broken(Exception):
        pass

    def fail_while_reading() -> None:
        with leases.leased(table, holder="me", ttl_s=60) as held:
            assert [each.id for each in leases.leases(table)] == [held.id]
            leases.renew(table, held, ttl_s=120)
            raise Broken

    with pytest.raises(Broken):
        fail_while_reading()
    assert leases.leases(table) == ()


def test_leases_say_who_holds_them_and_are_no_tags(lake: Lake) -> None:
    table = events_table(lake)
    first = add(table, [1])
    held = [leases.lease(table, holder=name, ttl_s=s) for name, s in (("b", 90), ("a", 60))]
    assert [each.holder for each in leases.leases(table)] == ["a", "b"]
    assert leases.leases(table)[1] == held[0]
    assert refs.tags(table) == {}
    assert {ref.kind for ref in refs.refs(table)} == {"branch", "lease"}
    with refused(ProtectedRefError, ref=held[0].tag):
        refs.drop(table, held[0].tag, snapshot_id=first.snapshot_id)
    assert leases.end(table, held[0].id)
    assert not leases.end(table, held[0].id)
    assert [each.holder for each in leases.leases(table)] == ["a"]


def test_the_metadata_alone_says_what_is_leased_and_until_when(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    add(table, [2])
    held = leases.lease(table, holder="me", ttl_s=60)
    add(table, [3])
    metadata = table.iceberg().metadata
    ends_at_ms = round(held.expires_at.timestamp() * 1000)
    assert leases.pinned_from(metadata, ends_at_ms - 1) == 2
    assert leases.lapsed(metadata, ends_at_ms - 1) == []
    assert leases.pinned_from(metadata, ends_at_ms) is None
    assert leases.lapsed(metadata, ends_at_ms) == [held.tag]
    ref = metadata.refs[held.tag]
    snapshot = metadata.snapshot_by_id(ref.snapshot_id)
    assert snapshot is not None
    assert snapshot.timestamp_ms + (ref.max_ref_age_ms or 0) == ends_at_ms


@pytest.mark.parametrize("ttl_s", [0, -1, leases.TTL_S_MAX + 1])
def test_a_lease_has_an_end_that_is_not_far(lake: Lake, ttl_s: float) -> None:
    table = events_table(lake)
    add(table, [1])
    with pytest.raises(ValueError, match="ttl_s"):
        leases.lease(table, holder="me", ttl_s=ttl_s)
    with pytest.raises(ValueError, match="holder"):
        leases.lease(table, holder="", ttl_s=1)


def test_what_is_gone_or_never_was_cannot_be_leased(lake: Lake) -> None:
    table = events_table(lake)
    with pytest.raises(SnapshotNotFoundError):
        leases.lease(table, holder="me", ttl_s=60)
    first = add(table, [0])
    for i in range(1, 6):
        add(table, [i])
    with refused(SnapshotNotFoundError, wanted=f"snapshot {first.snapshot_id} to lease"):
        leases.lease(table, holder="me", ttl_s=60, snapshot_id=first.snapshot_id)
    assert leases.leases(table) == ()


def test_leases_and_commits_go_on_while_the_registry_is_locked(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        add(table, [0])
        with locked(lake.settings.state_dir / "registry.db"):
            held = leases.lease(table, holder="me", ttl_s=HOUR_S)
            assert [(each.id, each.holder) for each in leases.leases(table)] == [(held.id, "")]
            held = leases.renew(table, held, ttl_s=60)
            for i in range(1, 8):
                add(table, [i])
        add(table, [8])
        assert held.snapshot_id in alive(table)
        with locked(lake.settings.state_dir / "registry.db"):
            leases.release(table, held)
        assert leases.leases(table) == ()
        assert ids_of(table) == list(range(9))


def before_its_swap(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, first: Callable[[], object]
) -> None:
    """Let something land between the staging of the next commit and its swap."""
    swap = lake.catalog.commit_table
    left = [first]

    def swap_later(*arguments: Any) -> object:  # noqa: ANN401 - whatever the catalog takes
        if left:
            left.pop()()
        return swap(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", swap_later)  # no process can be timed to


@pytest.fixture(params=[MemoCatalog, SqlCatalog])
def again(settings: Settings, lake: Lake, request: pytest.FixtureRequest) -> Iterator[Lake]:
    """The same lake through a second client of its catalog, ours or the stock one."""
    uri, warehouse = settings.catalog_uri, f"file://{settings.warehouse}"
    with closing(request.param("lake", uri=uri, warehouse=warehouse)) as catalog:
        yield Lake(settings, catalog, lake.registry)


def test_a_lease_renewed_while_a_commit_was_about_to_drop_it_stays(
    settings: Settings, again: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(again)
    add(table, [0])
    held = leases.lease(table, holder="me", ttl_s=60)
    made = [add(table, [i]) for i in range(1, 9)]
    ending = end_soon(table, held)
    renewed: list[Lease] = []
    with Lake.open(settings) as other, monkeypatch.context() as patch:

        def renew_by_a_slow_clock() -> None:
            with monkeypatch.context() as slow:  # another host's clock is a second behind
                slow.setattr(clock, "now_ms", lambda: time.time_ns() // 1_000_000 - 1000)
                renewed.append(leases.renew(other.table(table.name), ending, ttl_s=HOUR_S))

        without_locks(patch, again, other)
        before_its_swap(again, patch, renew_by_a_slow_clock)
        add(table, [9])
    assert {held.snapshot_id, *(each.snapshot_id for each in made)} <= alive(table)
    assert [each.id for each in leases.leases(table)] == [renewed[0].id]
    assert ids_of(table) == list(range(10))


def test_a_lease_taken_while_a_commit_was_about_to_expire_its_chain_keeps_it(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    first = add(table, [0])
    refs.tag(table, "old", snapshot_id=first.snapshot_id)
    made = [add(table, [i]) for i in range(1, 6)]
    assert {each.snapshot_id for each in made} <= alive(table)
    with Lake.open(settings) as other, monkeypatch.context() as patch:

        def lease_the_old_one() -> None:
            leases.lease(
                other.table(table.name), holder="me", ttl_s=60, snapshot_id=first.snapshot_id
            )

        without_locks(patch, lake, other)
        before_its_swap(lake, patch, lease_the_old_one)
        add(table, [6])  # would have expired what the tag does not name
    assert {first.snapshot_id, *(each.snapshot_id for each in made)} <= alive(table)
    assert ids_of(table) == list(range(7))


def without_locks(monkeypatch: pytest.MonkeyPatch, *lakes: Lake) -> None:
    """Take the table locks away, as between two hosts that share a lake."""
    for each in lakes:
        monkeypatch.setattr(each, "locks", NoLocks())


def test_of_two_renewals_at_once_the_later_one_is_told(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between hosts that do not share locks: the tag that it finds has the name of its own."""
    table = events_table(lake)
    add(table, [1])
    held = leases.lease(table, holder="a", ttl_s=HOUR_S)
    others: list[Lease] = []
    plain = leases._ref  # pyright: ignore[reportPrivateUsage]  (a host cannot be timed to come just there)

    def after_another(metadata: TableMetadata, snapshot_id: int, **named: Any) -> Any:  # noqa: ANN401  (of `leases._ref`)
        found = plain(metadata, snapshot_id, **named)
        with monkeypatch.context() as patch:
            patch.setattr(leases, "_ref", plain)
            if not others:
                others.append(leases.renew(table, held, ttl_s=2 * HOUR_S))
        return found

    monkeypatch.setattr(leases, "_ref", after_another)
    with pytest.raises(LeaseLapsedError):
        leases.renew(table, held, ttl_s=HOUR_S)
    assert [each.expires_at for each in leases.leases(table)] == [others[0].expires_at]
