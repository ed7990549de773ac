"""Components shared by several pages."""

import datetime as dt
from collections.abc import Collection, Sequence

import streamlit as st

from headrace.standing.facts import Unreadable
from headrace.standing.flow import ONLINE_STORE
from ui.commands import command, commands
from ui.facts import HealthPart, LakeFacts, QueueItem, TableFacts, WaitingItem
from ui.wording import age, count, moment, size


def now() -> dt.datetime:
    """Return the current time in UTC."""
    return dt.datetime.now(dt.UTC)


def stop_if_empty(lake: LakeFacts, *, what: str) -> None:
    """Stop the page with instructions if the lake is still empty."""
    if lake:
        return
    with st.container(border=True):
        st.subheader(f"No {what} yet", icon=":material/water:")
        st.markdown(
            "This lake is empty. Declare streams in `lake/streams/` (`headrace streams infer` drafts "
            "them from files or a topic), and ingest them:"
        )
        st.code(commands(("check",), ("ingest", "run")), language="bash")
        st.markdown(
            "In a checkout of headrace, the demo runs the whole pipeline on this machine, from real "
            "logs to a trained model, and needs no service:"
        )
        st.code("make demo", language="bash")
        for problem in lake.problems:
            st.warning(problem, icon=":material/edit_note:")
    st.stop()


def go_on_reading(lake: LakeFacts) -> None:
    """Run the page again if something is not read yet; call it after the last element."""
    if lake.unread or lake.awaited:
        st.rerun()


def wait_until_read(lake: LakeFacts) -> None:
    """Stop a page that needs every table, and run it again, until all are read; say how many are."""
    if not lake.unread:
        return
    read = len(lake.tables) + len(lake.unreadable)
    st.caption(f"Reading tables: {read:,} of {read + len(lake.unread):,}")
    st.skeleton(320)
    st.rerun()


def online_views(lake: LakeFacts, *, now: dt.datetime) -> None:
    """Show the feature views of the online store and how fresh they are."""
    if lake.online:
        st.dataframe(
            [
                {
                    "view": view.view,
                    "entities": view.rows,
                    "newest event": moment(view.newest_event_time),
                    "published": age(view.published_at, now=now),
                    "behind": "—" if view.behind is None else f"{view.behind:,}",
                }
                for view in lake.online
            ],
            hide_index=True,
            column_config={"entities": st.column_config.NumberColumn(format="localized")},
            alt="Feature views in the online store and their freshness",
        )
    elif lake.no_online is not None:
        st.caption("The online store cannot be read; see the error above")
    elif ONLINE_STORE in lake.awaited:
        st.caption("The online store has not answered yet")
    else:
        st.caption("No feature view is published yet")


def say_if_gone(parameter: str, names: Collection[str]) -> None:
    """Warn if the URL names something that does not exist; call it before its selectbox.

    A selectbox bound to the parameter drops an unknown value silently, so that the reader of an old
    link would see something else without notice.
    """
    asked = st.query_params.get(parameter)
    if asked and asked not in names:
        shown = f"showing another {parameter}" if names else f"there are no {parameter}s yet"
        st.warning(
            f"There is no {parameter} `{asked.replace('`', '')}`; {shown}",
            icon=":material/search_off:",
        )


def unreadable(lake: LakeFacts, *, only: str = "") -> None:
    """Show a card for each table that cannot be read, or for one, with the error and its remedy."""
    for each in lake.unreadable:
        if only and each.name != only:
            continue
        with st.container(border=True):
            st.subheader(f"{each.name} cannot be read", icon=":material/broken_image:")
            what_failed(each)


def what_failed(found: Unreadable) -> None:
    """Show what happened and where, and what helps in the order to try it: advice, commands to copy."""
    st.markdown(f"`{found.code}`  \n{found.text}")
    if found.remedy is not None:
        st.markdown("**What helps**")
        for step in found.remedy.steps:
            if step.advice:
                st.markdown(f"- {step.advice}")
            if step.line:
                st.code(step.line, language="bash")


def queue(
    items: Sequence[QueueItem], waiting: Sequence[WaitingItem], *, table: str, places: int
) -> None:
    """Show the planned maintenance of a table, in order and with reasons, and what is not due yet.

    Args:
        items: Planned actions of the table.
        waiting: Actions of the table that are not due yet.
        table: Its name.
        places: Number of planned actions in the whole lake.

    """
    if items:
        st.caption(
            f"Ordered by gain per byte rewritten, among {count(places, 'action')} in the whole "
            "lake. Maintenance changes no rows and deletes no files."
        )
        st.dataframe(
            [
                {
                    "rank": each.place,
                    "action": each.action,
                    "partition": each.partition or "—",
                    "reason": each.reason,
                    "gain": each.gain,
                    "rewrites": size(each.cost_bytes),
                    "by": each.by,
                }
                for each in items
            ],
            hide_index=True,
            column_config={
                "rank": st.column_config.NumberColumn(
                    width=60, help="Position in the queue of the whole lake"
                ),
                "reason": st.column_config.TextColumn(width="large"),
                "gain": st.column_config.TextColumn(width="medium"),
            },
            alt=f"Planned maintenance of {table}, with reasons",
        )
        st.code(command("maintain", table, "--apply"), language="bash")
    elif waiting:
        st.caption("Nothing to do now")
    else:
        st.caption("Nothing to do: a rewrite would gain nothing")
    if waiting:
        st.markdown(f"**Waiting** · {count(len(waiting), 'action')}")
        st.dataframe(
            [
                {
                    "action": each.action,
                    "partition": each.partition or "—",
                    "reason": each.reason,
                    "rewrites": size(each.cost_bytes),
                    "until, UTC": moment(each.until),
                }
                for each in waiting
            ],
            hide_index=True,
            column_config={
                "reason": st.column_config.TextColumn(width="large"),
                "until, UTC": st.column_config.TextColumn(
                    help="When maintenance considers it again at the latest"
                ),
            },
            alt=f"Maintenance of {table} that is not due yet, with reasons",
        )


def health(facts: TableFacts) -> None:
    """Show what costs points, with the gain of fixing it; what is fine is folded into one line."""
    bad = [part for part in facts.parts if part.penalty]
    fine = [part for part in facts.parts if not part.penalty]
    if bad:
        with st.grid(3, min_column_width=260):
            for part in bad:
                _health_part(part)
    else:
        st.caption(":material/check_circle: Nothing costs points")
    if fine:
        with st.expander(f"{count(len(fine), 'part')} without a cost"):
            for part in fine:
                st.markdown(f"**{part.name.capitalize()}**: {part.finding}")


def _health_part(part: HealthPart) -> None:
    with st.container(border=True, height="stretch"):
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.markdown(f"**{part.name.capitalize()}**")
            st.badge(
                count(part.penalty, "point").replace(str(part.penalty), f"−{part.penalty}", 1),
                icon=":material/warning:",
                color="orange",
            )
        st.markdown(part.finding)
        st.caption(f"Expected gain: {part.gain}" if part.gain else "Nothing to gain")
