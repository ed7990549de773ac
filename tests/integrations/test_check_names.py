"""`headrace check` beside dbt's manifest: models and seeds by the names that dbt gives them."""

from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.integrations import dbt_manifest
from headrace.integrations.dbt_manifest import load_manifest
from headrace.scaffold.lake import apply_lake, plan_lake
from tests.cli.test_check_across import SAMPLES, change, checked


def test_samples_are_compared_with_what_dbt_calls_its_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_lake(plan_lake(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path
    model = folder / "dbt_project" / "models" / "features" / "user_activity.sql"
    named = "{{ config(alias=var('called', 'busy')) }}"  # the files alone do not say it
    model.write_text(f"{named}\n{model.read_text()}")
    (folder / "dbt_project" / "seeds").mkdir()
    seeds = (
        "seeds: [{name: brands, config: {schema: static, meta: {headrace: {entity: [item_id]}}}}]"
    )
    (folder / "dbt_project" / "seeds" / "brands.yml").write_text(seeds)
    (folder / "dbt_project" / "seeds" / "brands.csv").write_text("item_id,brand\n1,x\n")
    assert checked(status=0) == ([], [])  # by what the files say
    load_manifest(Settings.load())
    problems, _ = checked()
    assert "`features.user_activity`" in problems[0]
    change(folder / SAMPLES, "features.user_activity", "features.busy")
    use = "labels:"
    change(folder / SAMPLES, use, f"  - {{view: static.brands, columns: [brand]}}\n{use}")
    assert checked(status=0) == ([], [])
    change(folder / SAMPLES, "static.brands", "static.brand")
    problems, _ = checked()
    assert "did you mean `static.brands`" in problems[0]
    change(folder / SAMPLES, "static.brand,", "static.brands,")
    change(model, named, "")  # newer than the manifest, so that the files count again
    problems, _ = checked()
    assert "`features.busy`" in problems[0]


def test_a_file_that_an_editor_replaces_meanwhile_does_not_end_a_look_at_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "models" / "clicks.sql"
    model.parent.mkdir()
    model.write_text("select 1")
    (tmp_path / "dbt_project.yml").write_text("name: shop")
    listed = dbt_manifest._files  # pyright: ignore[reportPrivateUsage]  (no editor can be timed to come just there)
    monkeypatch.setattr(
        dbt_manifest, "_files", lambda project: [*listed(project), model.with_name("4913.sql")]
    )
    stamp = dbt_manifest._stamp(tmp_path)  # pyright: ignore[reportPrivateUsage]  (the same)
    assert "clicks.sql" in stamp
    assert "4913" not in stamp
