"""A damaged table: what happened, where, and the next command, on its page and in the overview."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from headrace.api import Lake
from headrace.storage.locations import local_path
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from tests.ui.conftest import Open
from tests.ui.factories import derive, fill
from tests.ui.test_pages import texts

TABLE = "features.item_ctr"
Damage = Callable[[Path], object]


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize("damage", [tear, Path.unlink], ids=["torn", "gone"])
def test_damaged_metadata_is_told_with_what_helps(app: Open, lake: Lake, damage: Damage) -> None:
    fill(lake)
    location = lake.table(TABLE).head().metadata_location
    damage(Path(local_path(location)))
    for page in (app(), app("tables", table=TABLE), app("tables")):
        everything = texts(page)
        assert f"{TABLE}" in everything
        assert local_path(location) in everything
        assert "restore it from a backup, byte for byte" in everything


def test_a_stream_whose_table_is_damaged_hides_no_other_on_the_ingest_page(
    app: Open, lake: Lake
) -> None:
    fill(lake)
    location = local_path(lake.table("raw.impressions").head().metadata_location)
    tear(Path(location))
    shown = app("ingest", stream="impressions")
    streams = shown.dataframe[0].value.set_index("stream")
    assert list(streams.index) == ["clicks", "impressions", "items"]
    assert streams.loc["clicks", "last commit"] == "never"
    assert streams.loc["impressions", "last commit"] == "—"
    everything = texts(shown)
    assert "impressions cannot be read" in everything
    assert location in everything
    assert not shown.get("echarts_chart")


@pytest.mark.parametrize("damage", [tear, Path.unlink], ids=["torn", "gone"])
def test_damaged_rows_are_told_with_what_helps_until_they_can_be_read(
    app: Open, lake: Lake, damage: Damage
) -> None:
    table = derive(lake, TABLE, derive(lake, "staging.impressions"), hours=10)
    sound = table.head().snapshot_id
    append(table, write_batches(table, table.head().batches()), provenance=Provenance())
    newest = {file.path for file in table.head().files()}
    (path, *_) = newest - {file.path for file in table.at(snapshot_id=sound or 0).files()}
    file = Path(local_path(path))
    content = file.read_bytes()
    damage(file)
    assert local_path(path) not in texts(app())  # nobody read its rows yet
    shown = app("tables", table=TABLE)
    assert shown.error[0].value == f"The rows of {TABLE} cannot be read"
    for page in (shown, fresh(app)):
        everything = texts(page)
        assert local_path(path) in everything
        assert f"headrace tables rollback {TABLE} {sound}" in everything
    # the river says it in short: its columns are narrow
    faults = [each.value for each in page.markdown if ":red[:material/warning:" in each.value]
    assert len(faults) == 1
    assert f"…/{file.name[:20]}" in faults[0]
    assert "warehouse" not in faults[0]
    file.write_bytes(content)
    assert local_path(path) not in texts(fresh(app))
    assert not app("tables", table=TABLE).error


def fresh(app: Open) -> AppTest:
    st.cache_data.clear()
    return app()
