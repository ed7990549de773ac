"""The dbt project as a whole: both engines, house rules, and working by itself."""

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from headrace.config import Settings
from headrace.errors import FeatureBuildError
from headrace.integrations.dbt_build import build_features
from tests.dbt.raw_lake import START, RawLake

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
MODELS = sorted((PROJECT / "models").rglob("*.sql"))
SHARED_SQL = [
    *MODELS,
    *sorted((PROJECT / "tests").rglob("*.sql")),
    *(
        PROJECT / "macros" / f"{name}.sql"
        for name in ("last_n", "trailing_parts", "trailing_sums", "trailing_values")
    ),
]
BANNED = {
    r"::": "write cast(… as …)",
    r"\bqualify\b": "number the rows in a step of their own",
    r"\bgroup\s+by\s+all\b": "name the columns",
    r"\*\s*exclude\b": "name the columns",
    r"\bby\s+name\b": "give both sides the same columns in the same order",
    r"\bany_value\b": "it is not deterministic",
    r"\brandom\b": "it is not deterministic",
    r"/": "write headrace.ratio(…): Trino divides integers to integers",
    r"\b(now|current_timestamp|current_date)\b": "a rebuild must give the same rows",
    r"(?<!headrace\.)\b(epoch_us|make_timestamptz|generate_series|date_diff|to_unixtime)\(": "use a macro of macros/engines",
}


@pytest.mark.parametrize("path", SHARED_SQL, ids=lambda path: path.stem)
def test_shared_sql_uses_only_what_both_engines_understand_alike(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)

    found = {advice for banned, advice in BANNED.items() if re.search(banned, text, re.IGNORECASE)}

    assert not found
    # DuckDB sums integers to HUGEINT, which tables cannot keep
    assert len(re.findall(r"\bsum\(", text)) == len(re.findall(r"cast\(\s*sum\(", text))


def test_every_model_compiles_for_trino_without_a_server(
    raw: RawLake, dbt: Callable[..., Any], tmp_path: Path
) -> None:
    assert dbt(raw.settings, "run").success  # empty tables, which the plans of models look at

    assert dbt(raw.settings, "compile", "--target", "cluster", target=tmp_path).success

    compiled = sorted((tmp_path / "compiled").rglob("models/*/*.sql"))
    assert {path.stem for path in MODELS} == {path.stem for path in compiled}
    for path in compiled:
        sql = path.read_text()
        assert sqlglot.parse_one(sql, read="trino")
        assert not re.search(r"epoch_us|make_timestamptz|generate_series|//", sql)
    assert "to_unixtime" in next(path for path in compiled if path.stem == "item_ctr").read_text()


def test_every_model_says_what_a_row_is(dbt: Callable[..., Any], settings: Settings) -> None:
    manifest = dbt(settings, "parse").result
    models = [node for node in manifest.nodes.values() if node.resource_type == "model"]
    tests = [node for node in manifest.nodes.values() if node.resource_type == "test"]

    assert len(models) == len(MODELS)
    for model in models:
        assert model.description.startswith("One row per")
        assert all(c.description and c.data_type for c in model.columns.values())
        keyed = {t.test_metadata.name for t in tests if t.attached_node == model.unique_id}
        assert {"row_key", "known_not_before_event"} <= keyed
        if model.schema == "features":
            assert "headrace" in model.config.meta


def test_dbt_build_works_by_itself_and_writes_only_below_target(
    raw: RawLake, parsed: Callable[[Settings], None]
) -> None:
    raw.append("items", [{"event_time": START}])
    parsed(raw.settings)
    target = raw.settings.state_dir / "dbt" / "target"
    env = {
        **os.environ,
        "HEADRACE_LAKE": str(raw.settings.declarations / "lake.toml"),
        "HEADRACE_STATE_DIR": str(raw.settings.state_dir),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target / "logs"),
    }

    def listed() -> set[Path]:
        return {path for path in PROJECT.rglob("*") if "target" not in path.parts}

    before = listed()
    dbt = Path(sys.executable).with_name("dbt")
    command = [dbt, "build", "--select", "items", "item_profile"]
    ran = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "replaced all (first build) 1 rows" in ran.stdout
    assert listed() == before
    assert len(raw.rows("features.item_profile")) == 1


def test_unit_tests_of_the_models_pass(raw: RawLake, dbt: Callable[..., Any]) -> None:
    """By Trino in `tests/cluster/test_dbt_unit_tests.py`."""
    assert dbt(raw.settings, "run").success  # empty, but there: unit tests read the types

    ran = dbt(raw.settings, "test", "--select", "test_type:unit")

    assert ran.success, [result.message for result in ran.result]
    assert len(ran.result) == 8


def test_a_failed_test_is_named_and_stops_what_reads_the_model(
    raw: RawLake, parsed: Callable[[Settings], None]
) -> None:
    parsed(raw.settings)
    later = START + dt.timedelta(days=2)  # no copy: too far apart
    raw.append("impressions", [{"event_time": START}, {"event_time": later}])  # one id, two days

    with pytest.raises(FeatureBuildError) as failed:
        build_features(raw.settings, select="staging features.item_ctr")
    assert any("row_key_impressions_impression_id" in each for each in failed.value.failures)

    assert raw.lake.exists("staging.impressions")
    assert not raw.lake.exists("features.item_ctr")


def test_a_missing_input_is_named(settings: Settings, dbt: Callable[..., Any]) -> None:
    (result,) = dbt(settings, "run", "--select", "items").result

    assert "`raw.items`, which the lake does not have yet" in result.message
