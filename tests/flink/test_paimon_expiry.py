"""Flink expires snapshots of a keyed table by the queue: up to what every reader took, whatever comes between."""

import dataclasses
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import PaimonSnapshotsExpiredError
from headrace.flink.paimon_upkeep import PaimonUpkeep
from headrace.identifiers import TableName
from headrace.interop.paimon.expiry import GUARD
from headrace.interop.paimon.rows import state_rows
from headrace.interop.paimon.take import take_changes
from headrace.maintenance.queue.actions import Action, Kind
from headrace.maintenance.queue.maintain import maintain
from headrace.maintenance.queue.perform import Outcome
from infra.launcher.cluster import Cluster
from tests.flink.keyed_tables import SHORT, note_keyed, note_taken, with_warehouse
from tests.interop.warehouses import Written, refuses_repeats, replayed, users
from tests.processes import exit_code, start
from tests.raising import refused

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
TARGET = TableName.parse("raw.users_taken")
TAKEN, SNAPSHOTS = 8, 20
COMPACTED = SNAPSHOTS + 1
PAIMON_KINDS = (Kind.PAIMON, Kind.PAIMON_EXPIRE)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A keyed table of 20 snapshots, of which the lake took eight and a tag keeps the third."""

    lake: Lake
    written: Written

    @property
    def ids(self) -> list[int]:
        return [each.id for each in self.written.table().snapshots()]

    def expiry(self) -> Action:
        found = PaimonUpkeep(lake=self.lake).proposed()
        due = [each for each in found if isinstance(each, Action)]
        (expiry,) = (each for each in due if each.kind is Kind.PAIMON_EXPIRE)
        return expiry

    def tagged(self) -> list[tuple[object, object]]:
        """Read what the tag keeps."""
        table = self.written.table()
        rows = state_rows(table, table.tags()["ctr-v1"], tag="ctr-v1")
        found = [row for batch in rows for row in batch.to_pylist()]
        return sorted((row["id"], row["name"]) for row in found)

    def take_all(self) -> None:
        """Take what is left; all changes were taken once then."""
        take_changes(self.lake, self.written.table(), TARGET)
        refuses_repeats(self.lake, str(TARGET))
        now = self.written.table()
        state = [r for b in state_rows(now, now.snapshots()[-1]) for r in b.to_pylist()]
        expected = {row["id"]: row["name"] for row in state}
        assert replayed(self.lake, str(TARGET)) == expected


@pytest.fixture
def kept(cluster: Cluster, settings: Settings, tmp_path: Path) -> Iterator[Kept]:
    written = users(tmp_path / "paimon", **SHORT)
    few = dataclasses.replace(with_warehouse(settings, cluster, written.folder), snapshots_kept=2)
    with Lake.open(few) as lake:
        for at in range(1, SNAPSHOTS + 1):
            written.put(at % 5, at % 3 + 10, name=f"n{at}")
            if at == TAKEN:
                take_changes(lake, written.table(), TARGET)
        written.table().create_tag("ctr-v1", snapshot_id=3)
        note_keyed(lake, TARGET, written.table())
        yield Kept(lake, written)


def test_rounds_expire_what_every_reader_has_and_tags_keep_their_files(kept: Kept) -> None:
    before, upkeep = kept.tagged(), PaimonUpkeep(lake=kept.lake)

    def done() -> list[Kind]:
        results = maintain(kept.lake, others=upkeep).results
        assert all(each.outcome is Outcome.DONE for each in results), results
        assert kept.tagged() == before
        return [each.action.kind for each in results if each.action.kind in PAIMON_KINDS]

    assert done() == [Kind.PAIMON_EXPIRE, Kind.PAIMON]
    assert kept.ids == list(range(TAKEN, COMPACTED + 1))
    kept.take_all()
    assert done() == [Kind.PAIMON_EXPIRE]
    assert kept.ids == [SNAPSHOTS, COMPACTED]
    assert done() == []
    for at in range(3):
        kept.written.put(at, name="later")
    kept.take_all()
    assert done() == [
        Kind.PAIMON_EXPIRE
    ]  # with it the files that were compacted, but for those of the tag
    assert kept.ids == [COMPACTED + 2, COMPACTED + 3]
    # a reader whose snapshots are gone all the same is told which
    note_taken(kept.lake, TARGET, snapshot_id=TAKEN)
    with refused(
        PaimonSnapshotsExpiredError,
        first_snapshot_id=TAKEN + 1,
        last_snapshot_id=COMPACTED + 1,
    ):
        take_changes(kept.lake, kept.written.table(), TARGET)


def test_it_goes_no_further_whatever_comes_and_goes_between_the_plan_and_flink(kept: Kept) -> None:
    class Beside(PaimonUpkeep):
        def _call(self, statement: str) -> None:
            for at in range(6):
                kept.written.put(at, name="later")
            kept.written.expire(1, 2, 3)  # by another program
            super()._call(statement)

    Beside(lake=kept.lake).perform(kept.expiry())
    assert kept.ids == list(range(TAKEN, SNAPSHOTS + 7))
    assert kept.written.table().consumers() == {GUARD: TAKEN}
    kept.take_all()


def _perform(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        upkeep = PaimonUpkeep(lake=lake)
        for action in upkeep.proposed():
            if isinstance(action, Action) and action.kind is Kind.PAIMON_EXPIRE:
                upkeep.perform(action)


def test_one_that_is_killed_on_the_way_is_done_by_the_next(kept: Kept) -> None:
    before, settings = kept.tagged(), kept.lake.settings
    for point, left in (("upkeep.after_guard", 1), ("upkeep.after_expiry", TAKEN)):
        killed = exit_code(start(_perform, settings, crash_at=point))
        assert killed == -signal.SIGKILL
        assert kept.ids == list(range(left, SNAPSHOTS + 1))
    kinds = [each.kind for each in PaimonUpkeep(lake=kept.lake).proposed()]
    assert kinds == [Kind.PAIMON, Kind.PAIMON_EXPIRE]  # which waits: a reader keeps the rest
    assert kept.tagged() == before
    kept.take_all()


def test_one_of_flink_that_ended_half_way_is_done_by_the_next(kept: Kept) -> None:
    before = kept.tagged()
    # it removes files first, and the snapshots that had them at the end, from the oldest on
    for at in (1, 2):
        said = json.loads((kept.written.path / "snapshot" / f"snapshot-{at}").read_text())
        for name in ("baseManifestList", "deltaManifestList"):
            (kept.written.path / "manifest" / said[name]).unlink()
    kept.written.expire(1)
    PaimonUpkeep(lake=kept.lake).perform(kept.expiry())
    assert kept.ids == list(range(TAKEN, SNAPSHOTS + 1))
    assert kept.tagged() == before
    kept.take_all()
