"""What differs between two versions and why, as plain functions."""

import datetime as dt
from dataclasses import replace

from headrace.datasets.profile import ColumnProfile
from ui.differences import difference
from ui.facts import DayFacts, LabelRows, VersionFacts
from ui.snippets import load_snippet, version_snippets
from ui.version_data import flattened

DAY = dt.date(2024, 5, 1)
AT = dt.datetime(2024, 5, 3, tzinfo=dt.UTC)


def day(number: int, content: str, *, inputs: int = 1, mark: dt.datetime = AT) -> DayFacts:
    return DayFacts(
        day=DAY + dt.timedelta(days=number),
        rows=10,
        content_hash=content,
        inputs={"features.item": inputs},
        watermarks={"staging.clicks": mark},
    )


BEFORE = VersionFacts(
    name="ctr", version=1, table="samples.ctr", snapshot_id=1, first_day=DAY, last_day=DAY,
    filter_labels="any", left_out=(), rows=30, positives=3, content_hash="0", code="c",
    created_at=AT, watermarks={}, pins=(), dense=("x",), sparse=(), sequence=(),
    label_names=("click",), days=(day(0, "a"), day(1, "b"), day(2, "c")),
    labels=(LabelRows(label="click", state="mature", value="positive", rows=3),),
    columns={"x": "float", "y": "int"}, definition={"features.item.ttl_us": "1"},
)  # fmt: skip


def test_equal_versions_do_not_differ() -> None:
    found = difference(BEFORE, replace(BEFORE, version=2))
    assert (found.days, found.columns, found.definition) == ((), (), ())
    assert found.summary == "0 rows, 0 days differ, definition unchanged"


def test_late_input_maturity_and_the_definition_are_told_apart() -> None:
    days = (day(0, "A", inputs=2), day(1, "B", mark=AT + dt.timedelta(hours=1)), day(3, "d"))
    after = replace(BEFORE, version=2, days=days, rows=29)
    found = difference(BEFORE, after)
    assert [(each.change, each.cause) for each in found.days] == [
        ("changed", "late input of features.item"),
        ("changed", "labels of staging.clicks matured further"),
        ("removed", "not in the later version"),
        ("added", "not in the earlier version"),
    ]
    redefined = difference(BEFORE, replace(after, code="d"))
    assert redefined.days[0].cause.startswith("definition changed, late input")
    assert redefined.summary == "−1 rows, 4 days differ, definition changed"


def test_columns_definitions_and_labels_are_compared_by_name() -> None:
    after = replace(
        BEFORE,
        columns={"x": "double", "z": "int"},
        definition={"features.item.ttl_us": "2"},
        labels=(LabelRows(label="click", state="pending", value="zero", rows=7),),
    )
    found = difference(BEFORE, after)
    assert [(each.name, each.before, each.after) for each in found.columns] == [
        ("x", "float", "double"),
        ("y", "int", None),
        ("z", None, "int"),
    ]
    assert [each.name for each in found.definition] == ["features.item.ttl_us"]
    assert [(each.rows_before, each.rows_after) for each in found.labels] == [(3, 0), (0, 7)]


def test_drift_is_unknown_where_a_version_does_not_say_what_its_values_look_like() -> None:
    looks = {"x": ColumnProfile(rows=50, nulls=0, mean=1.0, deviation=0.5, buckets={"0": 50})}
    moved = {"x": ColumnProfile(rows=50, nulls=50, mean=None, deviation=None, buckets={})}
    first, second = replace(BEFORE, profiles=looks), replace(BEFORE, version=2, profiles=moved)
    assert difference(BEFORE, second).drift is difference(first, BEFORE).drift is None
    found = difference(first, second)
    assert [each.moved for each in found.drift or ()] == [True]
    assert "values of 1 column moved" in found.summary


def test_a_definition_is_flat_by_the_names_of_its_parts() -> None:
    nested = {"at": "t", "features": [{"name": "item", "ttl_us": None, "columns": ["a", "b"]}]}
    assert dict(flattened(nested)) == {
        "at": "t",
        "features.item.name": "item",
        "features.item.ttl_us": "null",
        "features.item.columns": '["a", "b"]',
    }


def test_the_snippet_for_trino_reads_the_pinned_snapshot_in_its_catalog() -> None:
    snippets = version_snippets(BEFORE, "file:///lake/metadata.json", trino_catalog="lake")
    assert list(snippets) == ["PyTorch", "Trino", "DuckDB", "Polars"]
    language, select = snippets["Trino"]
    assert language == "sql"
    assert select.startswith('select * from "lake"."samples"."ctr" for version as of 1\nwhere ')
    assert "date '2024-05-03'" in select


def test_snippets_without_a_table_are_those_of_the_loader() -> None:
    assert version_snippets(BEFORE, "") == {"PyTorch": ("python", load_snippet(BEFORE))}
