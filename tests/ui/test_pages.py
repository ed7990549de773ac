"""Every page, on an empty lake and on a full one, run by Streamlit itself."""

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from pyiceberg.table import Table
from streamlit.testing.v1 import AppTest

from headrace import clock
from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.engines.extensions import load_iceberg_extension, open_in_memory
from headrace.errors import FindingCode
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.ingest import progress
from headrace.ingest.progress import Phase, Progress
from headrace.ingest.run import ingest
from headrace.maintenance.compaction.compact import compact
from headrace.registry.checks import record_check
from headrace.standing.causes import causes
from headrace.standing.findings import findings
from headrace.standing.read import read_lake
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import OpenLake
from headrace.tables.writer import write_batches
from tests.conftest import ROOT
from tests.ui.conftest import Open
from tests.ui.factories import derive, fill, impression, write_impressions
from ui import data
from ui.graph import Arrow
from ui.ingest_data import ingest_facts
from ui.snippets import table_snippets

CATALOG_CALLS_MAX = 18  # of three streams, however many tables there are
PAGES = ("overview", "ingest", "tables", "samples", "serving", "lineage", "versions")


def texts(app: AppTest) -> str:
    shown = (*app.markdown, *app.text, *app.caption, *app.subheader, *app.code)
    return "\n".join(str(each.value) for each in shown)


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_lake_says_what_to_do_next_and_stays_empty(
    app: Open, settings: Settings, page: str
) -> None:
    shown = app(page)
    assert shown.title[0].value.lower() == page
    assert "make demo" in texts(shown)
    assert not settings.state_dir.exists()


def links(app: AppTest) -> list[str]:
    return [each.proto.label for each in app.get("page_link")]


def test_the_overview_says_what_is_unhealthy_and_why(app: Open, full: Lake) -> None:
    _ = full
    shown = app()
    assert len(findings(data.lake_facts().standing)) == 5
    assert "5 findings need attention" in shown.error[0].value
    assert metrics(shown)["Complete up to"].endswith("y ago")
    everything = texts(shown)
    assert "6 records rejected: wrong_type (6)" in everything
    assert "6 of 6 files are small; expected gain: 5 fewer files" in everything
    assert "headrace maintain" in everything
    assert "behind: staging.impressions, features.item_ctr, online store and 1 more" in everything
    assert metrics(shown)["Dead letters"] == "6"


def test_the_pages_find_what_the_command_line_finds(app: Open, lake: Lake) -> None:
    fill(lake)
    write_impressions(lake.settings, "waiting", impression(31))
    record_check(lake.registry, "samples.ctr", "no_leaks", passed=False)
    location = lake.table("staging.impressions").head().metadata_location
    damaged = Path(location.removeprefix("file://"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    _ = app  # its environment is what `data` reads
    found = findings(data.lake_facts().standing)
    assert found == findings(read_lake(lake.settings).standing)
    assert len({each.code for each in found}) >= 5
    unreadable = [each.subject for each in found if each.code == FindingCode.UNREADABLE]
    assert unreadable == ["staging.impressions"]


def test_the_overview_draws_the_river_with_links_to_every_stop(app: Open, full: Lake) -> None:
    _ = full
    shown = app()
    titles = ["**Sources**", "**Raw**", "**Staging**", "**Features**", "**Samples**"]
    drawn = [each.value.split()[0] for each in shown.markdown if each.value.startswith("**")]
    assert [each for each in drawn if each in titles] == titles
    small = [each.removeprefix(":small[").removesuffix("]") for each in links(shown)]
    stops = ["impressions/*.jsonl", "impressions", "item_ctr", "ctr", "ctr v2"]
    assert set(stops) <= set(small)
    assert "1 commit behind" in texts(shown)
    assert "waits upstream" in texts(shown)


def test_the_overview_shows_the_queue_and_the_online_store(app: Open, full: Lake) -> None:
    _ = full
    queue, online = (each.value for each in app().dataframe)
    assert list(queue["table"]) == ["dead_letters.records"]
    assert list(queue["action"]) == ["rewrite manifests"]  # all others are still written to
    assert list(online["entities"]) == [3]


def test_the_icon_is_set_before_the_navigation_which_would_load_one_from_elsewhere() -> None:
    text = (ROOT / "ui" / "streamlit_app.py").read_text()
    assert text.index("page_icon=ICON") < text.index("st.navigation(")


def test_the_frame_names_the_lake_its_profile_and_the_version(app: Open, full: Lake) -> None:
    _ = full
    for page in PAGES:
        caption = app(page).caption[0].value
        assert f"Lake **{ROOT.name}** · profile local · headrace " in caption


def test_a_page_shows_what_it_has_read_and_goes_on(app: Open, full: Lake) -> None:
    _ = app, full
    st.cache_resource.clear()
    first = data.lake_facts(within_s=0)
    assert (len(first.tables), len(first.unread)) == (1, 4)
    second = data.lake_facts(within_s=0)
    assert (len(second.tables), len(second.unread)) == (2, 3)
    assert not data.lake_facts().unread


def test_no_table_is_begun_that_would_probably_end_too_late(
    app: Open, full: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = app, full
    st.cache_resource.clear()
    st.cache_data.clear()
    see = data._see  # pyright: ignore[reportPrivateUsage]
    now_s = 0.0

    def slowly(lake: OpenLake, name: str) -> object:
        nonlocal now_s
        now_s += 60
        return see(lake, name)

    monkeypatch.setattr(data, "_see", slowly)
    monkeypatch.setattr(data, "time", SimpleNamespace(monotonic=lambda: now_s))
    assert len(data.lake_facts(within_s=130).tables) == 2  # the third would end after 180


def test_a_page_opens_only_tables_that_changed(
    app: Open, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    opened: list[object] = []
    load = MemoCatalog.load_table

    def counting(catalog: MemoCatalog, identifier: str | tuple[str, ...]) -> Table:
        opened.append(identifier)
        return load(catalog, identifier)

    app()
    st.cache_data.clear()
    app()
    st.cache_data.clear()
    monkeypatch.setattr(MemoCatalog, "load_table", counting)
    data.lake_facts()
    streams = {str(each.table) for each in load_streams(lake.settings).values()}
    # of unchanged tables only those that ingestion writes, whose sources change without a commit
    changed = {".".join(each) for each in opened if isinstance(each, tuple)}
    # and those that a job of Flink would write: whether one owns them is asked each time
    live = {"features.item_clicks_rows", "samples.ctr_live"}
    assert changed <= {*streams, *live, "dead_letters.records"}
    assert len(opened) <= CATALOG_CALLS_MAX


def test_a_healthy_lake_is_called_healthy(
    app: Open, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lake").mkdir()
    shutil.copy(ROOT / "lake" / "lake.toml", tmp_path / "lake")
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    derive(lake, "features.item_ctr", derive(lake, "staging.impressions"))
    healthy = app().success[0].value
    assert healthy.startswith("**Healthy**")
    assert "Dagster" in healthy  # the page does not cover runs, and says so


def test_files_that_wait_and_checks_that_failed_are_found(app: Open, lake: Lake) -> None:
    fill(lake)
    write_impressions(lake.settings, "waiting", impression(31))
    record_check(lake.registry, "samples.ctr", "no_leaks", passed=False)
    record_check(lake.registry, "samples.ctr", "unique_sample_ids", passed=True)
    shown = app()
    everything = texts(shown)
    assert "1 file of `impressions/*.jsonl` not ingested yet" in everything
    assert "1 check failed: `no_leaks` of samples.ctr" in everything
    assert "unique_sample_ids" not in everything
    inputs = app("lineage", node="raw.impressions").dataframe[0].value
    assert list(inputs["behind"]) == ["1 waiting file"]


def test_fields_that_do_not_fit_and_missing_sources_are_found(app: Open, lake: Lake) -> None:
    misspelt = impression(1, sessionId="s1", session_id=None, shelf="b")
    write_impressions(lake.settings, "a", misspelt)
    ingest(lake, load_streams(lake.settings)["impressions"])
    shown = app()
    everything = texts(shown)
    assert "undeclared field `sessionId` in 1 record; did you mean `session_id`?" in everything
    assert "no record has `propensity`, `user_id` and `affinity_items`" in everything
    assert "matches `clicks/*.csv`" in everything
    streams = app("ingest").dataframe[0].value.set_index("stream")
    assert streams.loc["impressions", "undeclared fields"] == "sessionId, shelf"
    assert "propensity" in streams.loc["impressions", "missing fields"]
    assert streams.loc["clicks", "missing fields"] == "—"


def test_an_online_store_that_cannot_be_read_leaves_the_pages_to_the_tables(
    app: Open, lake: Lake
) -> None:
    fill(lake)
    with contextlib.closing(sqlite3.connect(lake.settings.online_store)) as store:
        store.execute("pragma user_version = 1")  # as an earlier version of headrace wrote it
    for page in PAGES:
        assert app(page).title[0].value.lower() == page
    shown = app()
    assert "5 tables, read at" in texts(shown)
    assert "**online store**  \ncannot be read" in texts(shown)
    assert "publish the views again" in texts(shown)


def test_dead_letters_of_a_stream_that_is_not_declared_any_more_count(
    app: Open, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    shutil.copytree(ROOT / "lake", tmp_path / "lake")
    (tmp_path / "lake" / "streams" / "impressions.yaml").unlink()
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    shown = app()
    assert metrics(shown)["Dead letters"] == "6"
    assert "wrong_type (6)" in texts(shown)


def test_a_view_that_moved_on_is_behind_in_the_online_store(app: Open, lake: Lake) -> None:
    fill(lake)
    view = lake.table("features.item_ctr")
    append(view, write_batches(view, view.head().batches()), provenance=Provenance())
    app()
    (cause,) = causes(data.lake_facts().flow)
    assert "online store" in cause.affected
    assert "features.item_ctr" in cause.affected  # itself behind what it is computed from
    outputs = app("lineage", node="features.item_ctr").dataframe[1].value.set_index("to")
    assert outputs.loc["online store", "behind"] == "1 newer commit"
    assert outputs.loc["samples.ctr", "behind"] == "1 newer commit"


def test_an_unknown_lag_is_not_shown_as_none() -> None:
    assert Arrow(source="a", target="b", snapshot_id=1).lag == "—"
    assert Arrow(source="a", target="b", snapshot_id=1, behind=0).lag == "up to date"


def test_one_damaged_table_leaves_the_pages_to_the_others(app: Open, lake: Lake) -> None:
    fill(lake)
    damaged = lake.table("features.item_ctr").head().metadata_location
    path = Path(damaged.removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:100])
    for page in PAGES:
        assert not app(page).exception
    shown = app()
    assert "5 tables, read at" in texts(shown)
    assert len(data.lake_facts().tables) == 4
    assert "**features.item_ctr**  \ncannot be read" in texts(shown)
    assert "features.item_ctr cannot be read" in texts(app("tables"))
    st.cache_resource.clear()
    st.cache_data.clear()
    reads = [data.lake_facts(within_s=0) for _ in range(6)]
    assert not reads[-1].unread  # it keeps no call from another table


def test_a_dropped_table_is_history_and_nothing_to_look_at(app: Open, lake: Lake) -> None:
    fill(lake)
    lake.catalog.drop_table(("staging", "impressions"))
    shown = app()
    assert "4 tables, read at" in texts(shown)
    assert causes(data.lake_facts().flow) == ()
    lineage = app("lineage", node="staging.impressions")
    assert "dropped" in texts(lineage)
    assert list(lineage.dataframe[0].value["from"]) == ["raw.impressions"]


def test_the_ingest_page_shows_each_stream_and_its_dead_letters_by_reason(
    app: Open, full: Lake
) -> None:
    _ = full
    shown = app("ingest", stream="impressions")
    streams = shown.dataframe[0].value.set_index("stream")
    row = streams.loc["impressions"]
    assert (row["rows"], row["dead letters"], row["service"]) == (7, 6, "not followed")
    assert row["refused lately"] == pytest.approx(6 / 13)
    assert (row["behind"], row["watermark"]) == ("—", "2019-11-24 06:00")
    assert streams.loc["clicks", "last commit"] == "never"
    (letter,) = shown.dataframe[1].value.to_dict("records")
    assert (letter["code"], letter["field"], letter["records"]) == ("wrong_type", "item_id", 6)
    assert letter["newest at"].startswith("impressions/")
    assert "not a number" in letter["reason"]
    assert "headrace dead-letters replay impressions" in texts(shown)
    (facts,) = (each for each in ingest_facts() if each.name == "impressions")
    assert sum(each.rows for each in facts.history) == 7
    assert sum(each.commits for each in facts.history) == 7
    assert sum(each.dead_letters for each in facts.history) == 6
    drawn = [json.loads(each.proto.spec)["series"][0] for each in shown.get("echarts_chart")]
    assert [each["name"] for each in drawn] == ["rows", "commits", "y", "late rows", "%"]
    assert all(each["data"] for each in drawn)


def test_a_stream_without_a_commit_has_no_history(app: Open, full: Lake) -> None:
    _ = full
    shown = app("ingest", stream="clicks")
    assert not shown.get("echarts_chart")
    assert texts(shown).count("Nothing was committed yet") == 5


def test_the_ingest_page_says_what_a_service_says_of_a_stream(app: Open, lake: Lake) -> None:
    fill(lake)
    said = Progress(
        stream="impressions", phase=Phase.FOLLOWING, updated_ms=clock.now_ms(), lag={"t": 7},
        behind_s=12.0, stretch=2, stretch_reason="about 9,000 small files",
    )  # fmt: skip
    progress.write(lake.settings, said)
    progress.write(
        lake.settings, Progress(stream="clicks", phase=Phase.FAILED, error="offsets are gone")
    )
    progress.write(
        lake.settings,
        Progress(
            stream="items", phase=Phase.FOLLOWING, updated_ms=clock.now_ms(),
            former_error="fenced: another writer", former_ended_ms=1_714_564_800_000,
        ),
    )  # fmt: skip
    shown = app("ingest")
    streams = shown.dataframe[0].value.set_index("stream")
    assert streams.loc["impressions", "service"] == "following"
    assert streams.loc["impressions", "behind"] == "7 records, 12 s"
    assert "about 9,000 small files" in shown.warning[0].value
    assert "**clicks** failed" in shown.error[0].value
    (former,) = (each.value for each in shown.info if "**items**" in each.value)
    assert "ended at 2024-05-01 12:00 UTC with fenced: another writer" in former


def test_the_tables_page_lists_every_table_worst_first(app: Open, full: Lake) -> None:
    _ = full
    shown = app("tables")
    tables = shown.dataframe[0].value
    assert list(tables["score"]) == sorted(tables["score"])
    assert next(iter(tables["table"])) == "dead_letters.records"
    by_name = tables.set_index("table")
    assert by_name.loc["raw.impressions", "rows"] == 7
    assert by_name.loc["raw.impressions", "watermark, UTC"] == "2019-11-24 06:00"
    assert by_name.loc["raw.impressions", "state"] == "fresh"
    assert by_name.loc["samples.ctr", "state"] == "behind"
    assert set(shown.pills(key="stage").options) == {
        "dead_letters", "features", "raw", "samples", "staging"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"find": "IMPRESS"}, {"raw.impressions", "staging.impressions"}),
        ({"stage": "samples"}, {"samples.ctr"}),
        ({"state": "behind"}, {"staging.impressions", "features.item_ctr", "samples.ctr"}),
        ({"state": "behind", "find": "ctr", "stage": "features"}, {"features.item_ctr"}),
    ],
)
def test_a_link_filters_the_list_of_tables(
    app: Open, full: Lake, query: dict[str, str], names: set[str]
) -> None:
    _ = full
    assert set(app("tables", **query).dataframe[0].value["table"]) == names


def test_a_search_that_finds_nothing_says_so(app: Open, full: Lake) -> None:
    _ = full
    shown = app("tables", find="nothing like it")
    assert len(shown.dataframe) == 0
    assert "0 of 5 tables" in texts(shown)


def test_a_deep_link_opens_a_table(app: Open, full: Lake) -> None:
    shown = app("tables", table="raw.impressions")
    assert shown.subheader[0].value == "raw.impressions"
    assert metrics(shown)["Files"] == "7"
    rows, schema, refs, snapshots, waiting = (each.value for each in shown.dataframe)
    assert len(rows) == 7
    columns = schema.set_index("column")
    assert columns.loc["event_time", "type"] == "timestamptz"
    assert columns.loc["item_id", "null"] == "0 %"
    assert columns.loc["session_id", "null"] == "100 %"
    assert list(refs["ref"]) == ["main"]
    assert list(snapshots["rows"]) == ["+1", "+6"]  # one line for each of two runs
    assert list(snapshots["operation"]) == ["append", "6 × append"]
    assert set(snapshots["state"]) == {"live"}
    assert set(waiting["action"]) == {"major compaction"}
    head = str(full.table("raw.impressions").head().snapshot_id)
    assert f'lake.table("raw.impressions").at(snapshot_id={head})' in texts(shown)


def test_a_deep_link_to_a_table_that_is_gone_says_so(app: Open, full: Lake) -> None:
    _ = full
    shown = app("tables", table="raw.nothing")
    assert "no table `raw.nothing`" in shown.warning[0].value
    assert len(shown.dataframe[0].value) == 5


def test_rows_that_cannot_be_read_leave_the_rest_of_the_page(app: Open, lake: Lake) -> None:
    fill(lake)
    for file in lake.table("samples.ctr").head().files():
        Path(file.path).write_bytes(b"no Parquet")
    shown = app("tables", table="samples.ctr")
    assert shown.error[0].value == "The rows of samples.ctr cannot be read"
    assert metrics(shown)["Rows"] == "30"


def test_the_snippets_of_a_table_read_it(app: Open, full: Lake) -> None:
    _ = app
    table = full.table("features.item_ctr")
    head = table.head()
    snippets = table_snippets(str(table.name), head.metadata_location, str(head.snapshot_id))
    found: dict[str, Any] = {}
    exec(snippets["headrace"][1], found)  # noqa: S102 - our own snippet
    assert found["rows"].num_rows == 30
    _, *select = snippets["DuckDB"][1].splitlines()
    with open_in_memory() as connection:
        load_iceberg_extension(connection)
        assert len(connection.execute("\n".join(select)).fetchall()) == 30
    compile(snippets["Polars"][1], "snippet", "exec")


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("versions", {"version": "ctr v9"}),
        ("lineage", {"node": "nope"}),
        ("tables", {"table": "raw.impressions", "snapshot": "123"}),
    ],
)
def test_a_link_to_what_is_gone_says_so_on_every_page(
    app: Open, full: Lake, page: str, query: dict[str, str]
) -> None:
    _ = full
    (warning,) = app(page, **query).warning
    *_, (parameter, asked) = query.items()
    assert f"no {parameter} `{asked}`" in warning.value


def test_a_snapshot_shows_what_it_was_computed_from(app: Open, full: Lake) -> None:
    _ = full
    shown = app("tables", table="samples.ctr")
    row = shown.dataframe[3].value.iloc[0]
    assert row["inputs"].startswith("features.item_ctr@…")
    assert list(row["tags"]) == ["ctr-v1", "ctr-v2"]
    assert row["run"] == "run-1"


def test_a_commit_shows_after_the_cache_has_aged(app: Open, lake: Lake) -> None:
    fill(lake)
    assert metrics(app("tables", table="raw.impressions"))["Files"] == "7"
    compact(lake.table("raw.impressions"))
    st.cache_data.clear()
    shown = app("tables", table="raw.impressions")
    assert metrics(shown)["Files"] == "2"
    assert next(iter(shown.dataframe[3].value["operation"])) == "replace"
    assert next(iter(shown.dataframe[4].value["files"])).endswith("→ 2")


def test_an_error_of_the_lake_is_a_message(
    app: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = settings
    monkeypatch.setenv("HEADRACE_PROFILE", "nowhere")
    shown = app("tables")
    assert "settings" in shown.error[0].value
    assert "no profile `nowhere`" in shown.error[0].value
