"""Draw the river: one card for each stage, whose stops are links to their pages."""

import re
from collections.abc import Sequence
from typing import Literal

import streamlit as st

from ui.river import Stage, StageName, State, Stop, stage_text, today_text
from ui.wording import rows_text

STOPS_MAX = 5
_COLUMN_PX = 126
_FAULT_MAX = 90  # letters, in a column as narrow as that
_FOLDERS = re.compile(r"`(?:\w+:/)?/(?:[^`/]*/)*")
_TITLES: dict[StageName, str] = {
    "sources": "Sources",
    "raw": "Raw",
    "staging": "Staging",
    "features": "Features",
    "samples": "Samples",
    "versions": "Versions",
    "models": "Models",
    "online": "Online",
}
_ICONS: dict[State, str] = {
    "failed": ":material/error:",
    "behind": ":material/schedule:",
    "fresh": ":material/check_circle:",
}
_COLORS: dict[State, Literal["red", "orange", "green"]] = {
    "failed": "red",
    "behind": "orange",
    "fresh": "green",
}


# a link's label is cut at the end of its line otherwise, and names are never cut
_WRAP = """<style>
[data-testid="stPageLink"] * {white-space: normal; overflow-wrap: anywhere}
[data-testid="stPageLink"] a {padding-inline: 0 !important}
</style>"""


def draw_river(stages: Sequence[Stage]) -> None:
    """Draw the stages from left to right; on a narrow screen they follow below each other."""
    st.html(_WRAP)
    with st.grid(len(stages), min_column_width=_COLUMN_PX, gap="xsmall"):
        for at, stage in enumerate(stages):
            with st.container(border=True, height="stretch", gap="xsmall"):
                _stage(stage, is_last=at == len(stages) - 1)


def _stage(stage: Stage, *, is_last: bool) -> None:
    arrow = "" if is_last else " :gray[:material/arrow_forward:]"
    st.markdown(f"**{_TITLES[stage.name]}**{arrow}")
    if stage.state is None:
        st.caption("none")
        return
    st.badge(stage_text(stage), icon=_ICONS[stage.state], color=_COLORS[stage.state])
    if today := today_text(stage):
        st.caption(today)
    for stop in stage.stops[:STOPS_MAX]:
        _stop(stop)
    more = len(stage.stops) - STOPS_MAX
    if more > 0:
        st.page_link(
            "app_pages/tables.py",
            label=f"{more:,} more",
            icon=":material/more_horiz:",
            query_params={"stage": stage.name},
        )


def _stop(stop: Stop) -> None:
    st.page_link(
        f"app_pages/{stop.page}.py",
        label=f":small[{stop.title}]",
        help=stop.name,
        query_params=dict(stop.query),
    )
    rows = "" if stop.rows is None else f"{rows_text(stop.rows)} · "
    if stop.state == "fresh":
        st.caption(rows + stop.lag)
    else:  # a caption would fade the color
        st.markdown(f":small[{rows}:{_COLORS[stop.state]}[{stop.lag}]]")
    if stop.fault:
        color = "red" if stop.state == "failed" else "orange"
        fault = f":small[:{color}[:material/warning: {_short(stop.fault)}]]"
        st.markdown(fault, help=stop.fault)


def _short(text: str) -> str:
    """Take the first clause: what happened, without the folders of a path. The whole is one hover away."""
    clause = _FOLDERS.sub("`…/", text.partition("\n")[0].partition("; ")[0])
    clause = clause if len(clause) <= _FAULT_MAX else f"{clause[: _FAULT_MAX - 1]}…"
    return clause.replace("`", "").replace("[", "(").replace("]", ")")
