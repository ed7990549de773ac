"""`headrace features list` and `show`: every feature view, before and after there is a table of it."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.main import make_app

STREAM = """\
stream: items
table: raw.items
source: {files: "items/*.csv"}
format: csv
event_time: ingested
feature_view: {entity: [item_id], ttl: 30d, delay: 5m}
fields:
  item_id: {type: long, required: true}
  price: {type: double}
  tags: {type: string}
"""
MODEL = """
models:
  - name: busy
    config: {meta: {headrace: {entity: [user_id]}}}
    columns: [{name: user_id}, {name: event_time}, {name: known_at}, {name: clicks}]
"""
VIEW = """\
view: features.recent
events: raw.items
entity: [item_id]
hop: 5m
aggregates:
  - {name: prices, take: last, of: price, keep: 3, windows: [1d]}
"""
VIEWS = ("features.recent", "main.busy", "raw.items")
SAMPLES = """\
samples: feed
table: samples.feed
exposures: {table: raw.items, id: tags, entities: [item_id]}
features:
  - {view: raw.items, columns: [price]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "lake/lake.toml": '[profiles.local]\ndata_dir = "data"\n',
        "lake/streams/items.yaml": STREAM,
        "lake/windows/recent.yaml": VIEW,
        "lake/samples/feed.yaml": SAMPLES,
        "dbt_project/dbt_project.yml": "name: mine\n",
        "dbt_project/models/busy.sql": "select 1",
        "dbt_project/models/busy.yml": MODEL,
        "data/items/a.csv": "item_id,price,tags\n1,2.5,x\n2,,y\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    return tmp_path


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), [*arguments, "--output", "json"])


def test_views_of_streams_windows_and_models_are_listed_before_there_is_a_lake(
    folder: Path,
) -> None:
    listed = json.loads(headrace("features", "list").stdout)
    assert [(each["view"], each["made_by"], each["rows"]) for each in listed] == [
        ("features.recent", "window view on raw.items", None),
        ("main.busy", "dbt model busy", None),
        ("raw.items", "stream items", None),
    ]
    assert [each["used_by"] for each in listed] == [[], [], ["feed"]]
    assert not (folder / ".headrace").exists()


@pytest.mark.slow
def test_a_view_shows_its_entity_its_times_its_types_and_its_rows(folder: Path) -> None:
    assert headrace("ingest", "run", "items").exit_code == 0
    shown = json.loads(headrace("features", "show", "raw.items").stdout)
    assert shown["entity"] == ["item_id"]
    assert (shown["ttl_s"], shown["delay_s"], shown["rows"]) == (30 * 86_400, 300, 2)
    assert shown["values"] == {"price": "double", "tags": "string"}
    assert shown["built_at"]
    window = json.loads(headrace("features", "show", "features.recent").stdout)
    assert window["values"] == {"prices_1d": "list<double>"}


def test_a_view_that_there_is_not_is_named_with_the_nearest(folder: Path) -> None:
    done = headrace("features", "show", "items")
    assert done.exit_code == 1
    error = json.loads(done.stderr)
    assert error["code"] == "not-declared"
    assert error["facts"] == {"kind": "feature view", "name": "items", "known": [*VIEWS]}
