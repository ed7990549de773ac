"""What the command line and other programs did is reported to Dagster, in order and once."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from headrace.api import Lake
from headrace.definitions.load import load_streams
from headrace.ingest.run import ingest
from headrace.maintenance.compaction.compact import compact
from orchestration.defs.registry.sensors import outside_work
from orchestration.lib import observed
from orchestration.lib.resource import LakeResource
from tests.ingest.factories import write_clicks
from tests.orchestration.conftest import use_lake

CLICKS = dg.AssetKey(["raw", "clicks"])


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: Path) -> Iterator[Lake]:
    shutil.copytree(parsed, tmp_path / "state" / "dbt")
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    with LakeResource().open() as opened:
        yield opened


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def tick(
    instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[tuple[str, int]], str | None]:
    """Let the sensor look once, and store what it reports as the daemon does."""
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"lake": LakeResource()}
    )
    found: Any = outside_work.evaluate_tick(context)
    for event in found.asset_events:
        instance.report_runless_asset_event(event)
    return [
        (type(each).__name__, each.metadata["rows_added"].value)
        for each in found.asset_events
        if each.asset_key == CLICKS
    ], found.cursor


def take(lake: Lake, file: str, *, count: int) -> None:
    write_clicks(lake.settings.data_dir, file=file, count=count)
    ingest(lake, load_streams(lake.settings)["clicks"])


def test_each_commit_is_reported_once_in_its_order_also_without_a_cursor(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, file in enumerate("ab", start=1):
        take(lake, file, count=count)
    new, maintained = "AssetMaterialization", "AssetObservation"
    found, cursor = tick(instance)
    assert found == [(new, 2)]  # what is older than the first look is not new
    assert tick(instance, cursor)[0] == []
    for count, file in enumerate("cde", start=3):
        take(lake, file, count=count)
    compact(lake.table("raw.clicks"))
    monkeypatch.setattr(observed, "EVENTS_MAX", 2)
    found, cursor = tick(instance, None)  # reset: the events themselves say how far it was
    assert found == [(new, 3), (new, 4)]
    found, cursor = tick(instance, cursor)
    assert found[0] == (new, 5)
    assert [kind for kind, _ in found] == [new, maintained]
    assert tick(instance, None)[0] == []


def test_a_run_s_own_commits_are_not_reported_again(
    graph: dg.Definitions, lake: Lake, instance: dg.DagsterInstance
) -> None:
    write_clicks(lake.settings.data_dir, file="a", count=3)
    job = dg.define_asset_job("take", selection=dg.AssetSelection.assets(CLICKS))
    ran = (
        dg.Definitions.merge(graph, dg.Definitions(jobs=[job]))
        .resolve_job_def("take")
        .execute_in_process(instance=instance)
    )
    assert ran.success
    found, cursor = tick(instance)
    assert found == []
    take(lake, "b", count=2)
    assert tick(instance, cursor)[0] == [("AssetMaterialization", 2)]


def test_samples_with_a_day_that_was_never_built_are_published_once(
    graph: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    samples, dataset = dg.AssetKey(["samples", "ctr"]), dg.AssetKey(["datasets", "ctr"])
    chosen = dg.AssetSelection.assets(dataset)
    cursor = dg.evaluate_automation_conditions(graph, instance, asset_selection=chosen).cursor
    for day in ("2019-11-28", "2019-11-30"):  # not the days before, nor the one between
        instance.report_runless_asset_event(dg.AssetMaterialization(samples, partition=day))
    requested: list[int] = []
    for _ in range(2):
        found = dg.evaluate_automation_conditions(
            graph, instance, asset_selection=chosen, cursor=cursor
        )
        cursor = found.cursor
        requested.append(found.total_requested)
    assert requested == [1, 0]


def test_the_latest_days_of_samples_are_requested_when_labels_may_still_come(
    graph: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    samples = dg.AssetKey(["samples", "ctr"])
    assets = graph.resolve_asset_graph()
    inputs = assets.get(samples).parent_keys
    for key in inputs:
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
    chosen = dg.AssetSelection.assets(samples)
    cursor = dg.evaluate_automation_conditions(graph, instance, asset_selection=chosen).cursor
    instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["staging", "clicks"])))
    found = dg.evaluate_automation_conditions(
        graph, instance, asset_selection=chosen, cursor=cursor
    )
    days = found.get_requested_partitions(samples)
    assert days == {"2019-11-28", "2019-11-29", "2019-11-30"}  # 30 minutes, and 24 hours late
