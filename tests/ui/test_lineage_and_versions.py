"""The pages of lineage and of dataset versions, run by Streamlit itself."""

from headrace.api import Lake
from tests.ui.conftest import Open
from tests.ui.factories import fill
from tests.ui.test_pages import metrics, texts


def test_lineage_without_a_selection_shows_only_the_graph(app: Open, full: Lake) -> None:
    _ = full
    shown = app("lineage")
    assert not shown.dataframe
    assert "impressions/*.jsonl" in shown.selectbox(key="node").options


def test_selecting_a_node_shows_its_inputs_and_outputs(app: Open, full: Lake) -> None:
    _ = full
    shown = app("lineage")
    shown.selectbox(key="node").select("staging.impressions").run()
    assert not shown.exception
    inputs, outputs, *_ = (each.value for each in shown.dataframe)
    assert list(inputs["from"]) == ["raw.impressions"]
    assert list(inputs["behind"]) == ["1 newer commit"]
    assert set(outputs["to"]) == {"features.item_ctr", "samples.ctr"}


def test_lineage_of_a_version_is_what_it_pins(app: Open, full: Lake) -> None:
    _ = full
    shown = app("lineage", at="ctr v1", node="samples.ctr")
    names = set(shown.selectbox(key="node").options)
    assert {"ctr v1", "samples.ctr", "features.item_ctr", "raw.impressions"} <= names
    assert not {"ctr v2", "online store"} & names
    inputs, outputs, *_ = (each.value for each in shown.dataframe)
    assert list(inputs["from"]) == ["features.item_ctr"]
    assert list(outputs["to"]) == ["ctr v1"]
    assert {*inputs["behind"], *outputs["behind"]} == {"pinned"}


def test_the_online_store_is_a_node_with_its_views(app: Open, full: Lake) -> None:
    _ = full
    shown = app("lineage", node="online store")
    inputs, *_, views = (each.value for each in shown.dataframe)
    assert list(inputs["from"]) == ["features.item_ctr"]
    assert list(views["view"]) == ["features.item_ctr"]


def test_columns_lead_to_the_columns_they_come_from_and_back(app: Open, full: Lake) -> None:
    _ = full
    of_version = app("lineage", node="ctr v2").dataframe[-1].value
    found = dict(zip(of_version["column"], of_version["comes from"], strict=True))
    assert found["ctr v2.ctr_1d"] == "features.item_ctr.ctr_1d"
    assert found["ctr v2.sample_id"] == "staging.impressions.impression_id"
    of_view = app("lineage", node="features.item_ctr").dataframe[-1].value
    own = "features.item_ctr.ctr_1d"
    assert list(of_view["column"]) == [own, "ctr v1.ctr_1d", "ctr v2.ctr_1d"]
    assert dict(zip(of_view["column"], of_view["how"], strict=True))[own] == "dbt model"
    assert next(iter(of_view["comes from"])) == "staging.impressions.item_id"
    assert len(app("lineage", node="raw.impressions").dataframe) == 2  # nothing is recorded


def test_versions_show_what_differs_first_and_then_the_newest(app: Open, full: Lake) -> None:
    _ = full
    shown = app("versions")
    assert shown.selectbox(key="version").value == "ctr v2"
    assert shown.selectbox(key="with").value == "ctr v1"
    assert metrics(shown)["Rows"] == "48"
    assert metrics(shown)["Positives"] == "2"
    assert 'lake.dataset("ctr", version=2)' in texts(shown)
    days, moves, compared, labels, pins = (each.value for each in shown.dataframe)
    assert list(days["change"]) == ["changed", "added"]
    assert next(iter(days["cause"])) == "late input of features.item_ctr"
    assert list(moves["column"]) == ["ctr_1d", "item_id"]
    assert list(moves["state"]) == ["moved", "as before"]
    assert list(moves["shift, σ"]) == [2.0, 0.0]
    assert "values of 1 column moved" in texts(shown)
    assert list(compared["±"]) == ["+1", "+23"]
    assert list(labels["rows"]) == [2, 46]
    assert list(pins["tag"]) == ["ctr-v2", "ctr-v2"]


def test_a_link_opens_a_comparison(app: Open, full: Lake) -> None:
    _ = full
    shown = app("versions", version="ctr v1", **{"with": "ctr v2"})
    assert "From **ctr v1** to **ctr v2**" in texts(shown)
    assert "Contents of ctr v1" in texts(shown)
    gone = app("versions", version="ctr v1", **{"with": "ctr v9"})
    assert "`ctr v9` is no other version" in gone.warning[0].value


def test_one_version_alone_has_nothing_to_compare(app: Open, lake: Lake) -> None:
    fill(lake, dataset_versions=1)
    shown = app("versions", version="ctr v1")
    assert metrics(shown)["Rows"] == "24"
    assert len(shown.selectbox) == 1


def test_tables_without_versions_name_the_command_that_publishes(app: Open, lake: Lake) -> None:
    fill(lake, dataset_versions=0)
    assert "headrace datasets publish ctr" in texts(app("versions"))


def test_the_load_snippet_is_python(app: Open, full: Lake) -> None:
    _ = full
    (snippet,) = [each.value for each in app("versions").code if "SampleLoader" in each.value]
    compile(snippet, "snippet", "exec")
    # the exposure's own columns, the logging policy's probability among them, are no inputs
    assert "recent" not in snippet
    assert "ctr_1d" in snippet
