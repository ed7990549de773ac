"""Days of samples are built again by a backfill: one run, and only the days whose inputs changed."""

import json
from pathlib import Path

import dagster as dg
import pytest

from headrace.api import Lake
from headrace.config import Settings
from orchestration.defs.resources import resources
from orchestration.defs.samples.assets import sample_sets
from tests.orchestration.conftest import use_lake
from tests.orchestration.test_checks import failures
from tests.samples.factories import Shop, at, day, fill, sample_set, settings_in

SAMPLES = dg.AssetKey(["samples", "taps"])


@pytest.fixture
def shop_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of three days that declares its sample set and no stream."""
    settings = settings_in(tmp_path)
    folder = settings.declarations
    with (folder / "lake.toml").open("a") as file:
        file.write(f"[orchestration]\nfirst_day = {day(0)}\nlast_day = {day(2)}\n")
    (folder / "samples").mkdir()
    declared = sample_set().model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    (folder / "samples" / "taps.yaml").write_text(json.dumps(declared))
    with Lake.open(settings) as lake:
        fill(Shop.open(lake))
    use_lake(monkeypatch, state_dir=settings.state_dir, lake=folder)
    return folder


def days_job() -> dg.JobDefinition:
    """The job that a backfill of the sample set runs."""
    job = dg.define_asset_job("days", dg.AssetSelection.assets(SAMPLES))
    graph = dg.Definitions.merge(sample_sets(), resources(), dg.Definitions(jobs=[job]))
    return graph.resolve_job_def("days")


def backfill(job: dg.JobDefinition, *, first: int, last: int) -> dict[str, str]:
    """Materialize a range of days as Dagster launches it, and say why each day was built."""
    ran = job.execute_in_process(
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": f"{day(first)}",
            "dagster/asset_partition_range_end": f"{day(last)}",
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert ran.success, failures(ran)
    found = (each.materialization for each in ran.get_asset_materialization_events())
    return {str(each.partition): str(each.metadata["reason"].value) for each in found}


# Dagster's loader of definitions silences it, which is not needed for one asset
@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
def test_a_backfill_is_one_run_that_builds_the_days_chosen(shop_folder: Path) -> None:
    settings, job = Settings.load(), days_job()
    assert backfill(job, first=0, last=1) == {
        f"{day(0)}": "never built",
        f"{day(1)}": "never built",
    }
    with Lake.open(settings) as lake:
        assert {each[:2] for each in Shop(lake).samples()} == {"d0", "d1"}
        Shop(lake).rate((2, at(19, day=1), at(19, day=1), 0.5))
    again = backfill(job, first=0, last=2)
    assert (again[f"{day(0)}"], again[f"{day(2)}"]) == ("unchanged", "never built")
    assert again[f"{day(1)}"] == "rates changed"
    with Lake.open(settings) as lake:
        assert Shop(lake).samples()["d1-evening"]["rate"] == 0.5
        commits = lake.registry.commits("samples.taps", limit=10)
        assert len({each.run_id for each in commits}) == 2  # of each backfill one
