"""Tables of Paimon that no writer compacts are in the maintenance queue, and Flink compacts them."""

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.flink.paimon_upkeep import PaimonUpkeep, paimon_actions
from headrace.flink_access import FlinkAccess
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.facts import PaimonFiles
from headrace.interop.paimon.rows import state_rows
from headrace.interop.paimon.summary import UNMERGED_MAX, PaimonSummary
from headrace.interop.paimon.token import Token
from headrace.maintenance.queue.actions import Action, Executor, Kind, Waiting
from headrace.maintenance.queue.maintain import maintain
from headrace.maintenance.queue.perform import Outcome
from headrace.maintenance.queue.schedule import plan_maintenance
from infra.launcher import flink
from infra.launcher.cluster import Cluster
from tests.interop.warehouses import users

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def table(*, unmerged: int, name: str = "k.users") -> PaimonSummary:
    files = PaimonFiles(
        files=unmerged + 1, bytes=1000, unmerged=unmerged, unmerged_per_bucket_max=unmerged
    )
    return PaimonSummary(table=name, keys=("id",), snapshot_id=12, files=files)


def token(*, snapshot_id: int) -> Token:
    return Token(
        table="k.users",
        taken_as="changes",
        snapshot_id=snapshot_id,
        committed_at_ms=0,
        reached_ms=0,
    )


def test_a_table_with_many_files_to_merge_is_compacted_by_flink_in_its_place_of_the_queue() -> None:
    found = [table(unmerged=UNMERGED_MAX), table(unmerged=20, name="k.items")]
    more = paimon_actions(found, {}, has_flink=True)
    (action,) = plan_maintenance((), others=more, now=NOW).actions
    assert action.key == ("paimon:k.items", "compact Paimon table", "")
    assert (action.executor, action.cost_bytes) == (Executor.FLINK, 1000)
    assert action.gain_s > 0


@pytest.mark.parametrize(
    ("tokens", "has_flink", "said"),
    [
        ({"raw.users": 12}, False, "no Flink is named"),
        ({"raw.users": 11}, True, "`raw.users` lacks snapshots"),
    ],
)
def test_it_waits_for_a_flink_and_for_imports(
    tokens: dict[str, int], has_flink: bool, said: str
) -> None:
    taken = {name: token(snapshot_id=each) for name, each in tokens.items()}
    (only,) = paimon_actions([table(unmerged=20)], taken, has_flink=has_flink)
    assert isinstance(only, Waiting)
    assert said in only.reason
    assert only.remedy is not None
    taken = {name: token(snapshot_id=12) for name in taken}
    (only,) = paimon_actions([table(unmerged=20)], taken, has_flink=True)
    assert isinstance(only, Action)


@pytest.mark.flink
def test_a_round_of_maintenance_compacts_a_table_and_a_second_finds_nothing_to_do(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    access = FlinkAccess(
        uri=flink.JobManager().address(cluster), gateway_uri=flink.Gateway().address(cluster)
    )
    warehouse = f"file://{tmp_path / 'paimon'}"
    settings = dataclasses.replace(settings, flink=access, paimon_warehouse=warehouse)
    written = users(tmp_path / "paimon", **{"write-only": "true"})
    for each in range(UNMERGED_MAX + 2):
        written.put(1, each + 2, name=f"n{each}")

    def rows() -> list[tuple[object, object]]:
        now = PaimonWarehouse.open(settings).table("k.users")
        found = [row for b in state_rows(now, now.snapshots()[-1]) for row in b.to_pylist()]
        return sorted((row["id"], row["name"]) for row in found)

    before = rows()
    with Lake.open(settings) as lake:
        upkeep = PaimonUpkeep(settings=settings, tokens={})
        (done,) = maintain(lake, others=upkeep).results
        assert (done.action.kind, done.outcome) == (Kind.PAIMON, Outcome.DONE)
        assert done.detail == "10 unmerged files of one bucket → 0"
        assert maintain(lake, others=upkeep).results == ()
        assert upkeep.perform(done.action) == ""
    assert rows() == before
