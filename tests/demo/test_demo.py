"""One whole run of the demo, and a second one that has nothing to do."""

import datetime as dt
import re
import shlex
import subprocess

import dagster as dg
import pytest

from demo.marks import marks
from headrace.api import Lake
from headrace.datasets.versions import find_lockfile
from headrace.samples.plan import day_text
from tests.conftest import ROOT, DemoLake, quick_start

DAYS = [f"2019-11-{day}" for day in range(24, 31)]


def test_the_screen_shows_what_is_in_the_lake(demo_lake: DemoLake) -> None:
    screen = demo_lake.printed
    with Lake.open(demo_lake.settings) as lake:
        lock = find_lockfile(lake, "ctr")
        for name in lake.names():
            if name.namespace != "dead_letters":
                assert re.search(rf"{name} +{lake.table(name).head().row_count:,} ", screen), name
    assert f"content hash  {lock.content_hash}" in screen
    assert f"ctr v1: {lock.rows:,} rows, {lock.positives:,} positive" in screen
    assert "ctr-v1.lock.json" in screen
    assert "dead letters  0" in screen
    assert re.search(r"label click +mature [\d,]+ \(\d+ positive\), pending", screen)
    assert re.search(r"model +AUC \d\.\d{3} +log loss 0\.\d{5}", screen)
    assert re.search(r"base rate +AUC 0\.500 +log loss 0\.\d{5}", screen)
    assert re.search(r"score +0\.\d{5} chance of a click", screen)
    assert "`make dagster`" in screen
    assert "`make ui`" in screen


def test_the_landed_files_are_one_commit_and_a_data_file_a_day(demo_lake: DemoLake) -> None:
    with Lake.open(demo_lake.settings) as lake:
        for name in ("raw.impressions", "raw.clicks"):
            operations = [commit.operation for commit in lake.registry.commits(name)]
            assert operations.count("append") == 1
            assert len(lake.table(name).head().files()) == len(DAYS)


@pytest.fixture(scope="module")
def second_run(demo_lake: DemoLake) -> str:
    with Lake.open(demo_lake.settings) as lake:
        before = marks(lake)
        done = subprocess.run(
            shlex.split(quick_start()[0]),
            cwd=ROOT,
            env=dict(demo_lake.environment),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert marks(lake) == before
    return done.stdout


def test_a_second_run_changes_nothing_and_says_so(demo_lake: DemoLake, second_run: str) -> None:
    assert "nothing changed" not in demo_lake.printed
    assert "nothing changed" in second_run
    assert "kept (trained on this very content before)" in second_run
    shown = [line for line in demo_lake.printed.splitlines() if line.startswith(("score", "cont"))]
    assert shown == [line for line in second_run.splitlines() if line.startswith(("score", "cont"))]


def test_every_run_is_on_record_for_the_pages(demo_lake: DemoLake, second_run: str) -> None:
    assert second_run
    home = demo_lake.settings.state_dir / "dagster"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
        assert len(runs) >= 2
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        samples = dg.AssetKey(["samples", "ctr"])
        assert sorted(instance.get_materialized_partitions(samples)) == DAYS
        for key in (["raw", "clicks"], ["features", "item_ctr"]):
            event = instance.get_latest_materialization_event(dg.AssetKey(key))
            assert event is not None
            assert event.asset_materialization is not None
            found = set(event.asset_materialization.metadata)
            assert {
                "dagster/row_count",
                "dagster/column_schema",
                "dagster/table_name",
                "snapshot_id",
                "parent_snapshot_id",
                "files_before",
                "files_after",
                "bytes",
            } <= found
            tags = event.asset_materialization.tags or {}
            snapshot = event.asset_materialization.metadata["snapshot_id"].value
            assert tags["dagster/data_version"] == snapshot


def test_each_day_of_samples_shows_its_own_commit_and_rows(demo_lake: DemoLake) -> None:
    home = demo_lake.settings.state_dir / "dagster"
    key = dg.AssetKey(["samples", "ctr"])
    with Lake.open(demo_lake.settings) as lake:
        version, builds = lake.table("samples.ctr").head(), lake.registry.builds("samples.ctr")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        materialized = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=DAYS), limit=1000
        )
    assert {record.partition_key for record in materialized.records} == set(DAYS)
    for record in materialized.records:
        assert record.asset_materialization is not None
        assert record.partition_key is not None
        said = {name: value.value for name, value in record.asset_materialization.metadata.items()}
        day = dt.date.fromisoformat(record.partition_key)
        files = version.files(partitions=[(day,)])
        assert said["dagster/partition_row_count"] == sum(file.rows for file in files)
        assert said["snapshot_id"] == str(builds[day_text(day)].snapshot_id)
        assert "dagster/row_count" not in said


def test_every_check_of_the_graph_passed(demo_lake: DemoLake) -> None:
    home = demo_lake.settings.state_dir / "dagster"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run, *_) = instance.get_runs()
        entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [
            entry.dagster_event.asset_check_evaluation_data
            for entry in entries
            if entry.dagster_event
        ]
    names = {each.check_name for each in found}
    assert {"no_leaks", "unique_sample_ids", "reads_as_locked", "few_small_files"} <= names
    assert {"schema_matches_contract", "dead_letters_are_few"} <= names
    assert any(name.startswith("row_key_") for name in names)
    assert all(each.passed for each in found)
