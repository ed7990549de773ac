"""Building bit by bit, with late input, must give what building at once gives."""

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY, INPUTS
from headrace.integrations.dbt_build import build_features
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.dbt.raw_lake import START, RawLake

TABLES = (
    "staging.impressions",
    "staging.clicks",
    "staging.items",
    "features.item_ctr",
    "features.position_ctr",
    "features.segment_activity",
    "features.item_profile",
)


def traffic(rng: random.Random, *, first_day: int, days: int, rows: int) -> dict[str, list[dict]]:
    """Some hours of events, a third of them late by up to three days, and a few sent twice."""
    made: dict[str, list[dict[str, Any]]] = {"impressions": [], "clicks": [], "items": []}
    for number in range(rows):
        stream = rng.choices(["impressions", "clicks", "items"], [8, 2, 1])[0]
        at = START + dt.timedelta(days=first_day, seconds=rng.randrange(days * 86_400))
        late = dt.timedelta(seconds=rng.choice([0, 0, 0, 5, 5_000, 90_000, 250_000]))
        key = f"{stream}-{first_day}-{number}"
        row: dict[str, Any] = {
            "event_time": at,
            "known_at": at + late,
            "campaign": rng.choice(["men", "all"]),
            "item_id": rng.randrange(3),
        }
        if stream == "items":
            row["price_score"] = rng.random()
        else:
            row |= {
                "click_id" if stream == "clicks" else "impression_id": key,
                "position": rng.randrange(1, 4),
                "user_segment": rng.choice("xy"),
            }
        made[stream].append(row)
        if rng.random() < 0.1:
            # a copy may have another event time, also of another day
            again = at + dt.timedelta(hours=rng.choice([0, -3, 3]) if stream != "items" else 0)
            known = max(at + late + dt.timedelta(hours=1), again)
            made[stream].append({**row, "event_time": again, "known_at": known})
    return made


def test_increments_with_late_input_give_the_rows_of_a_full_build(
    tmp_path: Path, dbt: Callable[..., Any]
) -> None:
    rng = random.Random(7)
    increments = [
        traffic(rng, first_day=0, days=4, rows=120),
        traffic(rng, first_day=2, days=1, rows=10),  # only late input
        traffic(rng, first_day=16, days=1, rows=30),  # a gap, longer than any window
        traffic(rng, first_day=1, days=16, rows=5),  # far ends at once
    ]
    codes: list[str] = []
    chosen = ("--select", "+item_ctr", "+item_profile")  # the other views are made like item_ctr
    with RawLake(tmp_path / "a" / "state") as bit_by_bit, RawLake(tmp_path / "b" / "state") as once:
        for increment in increments:
            for stream, rows in increment.items():
                bit_by_bit.append(stream, rows)
                once.append(stream, rows)
            ran = dbt(bit_by_bit.settings, "run", *chosen)
            codes += [r.adapter_response["code"] for r in ran.result if r.node.name == "item_ctr"]
        assert dbt(once.settings, "run", *chosen).success

        assert codes == ["replaced"] + ["overwritten"] * 3
        for table in ("staging.clicks", "features.item_ctr", "features.item_profile"):
            rows_at_once = once.rows(table, without="_source_offset")
            assert bit_by_bit.rows(table, without="_source_offset") == rows_at_once
            assert rows_at_once


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, parsed: Callable[[Settings], None]
) -> Iterator[RawLake]:
    with RawLake(tmp_path_factory.mktemp("built") / "state") as raw:
        for stream, rows in traffic(random.Random(3), first_day=0, days=12, rows=150).items():
            raw.append(stream, rows)
        parsed(raw.settings)
        build_features(raw.settings, run_id="first")
        yield raw


def test_a_second_build_commits_nothing(built: RawLake) -> None:
    before = {table: built.snapshots(table) for table in TABLES}

    result = build_features(built.settings)

    assert not result.changed
    assert result.tests_passed == 14
    assert {table: built.snapshots(table) for table in TABLES} == before


def test_every_commit_says_what_it_was_built_from(built: RawLake) -> None:
    head = built.lake.table("features.item_ctr").head()

    expected = {
        name: built.lake.table(name).head().snapshot_id
        for name in ("staging.impressions", "staging.clicks")
    }
    (edge, *_) = built.lake.registry.commits("features.item_ctr")
    assert edge.inputs == expected
    assert edge.code
    assert edge.run_id == "first"
    assert INPUTS in head.summary


def test_feature_tables_describe_themselves(built: RawLake) -> None:
    version = built.lake.table("features.item_ctr").head()

    view = FeatureView.from_property(version.name, version.properties[FEATURE_VIEW_PROPERTY])

    assert view.entity == ("campaign", "item_id")
    assert (view.ttl, view.delay) == (dt.timedelta(days=7), dt.timedelta(minutes=5))
    assert version.partition_by == ("day(event_time)",)
    assert not version.schema.field("item_id").nullable
    assert version.schema.field("ctr_1d").nullable


def test_files_of_a_day_are_sorted_by_entity(built: RawLake) -> None:
    version = built.lake.table("features.item_ctr").head()
    for day in version.partitions:
        rows = version.to_arrow(partitions=[day]).to_pylist()
        keys = [(r["campaign"], r["item_id"], r["event_time"], r["known_at"]) for r in rows]
        assert keys == sorted(keys)


def test_only_touched_days_are_replaced(built: RawLake, dbt: Callable[..., Any]) -> None:
    def files() -> dict[object, set[str]]:
        entries = built.lake.table("features.item_ctr").head().files()
        days = {entry.partition[0] for entry in entries}
        return {day: {e.path for e in entries if e.partition[0] == day} for day in days}

    before = files()
    at = START + dt.timedelta(days=6, hours=23, minutes=30)
    built.append("impressions", [{"impression_id": "new", "event_time": at}])
    assert dbt(built.settings, "run", "--select", "+item_ctr").success
    after = files()

    changed = {day for day in before | after if before.get(day) != after.get(day)}
    # the day, the next one that may hold copies of its rows, and those that windows of both reach
    assert changed == {(START + dt.timedelta(days=day)).date() for day in range(6, 16)}


def test_compaction_of_an_input_builds_nothing(built: RawLake, dbt: Callable[..., Any]) -> None:
    table = built.lake.table("raw.clicks")
    version = table.head()
    replaced = write_batches(table, version.to_arrow().to_batches())
    operations.replace_files(
        table,
        removed=[entry.data_file for entry in version.files()],
        added=replaced,
        provenance=Provenance(),
    )

    ran = dbt(built.settings, "run", "--select", "clicks", "item_ctr")

    assert {result.adapter_response["code"] for result in ran.result} == {"unchanged"}


def test_compiling_builds_nothing(built: RawLake, dbt: Callable[..., Any]) -> None:
    before = built.snapshots("features.item_ctr")

    assert dbt(built.settings, "compile", "--full-refresh", "--select", "item_ctr").success

    assert built.snapshots("features.item_ctr") == before


def test_a_full_refresh_gives_the_same_rows(built: RawLake, dbt: Callable[..., Any]) -> None:
    before = built.rows("features.item_ctr")
    snapshots = built.snapshots("features.item_ctr")

    assert dbt(built.settings, "run", "--full-refresh", "--select", "item_ctr").success

    assert built.rows("features.item_ctr") == before
    assert len(built.snapshots("features.item_ctr")) == len(snapshots) + 1
