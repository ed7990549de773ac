"""Paimon tables in the asset graph: listed from the warehouse, observed and checked as they are now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from headrace.identifiers import TableName
from headrace.interop.paimon.take import take_changes
from headrace.tables.lake import OpenLake
from orchestration.defs.paimon.tables import paimon_now, paimon_tables
from orchestration.lib.resource import LakeResource
from tests.interop.warehouses import Written, users
from tests.orchestration.conftest import use_lake

KEY = dg.AssetKey(["paimon", "k", "users"])


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OpenLake, Written]]:
    """A lake that took the first snapshot of a Paimon table."""
    written = users(tmp_path / "paimon")
    written.put(1, 2, name="a")
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(written.folder))
    with LakeResource().open() as lake:
        take_changes(lake, written.table(), TableName.parse("raw.users"))
        yield lake, written


def checked() -> dg.AssetCheckEvaluation:
    job = dg.define_asset_job("check", selection=dg.AssetSelection.checks_for_assets(KEY))
    around = dg.Definitions(jobs=[job], resources={"lake": LakeResource()})
    graph = dg.Definitions.merge(paimon_tables(), around)
    with dg.DagsterInstance.ephemeral() as instance:
        done = graph.resolve_job_def("check").execute_in_process(instance=instance)
    (found,) = done.get_asset_check_evaluations()
    return found


def test_a_table_is_observed_with_its_snapshots_tags_files_and_what_was_not_taken(
    opened: tuple[OpenLake, Written],
) -> None:
    _, written = opened
    written.put(1, name="b")
    written.table().create_tag("monday", snapshot_id=1)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"lake": LakeResource()})
        found: Any = paimon_now.evaluate_tick(context)
    (seen,) = found.asset_events
    assert seen.asset_key == KEY
    told = {name: each.value for name, each in seen.metadata.items()}
    assert (told["snapshot"], told["tag/monday"], told["files"]) == (2, 1, 2)
    assert told["not_taken/raw.users"] == 1


def test_its_check_fails_once_a_snapshot_expired_before_it_was_taken(
    opened: tuple[OpenLake, Written],
) -> None:
    _, written = opened
    assert checked().passed
    written.put(1, name="b")
    written.put(1, name="c")
    written.expire(1, 2)
    found = checked()
    assert not found.passed
    assert "raw.users lacks expired" in str(found.description)


def test_without_a_warehouse_there_are_no_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    assert not paimon_tables().assets
