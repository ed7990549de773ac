"""The graph as Dagster's pages show it; an accidental change of an asset fails here."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import defs
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
    assert all(assets.get(key).is_materializable for key in assets.get_all_asset_keys())


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
