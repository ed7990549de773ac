"""No arrow of the lineage page runs through a name: the geometry that ECharts draws by."""

import tomllib
from collections.abc import Iterator, Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.ui.test_parts import graph
from ui import charts
from ui.arrows import NODE_PX, bends, line
from ui.graph import Graph

_STREAMS, _VIEWS = (
    ("clicks", "impressions", "items"),
    ("item_ctr", "position_ctr", "segment_activity"),
)
DEMO = graph(
    *((f"{each}/*.jsonl", f"raw.{each}") for each in _STREAMS),
    *((f"raw.{each}", f"staging.{each}") for each in _STREAMS),
    *((f"staging.{s}", f"features.{v}") for s, v in product(_STREAMS[:2], _VIEWS)),
    ("staging.items", "features.item_profile"),
    *((f"features.{v}", to) for v, to in product((*_VIEWS, "item_profile"), ("samples.ctr", "online store"))),
    ("staging.clicks", "samples.ctr"),
    ("staging.impressions", "samples.ctr"),
    ("staging.clicks", "online store"),
    ("samples.ctr", "ctr v1"),
    ("ctr v1", "model click-model"),
)  # fmt: skip


def through_names(drawn: Graph) -> Iterator[tuple[str, str, str]]:
    """Yield arrows and the names that they run through, from what the browser is told to draw."""
    (series,) = charts.lineage(drawn, selected=None, dark=False)["baseOption"]["series"]
    at = {each["name"]: (each["x"], each["y"]) for each in series["data"][:-2]}
    for link in series["links"]:
        (x1, y1), (x2, y2) = at[link["source"]], at[link["target"]]
        curve = link["lineStyle"]["curveness"]
        # as ECharts places the middle of a quadratic curve
        xc, yc = (x1 + x2) / 2 - (y1 - y2) * curve, (y1 + y2) / 2 - (x2 - x1) * curve
        for name, (x, y) in at.items():
            if name in (link["source"], link["target"]):
                continue
            half = 3.4 * len(name)  # of a bold letter of 12 px
            for step in range(101):
                t = step / 100
                px = (1 - t) ** 2 * x1 + 2 * t * (1 - t) * xc + t * t * x2
                py = (1 - t) ** 2 * y1 + 2 * t * (1 - t) * yc + t * t * y2
                if abs(px - x) < half and 18 < py - y < 48:
                    yield link["source"], link["target"], name
                    break


def crossed(
    start: str,
    end: str,
    *,
    bend_px: float,
    places: Mapping[str, tuple[float, float]],
    names: Mapping[str, str],
) -> list[str]:
    """Name the nodes, other than its ends, whose name or circle an arrow comes near."""
    found: list[str] = []
    for each, (x, y) in places.items():
        half, reach = 3.6 * len(names[each]) + 4, NODE_PX / 2 + 4
        for px, py in line(places[start], places[end], bend_px=bend_px).tolist():
            on_name = abs(px - x) < half and 17 < py - y < 50
            on_circle = abs(px - x) < reach and abs(py - y) < reach
            if each not in (start, end) and (on_name or on_circle):
                found.append(each)
                break
    return found


def test_arrows_of_the_demo_go_around_names_and_where_there_is_no_way_behind_them() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "bends", lambda _places, _names, wished: wished)
        before = len(list(through_names(DEMO)))
    assert len(list(through_names(DEMO))) <= before * 2 / 3
    config = tomllib.loads((ROOT / "ui" / ".streamlit" / "config.toml").read_text())
    for scheme in ("light", "dark"):
        option = charts.lineage(DEMO, selected=None, dark=scheme == "dark")
        (series,) = option["baseOption"]["series"]
        # what is drawn above arrows hides them, in the color of the page
        assert series["label"]["backgroundColor"] == config["theme"][scheme]["backgroundColor"]


@given(st.lists(st.tuples(*[st.sampled_from("abcdefgh")] * 2), max_size=20))
def test_no_arrow_crosses_more_than_the_straight_one(pairs: list[tuple[str, str]]) -> None:
    names = {each: f"features.{each}" for each in "abcdefgh"}
    places = {each: (170.0 * (at % 4), 82.0 * (at // 4)) for at, each in enumerate("abcdefgh")}
    arrows = {(a, b): 0.0 for a, b in pairs if places[a][0] < places[b][0]}
    for pair, bend in bends(places, names, arrows).items():
        assert abs(bend) <= 96  # no arrow leaves the drawing
        chosen, straight = (
            crossed(*pair, bend_px=each, places=places, names=names) for each in (bend, 0.0)
        )
        assert len(chosen) <= len(straight)


def test_an_arrow_that_would_run_through_a_name_goes_around_it() -> None:
    places = {"a": (0.0, 0.0), "b": (300.0, -33.0), "c": (600.0, 0.0)}
    names = {"a": "raw.a", "b": "features.position_ctr", "c": "samples.c"}
    assert crossed("a", "c", bend_px=0, places=places, names=names) == ["b"]
    ((pair, bend),) = bends(places, names, {("a", "c"): 0.0}).items()
    assert crossed(*pair, bend_px=bend, places=places, names=names) == []
    assert abs(bend) == pytest.approx(32, abs=16)
