"""What asks for runs: new source files and unhealthy tables, each once."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from headrace.api import Lake
from headrace.definitions.load import load_streams
from headrace.ingest.run import ingest
from headrace.interop.paimon.summary import UNMERGED_MAX
from headrace.tables.lake import OpenLake
from orchestration.defs.ingest.sensors import new_source_files
from orchestration.defs.maintenance.jobs import OP
from orchestration.defs.maintenance.schedules import nightly_maintenance
from orchestration.defs.maintenance.sensors import maintenance
from orchestration.lib.resource import LakeResource
from tests.conftest import DemoLake
from tests.ingest.factories import write_clicks
from tests.interop.warehouses import users
from tests.orchestration.conftest import use_lake


def evaluate(sensor: dg.SensorDefinition) -> tuple[list[dg.RunRequest], str | None]:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"lake": LakeResource()})
        found: Any = sensor.evaluate_tick(context)
    return list(found.run_requests or []), found.skip_message


@pytest.fixture
def lake(tmp_path: Path, parsed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenLake]:
    shutil.copytree(parsed, tmp_path / "state" / "dbt")  # else dbt parses its project in each test
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    with LakeResource().open() as opened:
        yield opened


def test_a_stream_with_new_files_gets_one_run_for_itself(lake: Lake) -> None:
    assert evaluate(new_source_files)[1] == "all source files are ingested"
    write_clicks(lake.settings.data_dir, file="a")
    (request,) = evaluate(new_source_files)[0]
    assert request.asset_selection == [dg.AssetKey(["raw", "clicks"])]
    assert evaluate(new_source_files)[0][0].run_key == request.run_key
    ingest(lake, load_streams(lake.settings)["clicks"])
    assert evaluate(new_source_files)[0] == []


def test_another_new_file_is_another_request(lake: Lake) -> None:
    write_clicks(lake.settings.data_dir, file="a")
    (first,) = evaluate(new_source_files)[0]
    ingest(lake, load_streams(lake.settings)["clicks"])
    write_clicks(lake.settings.data_dir, file="b")
    (second,) = evaluate(new_source_files)[0]
    assert second.run_key != first.run_key


def test_a_tick_over_many_files_is_short_and_asks_for_one_run(lake: Lake) -> None:
    files = 3_000
    write_clicks(lake.settings.data_dir, file="a")
    first = lake.settings.data_dir / "clicks" / "a.csv"
    for number in range(files - 1):
        os.link(first, first.with_name(f"{number}.csv"))
    began = time.process_time()
    (request,) = evaluate(new_source_files)[0]
    # Dagster ends a tick after 60 s: that has to be enough for 100,000 files
    assert time.process_time() - began < 60 * files / 100_000
    assert request.tags["headrace/files_waiting"] == str(files)
    assert len(request.run_key or "") < 100


def small_commits(lake: Lake, count: int) -> None:
    stream = load_streams(lake.settings)["clicks"]
    for file in "abcdefghijkl"[:count]:
        write_clicks(lake.settings.data_dir, file=file)
        ingest(lake, stream)


def test_a_table_whose_queue_pays_asks_for_a_round_once(lake: Lake) -> None:
    small_commits(lake, 8)
    (request,) = evaluate(maintenance)[0]
    assert request.run_config["ops"][OP]["config"]["tables"] == ["raw.clicks"]
    assert int(request.tags["headrace/actions"]) >= 1
    assert evaluate(maintenance)[0][0].run_key == request.run_key
    write_clicks(lake.settings.data_dir, file="later")
    ingest(lake, load_streams(lake.settings)["clicks"])
    assert evaluate(maintenance)[0][0].run_key != request.run_key


def test_a_table_of_paimon_that_is_due_again_is_asked_for_again_at_once(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = lake  # its environment is what the sensor reads
    written = users(tmp_path / "paimon")
    for name, value in (
        ("PAIMON_WAREHOUSE", str(written.folder)),
        ("FLINK_URI", "http://127.0.0.1:1"),
        ("FLINK_GATEWAY_URI", "http://127.0.0.1:1"),
    ):
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    keys: list[str | None] = []
    for number in range(UNMERGED_MAX + 3):
        written.put(number, name="a")
        if number > UNMERGED_MAX:
            keys += [each.run_key for each in evaluate(maintenance)[0]]
    assert len(keys) == len(set(keys)) == 2
    assert [each.run_key for each in evaluate(maintenance)[0]] == keys[1:]


def test_a_few_files_of_a_day_still_written_to_are_left_to_wait(lake: Lake) -> None:
    small_commits(lake, 3)
    requests, reason = evaluate(maintenance)
    assert requests == []
    assert reason == "no maintenance is due; 1 waiting"


def test_a_round_does_what_was_asked_for_and_observes_each_table(
    graph: dg.Definitions, lake: Lake
) -> None:
    small_commits(lake, 8)
    (request,) = evaluate(maintenance)[0]
    ran = graph.resolve_job_def("maintenance").execute_in_process(
        run_config={
            **request.run_config,
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        }
    )
    assert ran.success
    observed = ran.get_asset_observation_events()
    assert {each.asset_key for each in observed} == {dg.AssetKey(["raw", "clicks"])}
    table = lake.table("raw.clicks")
    assert len(table.head().files()) == 1
    assert table.head().row_count == 8
    assert evaluate(maintenance) == ([], "no maintenance is due")


def test_a_round_that_meets_a_damaged_file_fails_after_the_others_are_done(
    graph: dg.Definitions, lake: Lake
) -> None:
    small_commits(lake, 8)
    Path(lake.table("raw.clicks").head().files()[0].path).write_bytes(b"PAR1")
    ran = graph.resolve_job_def("maintenance").execute_in_process(
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert not ran.success
    assert len(lake.table("raw.clicks").head().files()) == 8


def test_nothing_is_asked_for_after_the_demo(
    demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_lake(monkeypatch, state_dir=demo_lake.settings.state_dir)
    assert evaluate(new_source_files) == ([], "all source files are ingested")
    assert evaluate(maintenance)[0] == []


def test_maintenance_by_the_clock_waits_to_be_switched_on() -> None:
    assert nightly_maintenance.default_status == dg.DefaultScheduleStatus.STOPPED
