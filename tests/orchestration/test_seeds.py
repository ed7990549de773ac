"""dbt seeds are assets: what models read of them hangs on them, and runs commit their files."""

from pathlib import Path

import dagster as dg
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.scaffold.lake import apply_lake, plan_lake
from orchestration.definitions import defs
from tests.orchestration.conftest import use_lake
from tests.orchestration.test_checks import failures, materialized, run

pytestmark = pytest.mark.slow

SEED, MODEL = dg.AssetKey(["static", "brands"]), dg.AssetKey(["main", "loud"])


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A new lake with a seed and a model that reads it."""
    apply_lake(plan_lake(tmp_path))
    seeds, models = tmp_path / "dbt_project" / "seeds", tmp_path / "dbt_project" / "models"
    seeds.mkdir()
    (seeds / "brands.csv").write_text("item_id,brand\n1,acme\n")
    (seeds / "brands.yml").write_text("seeds: [{name: brands, config: {schema: static}}]\n")
    (models / "loud.sql").write_text(
        "{{ config(materialized='table', schema='main') }}\n"
        "select item_id, upper(brand) as brand from {{ ref('brands') }}\n"
    )
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=tmp_path / "lake")
    monkeypatch.setenv("HEADRACE_DBT_PROJECT", str(tmp_path / "dbt_project"))
    return Settings.load()


def test_a_seed_is_an_asset_that_models_depend_on_and_runs_build(lake: Settings) -> None:
    graph = defs()
    specs = {spec.key: spec for spec in graph.resolve_all_asset_specs()}
    assert {dep.asset_key for dep in specs[MODEL].deps} == {SEED}
    (code,) = specs[SEED].metadata["dagster/code_references"].code_references
    assert Path(code.file_path).name == "brands.csv"
    ran = run(graph, dg.AssetSelection.assets(SEED, MODEL))
    assert ran.success
    assert materialized(ran) == {"static/brands", "main/loud"}
    with Lake.open(lake) as opened:
        assert list(opened.read("main.loud")) == [{"item_id": 1, "brand": "ACME"}]


def test_a_test_of_dbt_that_fails_stops_what_is_computed_from_its_model(
    lake: Settings, tmp_path: Path
) -> None:
    _ = lake
    test = "{accepted_values: {arguments: {values: [zenith]}}}"
    (tmp_path / "dbt_project" / "models" / "loud.yml").write_text(
        f"models: [{{name: loud, columns: [{{name: brand, data_tests: [{test}]}}]}}]\n"
    )

    @dg.asset(deps=[MODEL])
    def after() -> None:
        """An asset in Python, as samples are."""

    graph = dg.Definitions.merge(defs(), dg.Definitions(assets=[after]))
    ran = run(graph, dg.AssetSelection.assets(SEED, MODEL, after))
    assert not ran.success
    assert "after" not in materialized(ran)
    found = [each for each in ran.get_asset_check_evaluations() if not each.passed]
    assert len(found) == 1, failures(ran)
    assert (found[0].asset_key, found[0].blocking) == (MODEL, True)
