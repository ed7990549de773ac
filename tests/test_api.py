"""The names people use from Python."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

import headrace as hr
from headrace.errors import DatasetNotFoundError, DefinitionError, SnapshotNotFoundError
from headrace.scaffold.lake import apply_lake, plan_lake
from headrace.tables.refs.refs import tag
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
        assert lake.read("raw.events").column_names == table.head().schema.names
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


def test_the_verbs_of_the_command_line_take_names(tmp_path: Path) -> None:
    apply_lake(plan_lake(tmp_path))
    samples = tmp_path / "lake" / "samples" / "feed.yaml"
    lines = [each for each in samples.read_text().splitlines() if "features" not in each]
    samples.write_text("\n".join(lines))
    settings = hr.Settings.load(env={}, path=tmp_path / "lake" / "lake.toml")
    with hr.Lake.open(replace(settings, threads=1)) as lake:
        assert lake.ingest("impressions").rows == 6
        assert lake.build("feed").rows == 6
        assert lake.publish("feed", allow_pending=True).lock.rows == 6
        assert lake.read("samples.feed").num_rows == 6
        again, dataset = lake.publish("feed", allow_pending=True), lake.dataset("feed")
        for shown in (again, dataset, lake, lake.table("samples.feed")):
            assert len(repr(shown)) < 300
        for shown in (again, dataset):
            assert shown.lock.content_hash[:12] in shown._repr_html_()
            assert "<td>feed v1</td>" in shown._repr_html_()
        assert "feed v1, 6 rows" in repr(dataset)
        with pytest.raises(DefinitionError):
            lake.ingest("clicks")
        with pytest.raises(DefinitionError):
            lake.build("impressions")
