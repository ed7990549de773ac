"""dbt seeds: files of the project that are tables of the lake, as they are or with a row for each change."""

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.definitions.dbt_project import lost_model
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.inspect import inspect_sample
from tests.conftest import ROOT
from tests.ingest.test_without_time import SAMPLES, SHOWN, land, prices, shown, take
from tests.integrations.conftest import Project

UTC = dt.UTC
_VIEW = "{headrace: {entity: [item_id]}, headrace_table: {event_time: %s}}"
INGESTED, SINCE = _VIEW % "ingested", _VIEW % '{constant: "2020-01-01T00:00:00Z"}'


@pytest.fixture
def lake(lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    """A lake with declarations of its own."""
    (tmp_path / "declared" / "streams").mkdir(parents=True)
    with Lake.open(replace(lake.settings, declarations=tmp_path / "declared")) as opened:
        yield opened


class Seeds:
    """Writes seeds into a project, builds everything, and reads their tables."""

    def __init__(self, project: Project) -> None:
        self.project, self.folder = project, project.folder / "seeds"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def write(self, name: str, *lines: str, config: str = "", columns: str = "") -> None:
        (self.folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        described = f"seeds:\n  - name: {name}\n    config: {{schema: raw{config}}}\n{columns}"
        (self.folder / f"{name}.yml").write_text(described)

    def build(self, *arguments: str) -> dict[str, str]:
        return self.project.run(*arguments, verb="build")

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.project.lake.table(f"raw.{name}").head().to_arrow().to_pylist()


@pytest.fixture
def seeds(project: Project) -> Iterator[Seeds]:
    made = Seeds(project)
    yield made
    shutil.rmtree(made.folder)


def test_a_seed_is_a_table_that_models_read_and_an_equal_file_commits_nothing(
    seeds: Seeds, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    big, far = 2**53 + 1, "9" * 20
    seeds.write(
        "codes",
        "code,shop,hash,share,since,note",
        f"007,{big},{far},0.5,2026-01-02,",
        'E76565,,1,1.25,2026-01-03,"a, b"',
    )
    seeds.project.model(
        "named",
        "{{ config(materialized='table') }} select cast(code as varchar) as code, "
        "cast(share as double) as share from {{ ref('codes') }}",
    )
    assert seeds.build() == {"codes": "replaced", "named": "replaced"}
    assert seeds.rows("codes") == [
        {
            "code": "007",
            "shop": big,
            "hash": far,
            "share": 0.5,
            "since": dt.date(2026, 1, 2),
            "note": None,
        },
        {
            "code": "E76565",
            "shop": None,
            "hash": "1",
            "share": 1.25,
            "since": dt.date(2026, 1, 3),
            "note": "a, b",
        },
    ]
    assert seeds.project.rows("named") == [("007", 0.5), ("E76565", 1.25)]
    assert seeds.build() == {"codes": "unchanged", "named": "unchanged"}
    seeds.write("codes", "code,share,note", "7,2,3")  # all of them have other types
    assert seeds.build() == {"codes": "replaced", "named": "replaced"}
    assert seeds.project.rows("named") == [("7", 2.0)]
    assert seeds.rows("codes") == [{"code": 7, "share": 2, "note": 3}]
    recorded = lake.table("raw.codes").head().properties["headrace.model"]
    monkeypatch.setenv("HEADRACE_DBT_PROJECT", str(seeds.project.folder))
    assert lost_model(lake.settings, recorded) is None
    (seeds.folder / "codes.csv").unlink()
    assert lost_model(lake.settings, recorded) == seeds.project.folder


def test_rows_that_never_change_are_known_since_a_constant(seeds: Seeds, lake: Lake) -> None:
    seeds.write("items", "item_id,price", "1,10.5", "2,20", config=f", meta: {SINCE}")
    assert seeds.build() == {"items": "replaced"}
    shown(lake, early=dt.datetime(2019, 1, 1, tzinfo=UTC), now=dt.datetime.now(UTC))
    assert prices(lake) == {"early": None, "now": 10.5}


def test_rows_that_change_are_joined_as_they_were_then(seeds: Seeds, lake: Lake) -> None:
    gaps = {"0_before": dt.datetime.now(UTC)}
    stages = {
        "1_there": ("1,10", "2,20"),
        "2_gone": ("2,20",),
        "3_back": ("1,10", "2,20"),
        "4_changed": ("1,8", "2,20"),
    }
    for name, lines in stages.items():
        seeds.write("items", "item_id,price", *lines, config=f", meta: {INGESTED}")
        done = "replaced" if name == "1_there" else "appended"
        assert seeds.build() == {"items": done}
        gaps[name] = dt.datetime.now(UTC)
    assert seeds.build("--full-refresh") == {"items": "unchanged"}  # what was stays
    assert sorted(
        (row["item_id"], row["price"], row["_removed"])
        for row in seeds.rows("items")
        if row["item_id"] == 2
    ) == [(2, 20, False)]
    shown(lake, **gaps)
    assert prices(lake) == {
        "0_before": None,
        "1_there": 10,
        "2_gone": None,
        "3_back": 10,
        "4_changed": 8,
    }
    (feature,) = inspect_sample(lake, [TableName.parse("samples.feed")], "2_gone").features
    assert feature.used is not None and feature.used.removed
    assert build(lake, SAMPLES).built == ()


def test_a_column_that_comes_later_is_a_change_of_the_rows_that_have_it(seeds: Seeds) -> None:
    seeds.write("items", "item_id,price", "1,10", "2,20", config=f", meta: {INGESTED}")
    seeds.build()
    seeds.write("items", "item_id,price,brand", "1,10,x", "2,20,", config=f", meta: {INGESTED}")
    assert seeds.build() == {"items": "appended"}
    found = [(row["item_id"], row["brand"]) for row in seeds.rows("items")]
    assert sorted(found, key=repr) == [(1, "x"), (1, None), (2, None)]


def test_declared_types_decide_and_other_delimiters_are_read(seeds: Seeds) -> None:
    seeds.write(
        "codes",
        "code;at",
        "7;1700000000",
        config=", delimiter: ';', column_types: {code: string}",
        columns="    columns: [{name: at, data_type: long, constraints: [{type: not_null}]}]\n",
    )
    assert seeds.build() == {"codes": "replaced"}
    assert seeds.rows("codes") == [{"code": "7", "at": 1_700_000_000}]
    assert not seeds.project.lake.table("raw.codes").head().schema.field("at").nullable


_KEY = ", unique_key: item_id"
_ONLY_TIMES = ", meta: {headrace_table: {event_time: ingested}}"
WRONG: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a name that is none": (("Item Id", "1"), "", "Item Id"),
    "a line of other length": (("a,b", "1,2", "1"), "", "row 2 has 1 values"),
    "a value of another type": (("a", "1", "x"), ", column_types: {a: long}", "row 2: `a` is `x`"),
    "a type that there is not": (("a", "1"), ", column_types: {a: varchar}", "varchar"),
    "a view without times": (("item_id", "1"), ", meta: {headrace: {entity: [item_id]}}", "event_time: ingested"),
    "changes without a key": (("item_id", "1"), _ONLY_TIMES, "needs a `unique_key`"),
    "a key twice": (("item_id,b", "1,2", "1,3"), _ONLY_TIMES + _KEY, "equal or empty values of its key"),
    "a key that is empty": (("item_id,b", ",2"), _ONLY_TIMES + _KEY, "equal or empty values of its key"),
    "a time that is none": (("a", "1"), ", meta: {headrace_table: {event_time: yesterday}}", "yesterday"),
    "times twice": (("item_id,known_at", "1,2026-01-01T00:00:00Z"), f", meta: {INGESTED}", "known_at"),
    "nothing": (("",), "", "its file is empty"),
}  # fmt: skip


def test_what_is_no_table_is_refused_by_name_and_changes_nothing(seeds: Seeds, lake: Lake) -> None:
    names = {f"seed_{at}": wrong for at, wrong in enumerate(WRONG.values())}
    for name, (lines, config, _) in names.items():
        seeds.write(name, *lines, config=config)
    found = seeds.build()
    assert {
        name: found[name] for name, (_, _, why) in names.items() if why not in found[name]
    } == {}
    assert not [name for name in lake.names() if name.name.startswith("seed_")]


def test_a_seed_does_not_replace_what_a_stream_has_ingested(seeds: Seeds, lake: Lake) -> None:
    land(lake, "shown/a", "id,item_id,at\nnow,1,2026-01-01T00:00:00Z\n")
    take(lake, SHOWN.model_copy(update={"partition_by": ()}))
    seeds.write("shown", "id", "1")
    assert "has ingested" in seeds.build()["shown"]
    for kind in ("csv", "yml"):
        (seeds.folder / f"shown.{kind}").unlink()
    config = "{{ config(materialized='table', schema='raw', alias='shown') }}"
    seeds.project.model("other", f"{config} select 'b' as id")
    assert "has ingested" in seeds.build()["other"]
    assert seeds.rows("shown")[0]["id"] == "now"


def test_a_project_without_headraces_materialization_refuses_its_seeds(seeds: Seeds) -> None:
    root = seeds.project.folder / "macros" / "root" / "materializations.sql"
    kept = root.read_text().partition("{% materialization seed")[0]
    root.write_text(kept)
    seeds.write("codes", "code", "1")
    assert "does not commit to the lake" in seeds.build()["codes"]
    assert not seeds.project.lake.exists("raw.codes")


def test_the_documents_example_is_a_seed_that_builds(seeds: Seeds) -> None:
    text = (ROOT / "docs" / "features.md").read_text()
    yaml = text.split('```yaml title="seeds/items.yml"\n')[1].split("```")[0]
    (seeds.folder / "items.yml").write_text(yaml)
    (seeds.folder / "items.csv").write_text("item_id,price,brand\n1,2.5,x\n")
    assert seeds.build() == {"items": "replaced"}
    assert {"event_time", "known_at", "_removed"} <= set(
        seeds.project.lake.table("static.items").head().schema.names
    )
