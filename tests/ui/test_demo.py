"""Every page on the lake that `make demo` leaves."""

import pytest
from streamlit.testing.v1 import AppTest

from headrace.api import Lake
from headrace.datasets.versions import find_lockfile
from headrace.engines.extensions import load_iceberg_extension, open_in_memory
from headrace.standing.findings import findings
from headrace.standing.flow import ONLINE_STORE
from tests.conftest import DemoLake
from tests.ui.conftest import Open
from ui import charts, data
from ui.graph import graph_of
from ui.parts import now
from ui.river import STAGES, river
from ui.snippets import version_snippets


@pytest.fixture
def demo(app: Open, demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open pages on the demo's lake."""
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(demo_lake.settings.state_dir))
    return app


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_the_overview_finds_only_unused_fields_in_the_demo(demo: Open, demo_lake: DemoLake) -> None:
    demo()
    facts = data.lake_facts()
    # the log has neither sessions nor users, which its contract allows
    assert [each.text for each in findings(facts.standing)] == [
        "no record has `session_id` and `user_id`"
    ]
    with Lake.open(demo_lake.settings) as lake:
        rows = {str(name): lake.table(name).head().row_count for name in lake.names()}
    assert {each.name: each.rows for each in facts.tables} == rows


def test_the_river_of_the_demo_runs_through_every_stage_and_is_fresh(demo: Open) -> None:
    _ = demo
    stages = river(data.lake_facts(), (), now=now())
    assert {each.name: each.state for each in stages} == dict.fromkeys(STAGES, "fresh")
    assert [len(each.stops) for each in stages] == [3, 3, 3, 4, 1, 1, 1, 5]


def test_every_table_of_the_demo_opens(demo: Open) -> None:
    for name in [each.name for each in data.lake_facts().tables]:
        shown = demo("tables", table=name)
        assert shown.subheader[0].value == name
        assert int(metrics(shown)["Health"].split()[0]) > 0


def test_the_lineage_of_the_demo_runs_from_files_to_datasets_and_online(demo: Open) -> None:
    _ = demo  # its environment is what `data` reads
    graph = graph_of(data.lake_facts())
    river = graph.river("samples.ctr")
    assert {"impressions/*.jsonl", "clicks/*.csv", "items/*.parquet", "ctr v1"} <= river
    assert {arrow.source for arrow in graph.inputs(ONLINE_STORE)} >= {"features.item_ctr"}
    alone = [node.id for node in graph.nodes if not graph.inputs(node.id) + graph.outputs(node.id)]
    assert alone == []
    option = charts.lineage(graph, selected="samples.ctr", dark=False)
    (series,) = option["baseOption"]["series"]
    assert len(series["data"][:-2]) == len(graph.nodes)


def test_every_node_of_the_demo_opens(demo: Open) -> None:
    shown = demo("lineage")
    for name in shown.selectbox(key="node").options:
        shown.selectbox(key="node").select(name).run()
        assert not shown.exception, name


def test_columns_of_samples_and_models_of_the_demo_come_from_columns_that_exist(
    demo: Open, demo_lake: DemoLake
) -> None:
    _ = demo
    traced = {each.name: each.sources for each in data.lake_facts().tables if each.sources}
    assert {"samples.ctr", "features.item_ctr", "staging.clicks"} <= set(traced)
    with Lake.open(demo_lake.settings) as lake:
        names = {str(name): set(lake.table(name).head().schema.names) for name in lake.names()}
    for table, sources in traced.items():
        for each in sources:
            assert each.column in names[table], (table, each)
            assert each.of in names[str(each.table)], (table, each)


def test_the_load_snippet_of_the_demo_loads_every_row(demo: Open, demo_lake: DemoLake) -> None:
    shown = demo("versions")
    with Lake.open(demo_lake.settings) as lake:
        lock = find_lockfile(lake, "ctr")
    assert metrics(shown)["Rows"] == f"{lock.rows:,}"
    facts = dict(shown.table[0].value.to_dict("split")["data"])
    assert facts["Verified"].endswith(" UTC")  # by the check of its asset
    (snippet,) = [each.value for each in shown.code if "SampleLoader" in each.value]
    seen: list[int] = []
    # what a reader copies, with a body in the loop
    exec(snippet.replace("...", "seen.append(len(batch))"), {"seen": seen})  # noqa: S102 - our own snippet
    assert sum(seen) == lock.rows


def test_a_sample_of_the_demo_shows_each_value_with_its_times(demo: Open) -> None:
    shown = demo("samples")
    assert metrics(shown)["Samples"] == "30,168"
    values, labels = (each.value for each in shown.dataframe)
    assert (values["known_at, UTC"] >= values["event_time, UTC"]).all()
    assert set(labels["label"]) == {"click"}
    picked = shown.subheader[1].value.removeprefix("Sample ")
    again = demo("samples", sample=picked)
    assert again.subheader[1].value == f"Sample {picked}"
    gone = demo("samples", sample="nothing/like/it")
    assert "has no sample `nothing/like/it`" in gone.warning[0].value


def test_the_duckdb_snippet_of_the_demo_reads_every_row_of_the_version(demo: Open) -> None:
    _ = demo
    lake = data.lake_facts()
    (version,) = lake.versions
    table = lake.table(version.table)
    assert table is not None
    snippets = version_snippets(version, table.metadata_location)
    select = snippets["DuckDB"][1].removeprefix("load iceberg;\n")
    with open_in_memory() as connection:
        load_iceberg_extension(connection)
        connection.execute("set timezone = 'Asia/Kolkata'")  # days are in UTC nevertheless
        (found,) = connection.execute(f"select count(*) from ({select})").fetchall()
    assert found == (version.rows,)
    assert select in snippets["Polars"][1]
