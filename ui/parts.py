"""Pieces several pages share."""

import datetime as dt

import streamlit as st

from ui.facts import HealthPart, LakeFacts


def now() -> dt.datetime:
    """Return this moment, in UTC."""
    return dt.datetime.now(dt.UTC)


def stop_if_empty(lake: LakeFacts, *, what: str) -> None:
    """End the page with what to do next if the lake holds nothing yet."""
    if lake:
        return
    with st.container(border=True):
        st.subheader(f"No {what} yet", icon=":material/water:")
        st.markdown(
            "Nothing has flowed into this lake. The demo takes real logs all the way to a trained "
            "model, on this machine, with nothing to start first:"
        )
        st.code("make demo", language="bash")
        st.markdown("Or declare your own streams in `lake/streams/` and take them in:")
        st.code("headrace check\nheadrace ingest run", language="bash")
        for problem in lake.problems:
            st.warning(problem, icon=":material/edit_note:")
    st.stop()


def health_part(part: HealthPart) -> None:
    """Show one part of a table's health: what was found, what it costs, what fixing gains."""
    color, icon = ("green", "check_circle") if not part.penalty else ("orange", "warning")
    with st.container(border=True, height="stretch"):
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.markdown(f"**{part.name.capitalize()}**")
            cost = f"−{part.penalty} points" if part.penalty else "fine"
            st.badge(cost, icon=f":material/{icon}:", color=color)
        st.markdown(part.finding)
        st.caption(f"Fixing it gains {part.gain}" if part.gain else "Nothing to gain here")
