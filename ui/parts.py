"""Pieces several pages share."""

import datetime as dt
from collections.abc import Collection, Sequence

import streamlit as st

from ui.facts import HealthPart, LakeFacts, QueueItem, WaitingItem
from ui.wording import count


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


def say_if_gone(parameter: str, names: Collection[str]) -> None:
    """Warn if the address asks for something that is not there; call it before its selectbox.

    A selectbox that is bound to the parameter drops such a value without a word, and whoever opened
    the link would read something else.
    """
    asked = st.query_params.get(parameter)
    if asked and asked not in names:
        shown = "showing another one" if names else "there is none"
        st.warning(
            f"There is no {parameter} `{asked.replace('`', '')}`; {shown}",
            icon=":material/search_off:",
        )


def unreadable(lake: LakeFacts) -> None:
    """Show a card for each table that cannot be read, with what to do about it."""
    for each in lake.unreadable:
        with st.container(border=True):
            st.subheader(f"{each.name} cannot be read", icon=":material/broken_image:")
            st.text(f"{each.code}: {each.text}")


def queue(
    items: Sequence[QueueItem], waiting: Sequence[WaitingItem], *, table: str, places: int
) -> None:
    """Show what maintenance would do to a table, in order and why, and what it leaves for later."""
    if items:
        st.caption(
            f"What gains most for each byte rewritten is first, of {count(places, 'action')} "
            "in the whole lake. No row changes, and no file is deleted."
        )
        st.dataframe(
            [
                {
                    "place": each.place,
                    "action": each.action,
                    "partition": each.partition or "—",
                    "because": each.reason,
                    "gains": each.gain,
                    "rewrites": each.cost_bytes,
                }
                for each in items
            ],
            hide_index=True,
            column_config={
                "place": st.column_config.NumberColumn(
                    width=60, help="In the queue of the whole lake"
                ),
                "because": st.column_config.TextColumn(width="large"),
                "gains": st.column_config.TextColumn(width="medium"),
                "rewrites": st.column_config.NumberColumn(format="bytes", width="small"),
            },
            alt=f"What maintenance would do to {table}, and why",
        )
        st.code(f"headrace maintain {table}", language="bash")
    elif waiting:
        st.caption("Nothing to do right now")
    else:
        st.caption("Nothing to do: what could be rewritten would gain nothing")
    if waiting:
        st.markdown(f"**Not now** · {count(len(waiting), 'action')}")
        st.dataframe(
            [
                {
                    "action": each.action,
                    "partition": each.partition or "—",
                    "because": each.reason,
                    "rewrites": each.cost_bytes,
                    "asked again at": each.until,
                }
                for each in waiting
            ],
            hide_index=True,
            column_config={
                "because": st.column_config.TextColumn(width="large"),
                "rewrites": st.column_config.NumberColumn(format="bytes", width="small"),
                "asked again at": st.column_config.DatetimeColumn(
                    format="YYYY-MM-DD HH:mm", timezone="UTC", help="UTC"
                ),
            },
            alt=f"What maintenance leaves for later with {table}, and why",
        )


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
