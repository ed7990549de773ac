"""Build ECharts options from facts, as plain dictionaries; colors come from the theme."""

import datetime as dt
from collections.abc import Collection, Sequence
from html import escape
from itertools import pairwise
from typing import Any, Literal, get_args

from ui.arrows import NODE_PX, bends
from ui.facts import MinuteFacts, NodeKind, PartitionFacts, VersionFacts
from ui.graph import Arrow, Graph, layout
from ui.wording import count, size, snapshot

Option = dict[str, Any]

_KINDS: tuple[NodeKind, ...] = get_args(NodeKind)  # in the order of the theme's colors
_LEGEND: tuple[NodeKind, ...] = (  # in the order of the data flow
    "source",
    "raw",
    "dead letters",
    "staging",
    "features",
    "samples",
    "dataset",
    "model",
    "online",
    "job",
    "table",
)
_BIN_FIRST_BYTES, _BIN_STEP = 4 * 1024, 4
_MINUTE_MS, _MINUTES_MIN = 60_000, 10
_WIDTH_PX, _COLUMN_PX_MIN, _ROW_PX = 1060, 170, 82
_PHONE_PX = 300  # as much of the width is in sight on a phone
_HEIGHT_PX_MAX = 900  # a larger graph is zoomed and moved
_BEHIND_COLOR = "#D9822B"  # legible on light and dark; the theme has no color for links


def per_minute(
    history: Sequence[MinuteFacts], *, what: Literal["rows", "commits", "late rows"]
) -> Option:
    """Draw a count of each minute, in UTC; minutes without a commit are left out."""
    values = [
        {"rows": each.rows, "commits": each.commits, "late rows": each.late_rows}[what]
        for each in history
    ]
    minutes_ms = [round(each.minute.timestamp() * 1000) for each in history]
    return {
        "grid": {"left": 8, "right": 16, "top": 16, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "useUTC": True,
        "xAxis": _time_axis(minutes_ms),
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [
            {
                "type": "bar",
                "name": what,
                "barMaxWidth": 16,
                "data": [list(point) for point in zip(minutes_ms, values, strict=True)],
            }
        ],
    }


def over_time(points: Sequence[tuple[dt.datetime, float]], *, name: str) -> Option:
    """Draw a number after each commit as a line of steps, in UTC."""
    times_ms = [round(at.timestamp() * 1000) for at, _ in points]
    return {
        "grid": {"left": 8, "right": 16, "top": 12, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "useUTC": True,
        "xAxis": _time_axis(times_ms) | {"axisLabel": {"hideOverlap": True}},
        "yAxis": {"type": "value"},
        "series": [
            {
                "type": "line",
                "name": name,
                "step": "end",
                "symbolSize": 4,
                "areaStyle": {"opacity": 0.15},
                "data": [[at, value] for at, (_, value) in zip(times_ms, points, strict=True)],
            }
        ],
    }


def _time_axis(times_ms: Sequence[int]) -> Option:
    """Make an axis of at least ten minutes: around a single value ECharts would draw two days."""
    axis: Option = {"type": "time", "minInterval": _MINUTE_MS}
    if not times_ms:
        return axis
    last_ms = max(times_ms)
    first_ms = min(*times_ms, last_ms - _MINUTES_MIN * _MINUTE_MS)
    return axis | {"min": first_ms - _MINUTE_MS // 2, "max": last_ms + _MINUTE_MS // 2}


def file_sizes(file_bytes: Sequence[int], *, target_bytes: int) -> Option:
    """Draw a histogram of file sizes, whose last bars are of the target size and more."""
    edges = [target_bytes]
    while edges[0] > min(file_bytes) and edges[0] > _BIN_FIRST_BYTES:
        edges.insert(0, max(1, edges[0] // _BIN_STEP))
    bins = [(0, edges[0]), *pairwise(edges), (target_bytes, max(*file_bytes, target_bytes) + 1)]
    names = [f"< {size(high)}" for _, high in bins[:-1]] + [f"≥ {size(target_bytes)} (target)"]
    counts = [sum(low <= each < high for each in file_bytes) for low, high in bins]
    return {
        "grid": {"left": 8, "right": 16, "top": 28, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {
            "type": "category",
            "data": names,
            "axisLabel": {"fontSize": 11, "hideOverlap": True},
        },
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [
            {
                "type": "bar",
                "name": "files",
                "data": [
                    {"value": files, "label": {"show": files > 0, "position": "top"}}
                    for files in counts
                ],
                "barMaxWidth": 48,
            }
        ],
    }


def partition_rows(partitions: Sequence[PartitionFacts], *, newest: int = 60) -> Option:
    """Draw the rows of the newest partitions, one bar each; the files are in the tooltip."""
    shown = sorted(partitions, key=lambda each: each.partition)[-newest:]
    return {
        "grid": {"left": 8, "right": 8, "top": 28, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "category", "data": [each.partition for each in shown]},
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [
            {
                "type": "bar",
                "name": "rows",
                "barMaxWidth": 28,
                "data": [
                    {
                        "value": each.rows,
                        "tooltip": {
                            "formatter": f"{escape(each.partition)}<br/>{count(each.rows, 'row')} "
                            f"in {count(len(each.file_bytes), 'file')}"
                        },
                    }
                    for each in shown
                ],
            }
        ],
    }


def rows_by_day(version: VersionFacts) -> Option:
    """Draw the rows of each day of a version."""
    return {
        "grid": {"left": 8, "right": 16, "top": 16, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "category", "data": [day.day.isoformat() for day in version.days]},
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [
            {
                "type": "bar",
                "name": "rows",
                "barMaxWidth": 48,
                "data": [day.rows for day in version.days],
            }
        ],
    }


def lineage(graph: Graph, *, selected: str | None, dark: bool) -> Option:
    """Draw the graph from left to right; all that is up- and downstream of `selected` stands out.

    The n-th entry of the series' data is the n-th node of `graph`; click handling relies on it.
    """
    text = "#E6EDF2" if dark else "#16212B"  # labels with markup do not inherit the theme's color
    lit: Collection[str] = graph.river(selected) if selected else [n.id for n in graph.nodes]
    laid = layout(graph)
    # ECharts keeps the aspect ratio, so the layout assumes the usual width of a page
    column_px = max(_COLUMN_PX_MIN, _WIDTH_PX / max(laid.columns - 1, 1))
    place = {
        name: (column * column_px, row * _ROW_PX) for name, (column, row) in laid.places.items()
    }
    bent = bends(
        place,
        {node.id: max(node.id, node.detail, key=len) for node in graph.nodes},
        {
            (each.source, each.target): laid.bends.get((each.source, each.target), 0) * _ROW_PX
            for each in graph.arrows
        },
    )
    present = {node.kind for node in graph.nodes}
    data = [
        {
            "name": node.id,
            "x": place[node.id][0],
            "y": place[node.id][1],
            "category": _KINDS.index(node.kind),
            "label": {"formatter": f"{{name|{_label(node.id)}}}\n{{detail|{node.detail}}}"},
            "itemStyle": {
                "opacity": 1 if node.id in lit else 0.3,
                "borderWidth": 4 if node.id == selected else 0,
                "borderColor": _BEHIND_COLOR,
            },
            "tooltip": {"formatter": f"{escape(node.id)}<br/>{node.kind}, {node.detail}"},
        }
        for node in graph.nodes
    ]
    links = [
        {
            "source": arrow.source,
            "target": arrow.target,
            "lineStyle": {
                "curveness": _curveness(
                    place[arrow.source],
                    place[arrow.target],
                    bend_px=bent[arrow.source, arrow.target],
                ),
                "opacity": 0.8 if {arrow.source, arrow.target} <= set(lit) else 0.12,
                "width": 2.5 if arrow.behind else 1.5,
                **({"color": _BEHIND_COLOR, "type": "dashed"} if arrow.behind else {}),
            },
            "tooltip": {"formatter": escape(_arrow_text(arrow))},
        }
        for arrow in graph.arrows
    ]
    wide = max(laid.columns - 1, 1) * column_px
    lies = place.get(selected or "", (wide / 2, 0.0))
    data += _corners(laid.rows, width_px=wide)
    option: Option = {
        "legend": {
            "top": 0,
            "left": "center",
            "data": [kind for kind in _LEGEND if kind in present],
        },
        "tooltip": {"trigger": "item"},
        "animation": False,
        "series": [
            {
                "type": "graph",
                "layout": "none",
                "left": 90,
                "right": 90,
                "top": 64,
                "bottom": 36,
                "preserveAspect": "contain",
                "roam": True,
                "nodeScaleRatio": 0,
                "symbol": "circle",
                "symbolSize": NODE_PX,
                "selectedMode": "single",
                "categories": [{"name": kind} for kind in _KINDS],
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 8,
                "label": {
                    "show": True,
                    "position": "bottom",
                    "distance": 4,
                    # drawn above arrows: one that finds no way around passes behind the name
                    "backgroundColor": "#10171D" if dark else "#FFFFFF",
                    "padding": [0, 2],
                    "rich": {
                        "name": {
                            "fontSize": 12,
                            "fontWeight": 600,
                            "color": text,
                            "lineHeight": 16,
                        },
                        "detail": {"fontSize": 11, "color": text, "lineHeight": 14},
                    },
                },
                "data": data,
                "links": links,
            }
        ],
    }
    # on a phone the whole would be a heap: show what is around the selected node, to be moved
    zoom = max(1.0, wide / _PHONE_PX)
    around: Option = {"zoom": zoom, "center": list(lies), "symbolSize": NODE_PX / zoom}
    around["label"] = {"backgroundColor": "transparent"}  # rows are so near that it hides nodes
    phone = {"series": [around]}
    return {"baseOption": option, "media": [{"query": {"maxWidth": 700}, "option": phone}]}


def _corners(rows: int, *, width_px: float) -> list[Option]:
    """Make two nodes without size, so that arrows that pass above or below all nodes fit in."""
    reach = max(rows - 1, 1) / 2 * _ROW_PX
    return [
        {
            "name": f" corner {sign}",
            "x": width_px / 2,
            "y": sign * reach,
            "symbolSize": 0,
            "silent": True,
            "label": {"show": False},
        }
        for sign in (-1, 1)
    ]


def lineage_height_px(graph: Graph) -> int:
    """Return the height in pixels that the longest column of the graph needs."""
    return min(_HEIGHT_PX_MAX, 130 + _ROW_PX * layout(graph).rows)


def _curveness(start: tuple[float, float], end: tuple[float, float], *, bend_px: float) -> float:
    """Return the curveness that puts the middle of an arrow `bend_px` below the straight line."""
    run_px = end[0] - start[0]
    return -2 * bend_px / run_px if run_px else 0.2


def _label(name: str) -> str:
    # ECharts reads braces as markup, and a source pattern may contain them
    return name.replace("{", "(").replace("}", ")")


def _arrow_text(arrow: Arrow) -> str:
    is_file = arrow.snapshot_id is None
    read = "files of the data folder" if is_file else f"read {snapshot(arrow.snapshot_id)}"
    return f"{read}, behind by {arrow.lag}" if arrow.behind else read
