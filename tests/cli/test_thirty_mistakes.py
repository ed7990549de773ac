"""What `headrace check` says of thirty mistakes, each made alone in one small lake."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.scaffold.lake import apply_lake, plan_lake
from tests.golden.golden import Golden
from tests.golden.masked import masked

pytestmark = pytest.mark.slow

STREAM, SAMPLES = "lake/streams/impressions.yaml", "lake/samples/feed.yaml"
VIEW, PROJECT = "lake/windows/item_clicks.yaml", "dbt_project/dbt_project.yml"
MODEL = "dbt_project/models/features/user_activity.yml"
VIEW_TEXT = """\
view: features.item_clicks
events: raw.impressions
entity: [item_id]
hop: 1h
aggregates:
  - {name: clicks, take: sum, of: clicked, windows: [1h, 1d]}
"""


class Mistake(NamedTuple):
    """What is written for what in a file; a file that is not there has nothing to replace."""

    name: str
    file: str
    old: str
    new: str


THIRTY = (
    Mistake("a key of a stream is misspelt", STREAM, "event_time:", "event_tme:"),
    Mistake("a format that there is not", STREAM, "format: csv", "format: cvs"),
    Mistake("a type that there is not", STREAM, "user_id:       {type: long", "user_id: {type: lnog"),
    Mistake("an event time that is no field", STREAM, "time: shown_at", "time: show_at"),
    Mistake("a key that is no field", STREAM, "key: impression_id", "key: impresion_id"),
    Mistake("a key that may be null", STREAM, "string, required: true", "string"),
    Mistake("a setting of a source", STREAM, "complete_files", "complete_file"),
    Mistake("a partition by no column", STREAM, "fields:", "partition_by: [day(shown)]\nfields:"),
    Mistake("an entity that is no field", STREAM, "fields:", "feature_view: {entity: [user]}\nfields:"),
    Mistake("a table without a namespace", STREAM, "raw.impressions", "impressions"),
    Mistake("a key twice", STREAM, "format: csv", "format: csv\nformat: csv"),
    Mistake("a file that is not YAML", STREAM, "fields:", "fields: ]"),
    Mistake("a pattern that matches no file", STREAM, "impressions/*.csv", "impresions/*.csv"),
    Mistake("a data folder that is not there", "lake/lake.toml", '"data"', '"dat"'),
    Mistake("a type that the table cannot take", STREAM, "clicked:       {type: int", "clicked: {type: string"),
    Mistake("two files of one table", "lake/streams/more.yaml", "", f"<{STREAM}"),
    Mistake("an exposure table that there is not", SAMPLES, "table: raw.impressions", "table: raw.impresions"),
    Mistake("an id that is no column", SAMPLES, "id: impression_id", "id: impresion_id"),
    Mistake("an entity that is no column", SAMPLES, "item_id]}", "item]}"),
    Mistake("an entity that a view needs", SAMPLES, "[user_id, item_id]", "[item_id]"),
    Mistake("a view that there is not", SAMPLES, "features.user_activity", "features.user_activty"),
    Mistake("a table that is no view", SAMPLES, "features.user_activity", "raw.impressions"),
    Mistake("a feature of a model that it has not", SAMPLES, "clicks_7d", "click_7d"),
    Mistake("a feature of a window view that it has not", SAMPLES, "clicks_1d", "clicks_2d"),
    Mistake("a label value that is no column", SAMPLES, "value: clicked", "value: exist"),
    Mistake("a model that moved", PROJECT, "+schema: features", "+schema: featured"),
    Mistake("a model that lost a column", MODEL, "clicks_7d", "taps_7d"),
    Mistake("events of no stream", VIEW, "raw.impressions", "raw.impression"),
    Mistake("an aggregate of no field", VIEW, "of: clicked", "of: click"),
    Mistake("a file in a folder that is not read", "lake/stream/more.yaml", "", f"<{STREAM}"),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake with a stream and its table, a model, a window view, and a sample set of all."""
    apply_lake(plan_lake(tmp_path))
    (tmp_path / VIEW).parent.mkdir()
    (tmp_path / VIEW).write_text(VIEW_TEXT)
    use = "labels:"
    more = f"  - {{view: features.item_clicks, columns: [clicks_1d]}}\n{use}"
    (tmp_path / SAMPLES).write_text((tmp_path / SAMPLES).read_text().replace(use, more))
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(make_app(), ["ingest", "run"])
    assert done.exit_code == 0, done.output
    return tmp_path


def found_by_check() -> list[dict[str, object]]:
    """All problems and warnings that `check --output json` tells."""
    done = CliRunner().invoke(make_app(), ["check", "--output", "json"])
    told = json.loads(done.stdout)
    assert done.exit_code == (1 if told["problems"] else 0)
    warnings = [{**each, "message": f"warning: {each['message']}"} for each in told["warnings"]]
    return [*told["problems"], *warnings]


def with_mistake(folder: Path, mistake: Mistake) -> list[dict[str, object]]:
    """What `check` tells while a mistake is there; afterwards the lake is as before."""
    path = folder / mistake.file
    before = path.read_text() if mistake.old else ""
    new = mistake.new
    if new.startswith("<"):
        new = (folder / new[1:]).read_text()
    assert mistake.old in before
    path.parent.mkdir(exist_ok=True)
    path.write_text(before.replace(mistake.old, new, 1) if mistake.old else new)
    try:
        return found_by_check()
    finally:
        if mistake.old:
            path.write_text(before)
        else:
            path.unlink()


def shown(found: dict[str, object]) -> str:
    at = ":".join(
        str(found[each]) for each in ("file", "line", "column") if found[each] is not None
    )
    allowed = found["allowed"]
    assert isinstance(allowed, list)
    few = f"\n    allowed: {', '.join(map(str, allowed))}" if allowed else ""
    return f"  {at}  {found['message']}{few}"


def test_each_of_thirty_mistakes_is_found_where_it_is_and_says_what_was_meant(
    folder: Path, golden: Golden
) -> None:
    assert found_by_check() == []
    told = list[str]()
    for mistake in THIRTY:
        found = with_mistake(folder, mistake)
        assert found, mistake.name
        told += [mistake.name, *map(shown, found), ""]
    assert found_by_check() == []
    assert len(THIRTY) == len({each.name for each in THIRTY}) == 30
    golden.check("mistakes.txt", masked("\n".join(told), (str(folder), "LAKE")) + "\n")
