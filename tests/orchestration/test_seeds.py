"""dbt seeds are assets: what models read of them hangs on them, and runs commit their files."""

from collections.abc import Iterator
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
PLAIN = dg.AssetKey(["main", "plain"])  # declared nowhere but in its SQL


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A new lake with a seed and two models that read it; a test of one fails."""
    folder = tmp_path_factory.mktemp("seeded")
    apply_lake(plan_lake(folder))
    seeds, models = folder / "dbt_project" / "seeds", folder / "dbt_project" / "models"
    seeds.mkdir()
    (seeds / "brands.csv").write_text("item_id,brand\n1,acme\n")
    (seeds / "brands.yml").write_text("seeds: [{name: brands, config: {schema: static}}]\n")
    (models / "loud.sql").write_text(
        "{{ config(materialized='table', schema='main') }}\n"
        "select item_id, upper(brand) as brand from {{ ref('brands') }}\n"
    )
    (models / "plain.sql").write_text(
        "{{ config(materialized='table', schema='main') }}\nselect brand from {{ ref('brands') }}\n"
    )
    test = "{accepted_values: {arguments: {values: [zenith]}}}"
    (models / "loud.yml").write_text(  # a column without a type
        f"models: [{{name: loud, columns: [{{name: brand, data_tests: [{test}]}}]}}]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        use_lake(patch, state_dir=folder / "state", lake=folder / "lake")
        patch.setenv("HEADRACE_DBT_PROJECT", str(folder / "dbt_project"))
        yield Settings.load()


@pytest.fixture(scope="module")
def graph(lake: Settings) -> dg.Definitions:
    """The graph of that lake, with an asset in Python that is computed from the model."""
    _ = lake

    @dg.asset(deps=[MODEL])
    def after() -> None:
        """An asset in Python, as samples are."""

    return dg.Definitions.merge(defs(), dg.Definitions(assets=[after]))


@pytest.fixture(scope="module")
def ran(graph: dg.Definitions) -> dg.ExecuteInProcessResult:
    """What became of a run of all three."""
    return run(graph, dg.AssetSelection.assets(SEED, MODEL, "after"))


def test_a_seed_is_an_asset_that_models_depend_on_and_runs_build(
    lake: Settings, graph: dg.Definitions, ran: dg.ExecuteInProcessResult
) -> None:
    specs = {spec.key: spec for spec in graph.resolve_all_asset_specs()}
    assert {dep.asset_key for dep in specs[MODEL].deps} == {SEED}
    (code,) = specs[SEED].metadata["dagster/code_references"].code_references
    assert Path(code.file_path).name == "brands.csv"
    assert materialized(ran) >= {"static/brands", "main/loud"}
    with Lake.open(lake) as opened:
        assert list(opened.read("main.loud")) == [{"item_id": 1, "brand": "ACME"}]


def test_a_run_of_a_seed_and_its_model_succeeds(lake: Settings, graph: dg.Definitions) -> None:
    ran = run(graph, dg.AssetSelection.assets(SEED, PLAIN))
    assert ran.success, failures(ran)
    assert materialized(ran) == {"static/brands", "main/plain"}
    with Lake.open(lake) as opened:
        assert list(opened.read("main.plain")) == [{"brand": "acme"}]


def test_a_test_of_dbt_that_fails_stops_what_is_computed_from_its_model(
    ran: dg.ExecuteInProcessResult,
) -> None:
    assert not ran.success
    assert "after" not in materialized(ran)
    found = [each for each in ran.get_asset_check_evaluations() if not each.passed]
    assert len(found) == 1, failures(ran)
    assert (found[0].asset_key, found[0].blocking) == (MODEL, True)
