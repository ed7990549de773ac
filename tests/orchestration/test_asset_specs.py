"""The graph as Dagster's pages show it; an accidental change of an asset fails here."""

import datetime as dt
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from headrace.config import Settings
from orchestration.definitions import defs
from orchestration.lib.declared import read_declared
from orchestration.lib.section import Section
from orchestration.lib.shown import Shown
from tests.conftest import ROOT
from tests.orchestration.conftest import use_lake

SNAPSHOT = Path(__file__).with_name("asset_specs.json")


def described(graph: dg.Definitions) -> dict[str, Any]:
    checks = graph.resolve_asset_graph().asset_check_keys
    found: dict[str, Any] = {}
    for spec in graph.resolve_all_asset_specs():
        found[spec.key.to_user_string()] = {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "tags": {name: text for name, text in spec.tags.items() if "/kind/" not in name},
            "page": spec.metadata["page"].value,
            "code": [
                "/".join(Path(each.file_path).parts[-2:])
                for each in spec.metadata["dagster/code_references"].code_references
            ],
            "columns": {
                each.name: f"{each.type}{'' if each.constraints.nullable else ', required'}"
                for each in getattr(spec.metadata.get("dagster/column_schema"), "columns", ())
            },
            "partitions": None if spec.partitions_def is None else str(spec.partitions_def),
            "checks": sorted(
                f"{check.name}{' (blocking)' if is_blocking(graph, check) else ''}"
                for check in checks
                if check.asset_key == spec.key
            ),
        }
    return dict(sorted(found.items()))


def is_blocking(graph: dg.Definitions, check: dg.AssetCheckKey) -> bool:
    return graph.resolve_asset_graph().get_check_spec(check).blocking


def test_every_asset_is_as_it_was(graph: dg.Definitions) -> None:
    """Run with HEADRACE_UPDATE_SNAPSHOTS=1 to accept a change on purpose."""
    found = described(graph)
    if os.environ.get("HEADRACE_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_lineage_runs_from_every_stream_to_the_dataset(graph: dg.Definitions) -> None:
    assets = graph.resolve_asset_graph()
    above = assets.get_ancestor_asset_keys(dg.AssetKey(["datasets", "ctr"]))
    wanted = {("raw", "impressions"), ("raw", "clicks"), ("raw", "items"), ("samples", "ctr")}
    assert wanted <= {tuple(key.path) for key in above}
    # and nothing hangs in the air: each dependency is an asset of the graph
    outside = {k for k in assets.get_all_asset_keys() if not assets.get(k).is_materializable}
    # written by others: ingest steps report dead letters, and training its models
    assert {key.to_user_string() for key in outside} == {"dead_letters/records", "models/ctr"}


def test_every_column_of_every_table_has_a_type_and_a_description(graph: dg.Definitions) -> None:
    tables = {
        spec.key.to_user_string(): spec.metadata["dagster/column_schema"].columns
        for spec in graph.resolve_all_asset_specs()
        if "dagster/column_schema" in spec.metadata
    }
    assert len(tables) == 13
    assert [
        (table, column.name)
        for table, columns in tables.items()
        for column in columns
        if not column.type or not column.description
    ] == []


def test_the_columns_of_samples_come_from_exposures_features_and_labels(
    graph: dg.Definitions,
) -> None:
    (spec,) = (s for s in graph.resolve_all_asset_specs() if s.key.path == ["samples", "ctr"])
    deps = spec.metadata["dagster/column_lineage"].deps_by_column
    found = {
        name: {(*each.asset_key.path, each.column_name) for each in deps[name]}
        for name in ("sample_id", "position_ctr_1d", "position_ctr__known_at", "click")
    }
    assert found == {
        "sample_id": {("staging", "impressions", "impression_id")},
        "position_ctr_1d": {("features", "position_ctr", "ctr_1d")},
        "position_ctr__known_at": {("features", "position_ctr", "known_at")},
        "click": {("staging", "clicks", "impression_id")},
    }


def test_a_sample_set_of_a_window_view_depends_on_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: Path
) -> None:
    shutil.copytree(parsed, tmp_path / "state" / "dbt")
    shutil.copytree(ROOT / "lake", tmp_path / "lake")
    file = tmp_path / "lake" / "samples" / "ctr.yaml"
    use = "  - {view: features.item_clicks, columns: [clicks_1h], prefix: now_}\nlabels:"
    file.write_text(file.read_text().replace("labels:", use, 1))
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=tmp_path / "lake")
    monkeypatch.setenv("HEADRACE_DBT_PROJECT", str(ROOT / "dbt_project"))
    specs = {s.key.to_user_string(): s for s in defs().resolve_all_asset_specs()}
    spec = specs["samples/ctr"]
    deps = {dep.asset_key.to_user_string() for dep in spec.deps}
    assert "raw/clicks" in deps
    assert "features/item_clicks" not in deps
    columns = {each.name: each for each in spec.metadata["dagster/column_schema"].columns}
    assert columns["now_clicks_1h"].type == "long"
    assert "item_clicks__event_time" not in columns
    (source,) = spec.metadata["dagster/column_lineage"].deps_by_column["now_clicks_1h"]
    assert source.asset_key == dg.AssetKey(["raw", "clicks"])


def test_tables_of_a_history_that_goes_on_must_be_fresh(settings: Settings) -> None:
    declared = read_declared(settings)
    hours = {
        end: {
            name: spec.freshness_policy
            for name in ("clicks", "items")
            for spec in [
                Shown(settings, replace(declared, section=section)).complete(
                    dg.AssetSpec(["raw", name], group_name="ingest")
                )
            ]
        }
        for end in (None, dt.date(2019, 11, 30))
        for section in [Section(last_day=end, fresh_hours={"raw.items": 240})]
    }
    within = dg.FreshnessPolicy.time_window
    assert hours[None] == {
        "clicks": within(fail_window=dt.timedelta(hours=24)),
        "items": within(fail_window=dt.timedelta(hours=240)),
    }
    assert hours[dt.date(2019, 11, 30)] == {"clicks": None, "items": None}


def test_every_writer_of_a_table_has_the_pool_of_that_table(graph: dg.Definitions) -> None:
    assets = graph.resolve_asset_graph()
    for name in ("impressions", "clicks", "items"):
        writers = (dg.AssetKey(["raw", name]), dg.AssetKey(["maintenance", f"raw_{name}"]))
        assert {pool for key in writers for pool in assets.get(key).pools or ()} == {
            f"writers/raw.{name}"
        }


def test_a_stream_and_a_sample_set_added_as_yaml_are_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: Path
) -> None:
    shutil.copytree(parsed, tmp_path / "state" / "dbt")
    shutil.copytree(ROOT / "lake", tmp_path / "lake")
    streams, samples = tmp_path / "lake" / "streams", tmp_path / "lake" / "samples"
    clicks = (streams / "clicks.yaml").read_text()
    (streams / "buys.yaml").write_text(
        clicks.replace("stream: clicks", "stream: buys").replace("raw.clicks", "raw.buys")
    )
    ctr = (samples / "ctr.yaml").read_text()
    (samples / "cvr.yaml").write_text(
        ctr.replace("samples: ctr", "samples: cvr").replace("samples.ctr", "samples.cvr")
    )
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=tmp_path / "lake")
    found = described(defs())
    assert found["raw/buys"]["checks"]
    assert found["maintenance/raw_buys"]["deps"] == ["raw/buys"]
    assert found["samples/cvr"]["checks"] == ["no_leaks (blocking)", "unique_sample_ids (blocking)"]
    assert found["datasets/cvr"]["deps"] == ["samples/cvr"]
    assert found["serving/online_store"] == json.loads(SNAPSHOT.read_text())["serving/online_store"]


def test_every_model_says_the_table_that_it_is_stored_in(graph: dg.Definitions) -> None:
    named = {
        spec.key: spec.metadata["dagster/table_name"]
        for spec in graph.resolve_all_asset_specs()
        if "dagster/table_name" in spec.metadata
    }
    assert len(named) >= 7
    assert named == {key: ".".join(key.path) for key in named}


def test_jobs_sensors_and_schedules_wait_to_be_started(graph: dg.Definitions) -> None:
    assert {job.name for job in graph.resolve_all_job_defs() if not job.name.startswith("__")} == {
        "build_everything",
        "ingest",
        "maintenance",
    }
    everything = graph.resolve_job_def("build_everything").asset_layer.selected_asset_keys
    outside = {"dead_letters/records", "models/ctr"}
    assert {
        key.to_user_string()
        for key in graph.resolve_asset_graph().get_all_asset_keys() - set(everything)
    } - outside == {f"maintenance/raw_{name}" for name in ("clicks", "impressions", "items")}
    repository = graph.get_repository_def()
    switches = {each.name: each.default_status.value for each in repository.sensor_defs}
    switches |= {each.name: each.default_status.value for each in repository.schedule_defs}
    assert switches == dict.fromkeys(
        (
            "build_what_changed",
            "maintenance",
            "new_source_files",
            "nightly_maintenance",
            "outside_work",
        ),
        "STOPPED",
    )
    documented = (ROOT / "docs" / "dagster.md").read_text()
    assert [name for name in switches if f"`{name}`" not in documented] == []
