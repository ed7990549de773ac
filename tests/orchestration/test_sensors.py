"""What asks for runs: new source files and unhealthy tables, each once."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from headrace.definitions.load import load_streams
from headrace.ingest.run import ingest
from headrace.tables.lake import Lake
from orchestration.defs.ingest.sensors import new_source_files
from orchestration.defs.maintenance.schedules import nightly_compaction
from orchestration.defs.maintenance.sensors import unhealthy_tables
from orchestration.lib.resource import LakeResource
from tests.conftest import DemoLake
from tests.orchestration.conftest import use_lake

CLICKS = "click_id,impression_id,clicked_at,policy,campaign,item_id,position,user_segment\n"


def write_clicks(data_dir: Path, *, file: str, count: int = 1) -> None:
    """Write a file of clicks of one day; ids differ between files."""
    folder = data_dir / "clicks"
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(
        f"{file}-{at},i{at},2019-11-24T10:00:{at:02}Z,bts,men,1,1,s\n" for at in range(count)
    )
    (folder / f"{file}.csv").write_text(CLICKS + rows)


def evaluate(sensor: dg.SensorDefinition) -> tuple[list[dg.RunRequest], str | None]:
    context = dg.build_sensor_context(resources={"lake": LakeResource()})
    found: Any = sensor.evaluate_tick(context)
    return list(found.run_requests or []), found.skip_message


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    return LakeResource().open()


def test_a_stream_with_new_files_gets_one_run_for_itself(lake: Lake) -> None:
    assert evaluate(new_source_files)[1] == "every source file is taken"
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


def test_a_table_of_many_small_files_asks_for_its_compaction_once(lake: Lake) -> None:
    stream = load_streams(lake.settings)["clicks"]
    for file in "abcd":
        write_clicks(lake.settings.data_dir, file=file)
        ingest(lake, stream)
    (request,) = evaluate(unhealthy_tables)[0]
    assert request.asset_selection == [dg.AssetKey(["maintenance", "raw_clicks"])]
    assert str(lake.table(stream.table).head().snapshot_id) in (request.run_key or "")
    assert evaluate(unhealthy_tables)[0][0].run_key == request.run_key


def test_nothing_is_asked_for_after_the_demo(
    demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_lake(monkeypatch, state_dir=demo_lake.settings.state_dir)
    assert evaluate(new_source_files) == ([], "every source file is taken")
    assert evaluate(unhealthy_tables) == ([], "every table is healthy")


def test_maintenance_by_the_clock_waits_to_be_switched_on() -> None:
    assert nightly_compaction.default_status == dg.DefaultScheduleStatus.STOPPED
