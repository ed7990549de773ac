"""Samples with a window view: what training reads is what serving answered at each exposure."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.errors import DefinitionError, TableNotFoundError
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.plan import plan_build
from headrace.samples.resolve import Recipe, resolve
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import seed_of_today
from tests.raising import refused
from tests.samples.window_oracle import STREAM, Row
from tests.serving.plays import VIEW, World

TIME = pa.timestamp("us", tz="UTC")
SHOWN = pa.schema(
    [
        pa.field("shown_id", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("u", pa.int64()),
        pa.field("c", pa.string()),
    ]
)
DECLARED: dict[str, Any] = {
    "view": VIEW,
    "events": "raw.plays",
    "entity": ["u", "c"],
    "hop": "10s",
    "aggregates": [
        {"name": "plays", "take": "count", "windows": ["10s", "1m"]},
        {"name": "paid", "take": "sum", "of": "price", "windows": ["1m"]},
        {"name": "items", "take": "distinct", "of": "item", "windows": ["1m"], "keep": 2},
        {"name": "recent", "take": "last", "of": "item", "windows": ["1m"], "keep": 3},
    ],
}
COLUMNS = ("plays_10s", "plays_1m", "paid_1m", "items_1m", "recent_1m")


def sample_set(**use: object) -> SampleSet:
    feature = {"view": VIEW, "columns": list(COLUMNS), "prefix": "w_"} | use
    return SampleSet.model_validate(
        {
            "samples": "shown",
            "table": "samples.shown",
            "exposures": {"table": "shop.shown", "id": "shown_id", "entities": ["u", "c"]},
            "features": [feature],
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    folder = tmp_path / "lake"
    (folder / "streams").mkdir(parents=True)
    (folder / "windows").mkdir()
    (folder / "lake.toml").write_text('profile = "p"\n[profiles.p]\nthreads = 1\n')
    stream = STREAM.model_dump(mode="json", exclude_defaults=True)
    stream["source"] = {"files": "*.jsonl"}
    (folder / "streams" / "plays.yaml").write_text(yaml.safe_dump(stream))
    (folder / "windows" / "recent.yaml").write_text(yaml.safe_dump(DECLARED))
    with Lake.open(Settings.load(env={}, path=folder / "lake.toml")) as opened:
        yield opened


def show(lake: Lake, rows: Sequence[Row]) -> LakeTable:
    table = lake.create(TableName.parse("shop.shown"), SHOWN, partition_by=["day(event_time)"])
    batch = pa.RecordBatch.from_pylist([dict(row) for row in rows], schema=SHOWN)
    append(table, write_batches(table, [batch]), provenance=Provenance())
    return table


def samples(lake: Lake) -> dict[str, dict[str, Any]]:
    rows = lake.table("samples.shown").head().to_arrow().to_pylist()
    return {row["sample_id"]: row for row in rows}


def test_each_sample_has_the_values_that_were_served_at_its_time(
    lake: Lake, tmp_path: Path
) -> None:
    windows = resolve_windows(WindowView.model_validate(DECLARED), [STREAM])
    with SQLiteOnlineStore(tmp_path / "online.db") as store:
        world = World(lake, store, random.Random(seed_of_today()), windows)
        for _ in range(8):
            world.arrive(6)
            world.publish()
            world.tick(0.5)
            world.ask()
            world.tick(9)
    rows = [
        {"shown_id": f"s{n}", "event_time": asked["t"], "u": asked["u"], "c": asked["c"]}
        for n, asked in enumerate(world.asked)
    ]
    show(lake, rows)
    build(lake, sample_set())
    found = samples(lake)
    assert len(found) == len(rows) > 50
    for number, answer in enumerate(world.answers):
        row = found[f"s{number}"]
        assert {name: row[f"w_{name}"] for name in COLUMNS} == answer, rows[number]
    assert not plan_build(lake, sample_set()).reasons
    world.arrive(3)  # late events of windows that are over: the day is built again, and is the same
    assert set(plan_build(lake, sample_set()).reasons.values()) == {f"events of {VIEW} changed"}
    build(lake, sample_set())
    assert samples(lake) == found


def test_the_recipe_holds_the_declaration_and_is_as_before_without_one(lake: Lake) -> None:
    World(lake, SQLiteOnlineStore(lake.settings.online_store), random.Random(1))
    show(lake, [])
    recipe = resolve(lake, sample_set())
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.inputs == ("shop.shown", "raw.plays")
    plain = resolve(lake, sample_set().model_copy(update={"features": ()}))
    assert "windows" not in plain.to_json()
    assert Recipe.from_json(plain.to_json()) == plain


def test_a_use_that_contradicts_the_declaration_is_refused(lake: Lake) -> None:
    World(lake, SQLiteOnlineStore(lake.settings.online_store), random.Random(1))
    show(lake, [])
    for use, count in (({"columns": ["plays_7d"]}, 1), ({"ttl": "1h"}, 1)):
        with pytest.raises(DefinitionError) as caught:
            resolve(lake, sample_set(**use))
        assert len(caught.value.problems) == count
    with refused(TableNotFoundError):
        resolve(lake, sample_set(view="features.nothing"))
    (lake.settings.declarations / "windows" / "recent.yaml").write_text("view: 7\n")
    with refused(DefinitionError):
        resolve(lake, sample_set())
