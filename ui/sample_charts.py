"""Build ECharts options about samples, as plain dictionaries; colors come from the theme."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from headrace.samples.by_day import SampleDay
from ui.timeline import Kind, Timeline

Option = dict[str, Any]

_COLORS: dict[Kind, str] = {
    "used": "#2E86AB",
    "expired": "#9AA8B4",
    "too late": "#D9822B",
    "window": "#8A5A9E",
    "event": "#3F9D6A",
}
_NAMES: dict[Kind, str] = {
    "used": "used by serving",
    "expired": "expired",
    "too late": "came later, not used",
    "window": "label window",
    "event": "label event",
}
_BAR_PX, _POINT_PX, _ROW_PX = 7, 11, 46


def timeline_chart(found: Timeline, *, dark: bool) -> Option:
    """Draw the time line: one row for each view and label, the exposure in the middle."""
    ink = "#9AA8B4" if dark else "#5B6B7A"
    series: list[Option] = []
    named: set[Kind] = set()
    for span in found.spans:
        color = _COLORS[span.kind]
        row = found.rows.index(span.row)
        ends = [span.start] if span.start == span.end else [span.start, span.end]
        tip = {"formatter": f"{escape(span.row)}<br/>{escape(span.text)}"}
        series.append(
            {
                "type": "line",
                "name": _NAMES[span.kind],
                "color": color,
                "itemStyle": {"color": color},
                "lineStyle": {"width": _BAR_PX, "color": color, "cap": "round"},
                "symbol": "diamond" if span.kind == "event" else "circle",
                "symbolSize": _POINT_PX,
                "showAllSymbol": True,
                "data": [{"value": [end, row], "tooltip": tip} for end in ends],
                "z": 4 if span.kind in ("used", "event") else 3,
            }
        )
        named.add(span.kind)
    marks = [
        {
            "xAxis": tick.at,
            "label": {"formatter": tick.text, "position": "start", "color": ink, "fontSize": 11},
            "lineStyle": {
                "type": "solid" if tick.at == 0 else "dotted",
                "width": 2 if tick.at == 0 else 1,
                "color": "#B5463C" if tick.at == 0 else ink,
                "opacity": 1 if tick.at == 0 else 0.45,
            },
        }
        for tick in found.ticks
    ]
    series.append(
        {
            "type": "line",
            "data": [],
            "markLine": {"symbol": "none", "silent": True, "animation": False, "data": marks},
        }
    )
    reached = [abs(x) for span in found.spans for x in (span.start, span.end)]
    reach = max([*reached, *(abs(tick.at) for tick in found.ticks), 1]) + 0.3
    return {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 64, "bottom": 12, "containLabel": True},
        "legend": {
            "top": 0,
            "left": "center",
            "data": [_NAMES[kind] for kind in _NAMES if kind in named],
        },
        "tooltip": {"trigger": "item"},
        "xAxis": {
            "type": "value",
            "min": -reach,
            "max": reach,
            "axisLabel": {"show": False},
            "axisTick": {"show": False},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": list(found.rows),
            "axisTick": {"show": False},
        },
        "series": series,
    }


def timeline_height_px(found: Timeline) -> int:
    """Return the height in pixels that the rows need."""
    return 120 + _ROW_PX * len(found.rows)


def rows_by_day(days: Sequence[SampleDay]) -> Option:
    """Draw the samples of each day, those with a pending label apart."""
    pending = [max(each.pending.values(), default=0) for each in days]
    settled = [each.rows - open_ for each, open_ in zip(days, pending, strict=True)]
    return _by_day(
        days,
        [
            {"type": "bar", "stack": "rows", "name": "labels settled", "data": settled},
            {"type": "bar", "stack": "rows", "name": "a label pending", "data": pending},
        ],
    )


def positive_rate(days: Sequence[SampleDay]) -> Option:
    """Draw the share of positive samples of each day, in percent, by label."""
    return _shares(days, lambda each: each.positives)


def without_row(days: Sequence[SampleDay]) -> Option:
    """Draw the share of samples without a feature row of each day, in percent, by view."""
    return _shares(days, lambda each: each.without_row)


def _shares(days: Sequence[SampleDay], counts: Callable[[SampleDay], Mapping[str, int]]) -> Option:
    names = list(dict.fromkeys(name for each in days for name in counts(each)))
    return _by_day(
        days,
        [
            {
                "type": "line",
                "name": name,
                "symbolSize": 5,
                "data": [
                    round(100 * counts(each).get(name, 0) / max(1, each.rows), 3) for each in days
                ],
            }
            for name in names
        ],
        percent=True,
    )


def _by_day(days: Sequence[SampleDay], series: list[Option], *, percent: bool = False) -> Option:
    return {
        "grid": {"left": 8, "right": 16, "top": 40, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "left": "center", "type": "scroll"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": [each.day.isoformat() for each in days]},
        "yAxis": {
            "type": "value",
            **({"axisLabel": {"formatter": "{value} %"}} if percent else {"minInterval": 1}),
        },
        "series": [
            {"barMaxWidth": 40, **each} if each["type"] == "bar" else each for each in series
        ],
    }
