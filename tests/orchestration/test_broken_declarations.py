"""A declaration that cannot be used stops its own pipeline, and says so; every other one goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from headrace.config import Settings
from headrace.definitions.load import read_streams
from headrace.errors import DefinitionError
from headrace.identifiers import TableName
from orchestration.definitions import defs
from orchestration.lib.declared import Broken, read_declared
from tests.conftest import ROOT
from tests.ingest.factories import write_clicks
from tests.orchestration.conftest import use_lake
from tests.orchestration.test_checks import materialized, run

STAGED = dg.AssetKey(["staging", "clicks"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: Path) -> Iterator[Path]:
    """A lake with this repository's declarations, to be broken."""
    shutil.copytree(parsed, tmp_path / "state" / "dbt")
    shutil.copytree(ROOT / "lake", tmp_path / "lake")
    shutil.copytree(ROOT / "dbt_project", tmp_path / "dbt_project")
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=tmp_path / "lake")
    monkeypatch.setenv("HEADRACE_DBT_PROJECT", str(ROOT / "dbt_project"))
    yield tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def broken() -> dict[str, Broken]:
    return {each.key.to_user_string(): each for each in read_declared(Settings.load()).broken}


def test_a_bad_declaration_fails_alone_and_the_other_streams_reach_their_features(
    folder: Path,
) -> None:
    streams = folder / "lake" / "streams"
    change(streams / "impressions.yaml", "partition_by: [day", "partition_by: [[day")
    change(streams / "items.yaml", "event_time: listed_at", "event_time: listed")
    (streams / "views.yaml").write_bytes(b"\xff\xfe")
    clicks = (streams / "clicks.yaml").read_text().replace("stream: clicks", "stream: taken")
    (streams / "taken.yaml").write_text(clicks.replace("raw.clicks", "features.item_ctr"))
    write_clicks(Settings.load().data_dir, file="a")
    graph = defs()
    ran = run(graph, dg.AssetSelection.groups("ingest") | dg.AssetSelection.assets(STAGED))
    assert materialized(ran) == {"raw/clicks", "staging/clicks"}
    failed = {event.step_key for event in ran.get_step_failure_events()}
    named = {"declarations__streams_taken", "declarations__streams_views"}
    assert failed == {"raw__impressions", "raw__items", *named}
    # and the same as checks, which say what is wrong and where
    ran = run(graph, dg.AssetSelection.checks(*_validity(graph)))
    said = {each.asset_key.path[-1]: each for each in ran.get_asset_check_evaluations()}
    assert [each.passed for each in said.values()] == [False] * 4
    assert "lake/streams/items.yaml:6 " in (said["items"].description or "")
    assert said["items"].metadata["file"].value == str(streams / "items.yaml")
    # what was corrected since the graph was loaded is fine again
    shutil.copy(ROOT / "lake" / "streams" / "items.yaml", streams)
    ran = run(graph, dg.AssetSelection.checks(*_validity(graph)))
    assert {e.asset_key.path[-1]: e.passed for e in ran.get_asset_check_evaluations()}["items"]


def _validity(graph: dg.Definitions) -> list[dg.AssetCheckKey]:
    found = graph.resolve_asset_graph().asset_check_keys
    return [key for key in found if key.name == "declaration_is_valid"]


def test_of_two_declarations_of_one_table_none_is_used(folder: Path) -> None:
    streams = folder / "lake" / "streams"
    shutil.copy(streams / "clicks.yaml", streams / "copy of clicks.yaml")
    found = broken()
    assert set(found) == {"raw/clicks"}
    assert [problem.split(":")[0] for problem in found["raw/clicks"].problems] == [
        *["lake/streams/clicks.yaml"] * 2,  # the name and the table
        *["lake/streams/copy of clicks.yaml"] * 2,
    ]


@pytest.mark.parametrize(
    ("taken", "also"),
    [
        ("samples.ctr", {"declarations/samples_ctr"}),
        ("features.item_ctr", set[str]()),
        ("serving.online_store", set[str]()),
        ("maintenance.raw_items", {"declarations/streams_items"}),
    ],
)
def test_declarations_that_would_be_one_asset_are_both_refused(
    folder: Path, taken: str, also: set[str]
) -> None:
    change(folder / "lake" / "streams" / "clicks.yaml", "table: raw.clicks", f"table: {taken}")
    lacks_events = "declarations/windows_item_clicks"  # nothing declares `raw.clicks` now
    assert set(broken()) == {"declarations/streams_clicks", lacks_events, *also}


def test_models_that_cannot_be_parsed_are_shown_as_they_last_were(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_DBT_PROJECT", str(folder / "dbt_project"))
    (folder / "dbt_project" / "models" / "staging" / "clicks.yml").write_text("models: [")
    declared = read_declared(Settings.load())
    assert [each.key.to_user_string() for each in declared.broken] == ["declarations/dbt_project"]
    assert "clicks.yml" in declared.broken[0].problems[0]
    assert TableName("features", "item_ctr") in declared.models.values()
    shutil.rmtree(folder / "state")
    never_parsed = read_declared(Settings.load())
    assert never_parsed.models == {}
    assert len(never_parsed.streams) == 3


def test_days_that_make_no_sense_break_the_sample_sets_alone(folder: Path) -> None:
    change(folder / "lake" / "lake.toml", "first_day = 2019-11-24", 'first_day = "soon"')
    assert list(broken()) == ["samples/ctr"]
    assert len(read_declared(Settings.load()).streams) == 3


def test_samples_are_refused_only_for_broken_streams_that_may_be_theirs(folder: Path) -> None:
    streams = folder / "lake" / "streams"
    (streams / "clicks.yaml").write_text("table: raw.clicks\nfields: [")
    read = read_streams(Settings.load())
    of_a_stream = {"headrace.stream": "clicks"}
    read.refuse_broken(TableName("raw", "impressions"), of_a_stream)  # has a declaration
    read.refuse_broken(TableName("raw", "buys"), of_a_stream)
    with pytest.raises(DefinitionError):
        read.refuse_broken(TableName("raw", "clicks"), of_a_stream)
    (streams / "clicks.yaml").write_text("fields: [")  # may be that of any stream's table
    read = read_streams(Settings.load())
    read.refuse_broken(TableName("features", "item_ctr"), {})
    with pytest.raises(DefinitionError):
        read.refuse_broken(TableName("raw", "buys"), of_a_stream)
