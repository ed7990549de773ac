"""The rows of a window view that samples read are an asset: with its lineage, and built from the events."""

from pathlib import Path

import dagster as dg
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.load import load_window_views
from headrace.scaffold.lake import apply_lake, plan_lake
from orchestration.definitions import defs
from tests.orchestration.conftest import use_lake
from tests.orchestration.test_checks import materialized, reported, run

pytestmark = pytest.mark.slow

VIEW = """
view: features.shown
events: raw.impressions
entity: [item_id]
hop: 5m
lateness: 1h
aggregates:
  - {name: shown, take: count, windows: [1h]}
"""
ROWS = dg.AssetKey(["features", "shown_rows"])


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A new lake whose sample set reads the rows of a window view, and no dbt model."""
    apply_lake(plan_lake(tmp_path))
    (tmp_path / "lake" / "windows").mkdir()
    (tmp_path / "lake" / "windows" / "shown.yaml").write_text(VIEW)
    samples = tmp_path / "lake" / "samples" / "feed.yaml"
    text = samples.read_text()
    use = "{view: features.user_activity, columns: [impressions_7d, clicks_7d]}"
    samples.write_text(text.replace(use, "{view: features.shown_rows, columns: [shown_1h]}"))
    (tmp_path / "dbt_project" / "dbt_project.yml").unlink()
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=tmp_path / "lake")
    monkeypatch.setenv("HEADRACE_DBT_PROJECT", str(tmp_path / "dbt_project"))
    return Settings.load()


def test_rows_of_a_window_view_that_samples_read_are_built_from_its_events(lake: Settings) -> None:
    graph = defs()
    specs = {spec.key: spec for spec in graph.resolve_all_asset_specs()}
    assert {dep.asset_key for dep in specs[ROWS].deps} == {dg.AssetKey(["raw", "impressions"])}
    deps = {dep.asset_key for dep in specs[dg.AssetKey(["samples", "feed"])].deps}
    assert ROWS in deps
    lineage = specs[ROWS].metadata["dagster/column_lineage"].deps_by_column
    assert [each.column_name for each in lineage["shown_1h"]] == ["event_time"]
    columns = {
        each.name: each.type for each in specs[ROWS].metadata["dagster/column_schema"].columns
    }
    assert columns["shown_1h"] == "long"
    assert "features/shown" not in {key.to_user_string() for key in specs}

    built = run(graph, dg.AssetSelection.assets(["raw", "impressions"], ROWS))
    assert built.success and "features/shown_rows" in materialized(built)
    added = reported(built)["features/shown_rows"]["rows_added"].value
    with Lake.open(lake) as opened:
        rows = opened.read("features.shown_rows")
        assert set(load_window_views(lake)) == {"features.shown"}
    assert len(rows) == added > 0
    assert set(rows.schema.names) == set(columns)
    again = run(defs(), dg.AssetSelection.assets(ROWS))
    assert reported(again)["features/shown_rows"]["rows_added"].value == 0
