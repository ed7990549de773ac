"""The names people use from Python."""

import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import headrace as hr
import headrace.ingest.run
from headrace.errors import (
    DatasetNotFoundError,
    DefinitionError,
    ExtraMissingError,
    SnapshotNotFoundError,
)
from headrace.identifiers import TableName
from headrace.scaffold.lake import apply_lake, plan_lake
from headrace.shown import rows_html
from headrace.tables.commits import operations
from headrace.tables.refs.refs import tag
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.tables.factories import add, events_table


def test_opening_a_lake_gives_the_public_handle(settings: hr.Settings) -> None:
    with hr.Lake.open(settings) as lake:
        assert type(lake) is hr.Lake
        add(events_table(lake), [1, 2, 3])
        head = lake.table("raw.events").head()
        assert lake.table("raw.events").at(snapshot_id=head.snapshot_id).row_count == 3


def test_a_dataset_that_is_not_published_is_an_error_of_the_lake(settings: hr.Settings) -> None:
    with (
        hr.Lake.open(settings) as lake,
        refused(DatasetNotFoundError, dataset="ctr", version=1, known=()),
    ):
        lake.dataset("ctr", version=1)
    assert issubclass(DatasetNotFoundError, hr.LakeError)


def test_a_table_is_read_as_it_is_or_was(settings: hr.Settings) -> None:
    with hr.Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1, 2])
        first = table.head().snapshot_id
        assert first is not None
        tag(table, "v1", snapshot_id=first)
        between = dt.datetime.now(dt.UTC)
        add(table, [3])
        assert sorted(lake.read("raw.events", columns=["id"])["id"].to_pylist()) == [1, 2, 3]
        assert lake.read("raw.events").schema.names == table.head().schema.names
        for at in (first, "v1", between):
            assert sorted(lake.read("raw.events", at=at)["id"].to_pylist()) == [1, 2]
        with pytest.raises(SnapshotNotFoundError):
            lake.read("raw.events", at="v2")
        with pytest.raises(ValueError):
            lake.read("raw.events", columns=["nowhere"])


def test_a_notebook_shows_a_version_on_a_few_lines(settings: hr.Settings) -> None:
    with hr.Lake.open(settings) as lake:
        add(events_table(lake), [1])
        assert len(repr(lake.table("raw.events").head())) < 400


@pytest.fixture
def feed(tmp_path: Path) -> hr.Settings:
    """A new lake whose sample set needs no dbt."""
    apply_lake(plan_lake(tmp_path))
    samples = tmp_path / "lake" / "samples" / "feed.yaml"
    lines = [each for each in samples.read_text().splitlines() if "features" not in each]
    samples.write_text("\n".join(lines))
    settings = hr.Settings.load(env={}, path=tmp_path / "lake" / "lake.toml")
    return replace(settings, threads=1)


def test_the_verbs_of_the_command_line_take_names(feed: hr.Settings) -> None:
    with hr.Lake.open(feed) as lake:
        assert lake.ingest("impressions").rows == 6
        assert lake.build("feed").rows == 6
        assert lake.publish("feed", allow_pending=True).lock.rows == 6
        assert len(lake.read("samples.feed")) == 6
        again, dataset = lake.publish("feed", allow_pending=True), lake.dataset("feed")
        assert "feed v1, 6 rows" in repr(dataset)
        for shown in (again, dataset):
            assert shown.lock.content_hash[:12] in shown._repr_html_()
            assert "<td>feed v1</td>" in shown._repr_html_()
        with pytest.raises(DefinitionError):
            lake.ingest("clicks")
        with pytest.raises(DefinitionError):
            lake.build("impressions")


def test_the_verbs_are_functions_too_and_find_the_lake_as_the_command_line_does(
    feed: hr.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hr.Lake.open(feed) as lake:
        taken = hr.ingest("impressions", lake=lake)
    assert (taken.rows, headrace.ingest.run.ingest.__name__) == (6, "ingest")
    monkeypatch.setenv("HEADRACE_LAKE", str(feed.root / "lake" / "lake.toml"))
    assert hr.ingest("impressions").rows == 0
    assert hr.build("feed").rows == 6
    published = hr.publish("feed", allow_pending=True)
    assert (published.lock.rows, published.outcome) == (6, "published")
    with hr.Lake.open(feed) as lake:
        assert hr.build("feed", lake=lake).built == ()
        assert hr.publish("feed", allow_pending=True, lake=lake).outcome == "unchanged"
    with pytest.raises(DefinitionError):
        hr.ingest("clicks")


def test_whatever_a_notebook_shows_is_short(feed: hr.Settings) -> None:
    wide = {f"column_of_a_long_name_{at}": [1] for at in range(500)}
    with hr.Lake.open(feed) as lake:
        table = lake.create(TableName.parse("raw.wide"), pa.table(wide).schema)
        files = write_batches(table, pa.table(wide).to_batches())
        operations.append(table, files, provenance=operations.Provenance())
        shown = {
            "ingest": lake.ingest("impressions"),
            "build": lake.build("feed"),
            "publication": lake.publish("feed", allow_pending=True),
            "dataset": lake.dataset("feed"),
            "lake": lake,
            "table": table,
            "version": table.head(),
            "rows": lake.read("raw.wide"),
        }
        texts = {name: repr(each) for name, each in shown.items()}
        pages = {name: each._repr_html_() for name, each in shown.items()}
    assert {name: len(text) for name, text in texts.items() if len(text) > 400} == {}
    assert {name: len(text) for name, text in pages.items() if len(text) > 5_000} == {}
    assert "6" in texts["ingest"] and "impressions" in texts["ingest"]
    assert "6 samples" in texts["build"]
    assert "Rows(1 rows of 500 columns" in texts["rows"]
    assert "480 more columns" in pages["rows"]
    assert "column_of_a_long_name_0" in pages["table"]
    assert "raw.wide" in pages["lake"]


def test_a_notebook_shows_the_handle_of_a_table_that_is_gone(settings: hr.Settings) -> None:
    with hr.Lake.open(settings) as lake:
        table = events_table(lake)
        lake.catalog.drop_table(("raw", "events"))
        assert "cannot be read" in table._repr_html_()


def test_what_is_shown_is_escaped_and_cut() -> None:
    page = rows_html(["<b>"], [["<script>" * 40]] * 30, total=90)
    assert "<b>" not in page and "<script>" not in page
    assert "70 more rows" in page and len(page) < 3_000


_VALUES = pa.table(
    {
        "id": pa.array([9_007_199_254_740_993, None, 3], pa.int64()),
        "at": pa.array([1, 2, None], pa.timestamp("us", "UTC")),
        "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
        "vector": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    }
)


def test_what_is_read_goes_on_to_other_libraries_with_equal_values() -> None:
    rows = hr.Rows(_VALUES)
    frame = rows.to_pandas()
    assert frame["id"].to_list()[:1] == [9_007_199_254_740_993]
    assert str(frame["id"].dtype) == "Int64"
    assert str(frame["at"].dt.tz) == "UTC"
    polars = rows.to_polars()
    assert polars["id"].to_list() == _VALUES["id"].to_pylist()
    assert polars["at"].to_list() == _VALUES["at"].to_pylist()
    assert polars["tags"].to_list() == _VALUES["tags"].to_pylist()
    assert polars["vector"].to_list() == _VALUES["vector"].to_pylist()
    relation = rows.to_duckdb()
    assert relation.filter("id is null").fetchall()[0][2] == []
    assert relation.aggregate("max(id)").fetchone() == (9_007_199_254_740_993,)
    with duckdb.connect() as own:
        assert rows.to_duckdb(own).aggregate("count(*)").fetchone() == (3,)
        assert own.sql("select sum(id) - 3 from rows").fetchone() == (9_007_199_254_740_993,)
    assert pa.table(rows).equals(_VALUES)
    assert [each["id"] for each in rows] == _VALUES["id"].to_pylist()
    assert rows.to_arrow() is _VALUES


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_package_for_frames_that_is_not_there_is_named(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with refused(ExtraMissingError, package=package, extra="frames"):
        getattr(hr.Rows(_VALUES), f"to_{package}")()
