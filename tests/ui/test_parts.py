"""What pages are made of, as plain functions."""

import datetime as dt
import re
import tomllib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from ui import charts, wording
from ui.facts import MinuteFacts, NodeKind
from ui.graph import Arrow, Graph, Node, layout

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
MIB = 1024 * 1024


def graph(*pairs: tuple[str, str]) -> Graph:
    names = sorted({name for pair in pairs for name in pair})
    return Graph(
        nodes=tuple(Node(id=name, kind="table", detail="") for name in names),
        arrows=tuple(Arrow(source=start, target=end) for start, end in pairs),
    )


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (dt.timedelta(seconds=30), "just now"),
        (dt.timedelta(minutes=3), "3 min ago"),
        (dt.timedelta(hours=5), "5 h ago"),
        (dt.timedelta(days=600), "600 d ago"),
        (dt.timedelta(days=2_563), "7 y ago"),
        (-dt.timedelta(hours=2), "in 2 h"),
    ],
)
def test_ages_are_said_in_one_unit(ago: dt.timedelta, said: str) -> None:
    assert wording.age(NOW - ago, now=NOW) == said


def test_durations_are_drawn_in_a_unit_that_keeps_numbers_small() -> None:
    found = [wording.unit_of(seconds)[0] for seconds in (0, 119, 120, 7_200, 200_000, 9e7)]
    assert found == ["s", "s", "min", "h", "d", "y"]


def test_sizes_keep_a_decimal_only_where_there_is_one() -> None:
    assert [wording.size(count) for count in (0, 1_000, 1_536, 128 * MIB)] == [
        "0 B",
        "1,000 B",
        "1.5 KiB",
        "128 MiB",
    ]


@given(st.lists(st.tuples(*[st.sampled_from("abcdefgh")] * 2), max_size=20))
def test_every_node_stands_once_and_arrows_point_right_unless_they_close_a_cycle(
    pairs: list[tuple[str, str]],
) -> None:
    drawn = graph(*[(start, end) for start, end in pairs if start < end])
    laid = layout(drawn)
    column = {name: at for name, (at, _) in laid.places.items()}
    assert sorted(column) == [node.id for node in drawn.nodes]
    assert len(set(laid.places.values())) == len(drawn.nodes)
    assert all(column[arrow.source] < column[arrow.target] for arrow in drawn.arrows)
    jumps = {
        (arrow.source, arrow.target)
        for arrow in drawn.arrows
        if column[arrow.target] - column[arrow.source] > 1
    }
    assert laid.bends.keys() == jumps
    assert layout(drawn) == laid


@given(st.lists(st.tuples(*[st.sampled_from("abcd")] * 2), min_size=1, max_size=12))
def test_a_cycle_is_drawn_too(pairs: list[tuple[str, str]]) -> None:
    drawn = graph(*pairs)
    assert layout(drawn).places.keys() == {node.id for node in drawn.nodes}
    assert len(charts.lineage(drawn, selected=None, dark=True)["baseOption"]["series"]) == 1


def test_the_river_of_a_node_is_all_that_feeds_it_and_all_it_feeds() -> None:
    drawn = graph(("a", "b"), ("b", "c"), ("x", "c"), ("b", "y"))
    assert drawn.river("b") == {"a", "b", "c", "y"}
    assert drawn.river("x") == {"x", "c"}
    around = drawn.around("a", hops=1, nodes_max=9)
    assert {node.id for node in around.nodes} == {"a", "b"}


def large(tables: int) -> Graph:
    kinds: tuple[NodeKind, ...] = ("raw", "staging", "features", "samples", "dataset")
    nodes = [
        Node(id=f"{kind}.t{n}", kind=kind, detail="") for kind in kinds for n in range(tables // 5)
    ]
    arrows = [
        Arrow(source=f"{left}.t{n}", target=f"{right}.t{m}", behind=n % 2)
        for left, right in pairwise(kinds)
        for n in range(tables // 5)
        for m in (n, (n + 1) % (tables // 5))
    ]
    return Graph(nodes=tuple(sorted(nodes, key=lambda node: node.id)), arrows=tuple(arrows))


def test_a_graph_of_500_nodes_is_collapsed_by_kind_and_says_what_is_behind() -> None:
    drawn = large(500).by_kind()
    assert {node.id for node in drawn.nodes} == {"dataset", "features", "raw", "samples", "staging"}
    assert {node.detail for node in drawn.nodes} == {"100 nodes"}
    lag = {(each.source, each.target): each.behind for each in drawn.arrows}
    assert lag["raw", "staging"] == 100
    assert len(drawn.arrows) == 4


@given(st.integers(0, 99), st.integers(1, 60), st.integers(0, 4))
def test_what_is_around_a_node_of_a_large_graph_is_drawn_and_small(
    at: int, nodes_max: int, hops: int
) -> None:
    name = f"features.t{at}"
    found = large(500).around(name, hops=hops, nodes_max=nodes_max)
    assert name in {node.id for node in found.nodes}
    assert len(found.nodes) <= nodes_max
    option = charts.lineage(found, selected=name, dark=False)
    (series,) = option["baseOption"]["series"]
    # clicks give places in this list: first the nodes, then what only takes room
    assert [each["name"] for each in series["data"][:-2]] == [node.id for node in found.nodes]
    assert charts.lineage_height_px(found) <= 900


@given(
    st.lists(st.integers(1, 2**34), min_size=1, max_size=50),
    st.sampled_from([MIB, 128 * MIB, 512 * MIB]),
)
def test_every_file_is_in_one_bar(file_bytes: list[int], target_bytes: int) -> None:
    option = charts.file_sizes(file_bytes, target_bytes=target_bytes)
    (series,) = option["series"]
    assert sum(bar["value"] for bar in series["data"]) == len(file_bytes)
    *_, last = series["data"]
    assert last["value"] == sum(each >= target_bytes for each in file_bytes)
    assert len(series["data"]) == len(option["xAxis"]["data"])


def test_markup_in_names_stays_text() -> None:
    drawn = graph(("<b>{x}</b>", "raw.a"))
    (series,) = charts.lineage(drawn, selected=None, dark=False)["baseOption"]["series"]
    data = series["data"][0]
    assert "<b>" not in data["tooltip"]["formatter"]
    assert "{x}" not in data["label"]["formatter"]


def test_the_pages_listen_on_loopback_only_and_report_nothing() -> None:
    config = tomllib.loads((ROOT / "ui" / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


def test_pages_inject_one_style_and_only_what_reads_facts_calls_the_library() -> None:
    for path in (ROOT / "ui").rglob("*.py"):
        text = path.read_text()
        assert "unsafe_allow_html" not in text
        # no parameter of Streamlit lets the label of a link wrap, and a name is never cut
        assert text.count("st.html") == (path.name == "river_view.py"), path
        if not path.stem.endswith(
            ("data", "history")
        ):  # what to do about a finding is data, and calls nothing
            pure = r"from headrace\.(errors|loopback|standing\.\w+|samples\.\w+|registry\.checks|datasets\.(?:drift|profile)) import "
            named = re.sub(
                rf"{pure}|from headrace.maintenance.health.health import HealthPart, is_fit",
                "",
                text,
            )
            assert "from headrace" not in named, path


def test_times_and_sizes_are_written_by_one_module_and_never_by_the_browser() -> None:
    # a browser would show its own time zone, and sizes in units of its own
    own_forms = ("DatetimeColumn", "DateColumn", 'format="bytes"', 'format="distance"')
    for path in (ROOT / "ui").rglob("*.py"):
        assert [form for form in own_forms if form in path.read_text()] == [], path


def test_every_cache_has_a_greatest_number_of_entries() -> None:
    # one without keeps what reloads left behind, also once it is too old to be shown
    found = 0
    for path in (ROOT / "ui").rglob("*.py"):
        for kept in re.findall(r"@st\.cache_\w+(.*)", path.read_text()):
            found += 1
            assert "max_entries=" in kept, path
    assert found > 5


def test_every_chart_over_time_is_in_utc() -> None:
    at = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    minute = MinuteFacts(minute=at, rows=1, commits=1)
    for option in (
        charts.over_time([(at, 1)], name="rows"),
        charts.per_minute([minute], what="rows"),
    ):
        axis = option["xAxis"]
        assert (axis["type"], option["useUTC"]) == ("time", True)
        # a single value is not drawn on an axis of days
        assert axis["max"] - axis["min"] == 11 * 60_000
