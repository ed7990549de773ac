"""Overview: the lake in one picture, and what needs attention, by root cause."""

import streamlit as st

from headrace.standing.finding import Finding
from headrace.standing.findings import findings
from ui import data, wording
from ui.commands import command
from ui.facts import LakeFacts
from ui.parts import go_on_reading, now, online_views, stop_if_empty
from ui.reading import READ_S, REFRESH_S
from ui.river import river
from ui.river_view import draw_river
from ui.words import meaning

SHOWN_MAX = 5
QUEUE_SHOWN = 100
_KINDS = {
    "wrong": "Results may be wrong or missing",
    "behind": "Results are old",
    "slow": "Results cost more than they should",
    "unused": "A declaration has nothing to apply to",
}
_JUDGED = (
    "declarations, checks, services that follow streams, dead letters, source files, watermarks, "
    "lag from raw tables to the online store, table health and fields"
)


def headline(found: tuple[Finding, ...], *, awaited: tuple[str, ...]) -> None:
    """Say whether the lake is healthy, and what that covers; not before every server has answered."""
    if awaited:
        st.info(
            f"{wording.listed(awaited)}: not answered yet; what they say follows",
            icon=":material/hourglass_top:",
        )
    if not found and awaited:
        return
    if not found:
        st.success(
            f"**Healthy**: no findings in {_JUDGED}. Runs of Dagster are shown there",
            icon=":material/check_circle:",
        )
        return
    errors = sum(finding.kind == "wrong" for finding in found)
    verb = "needs" if len(found) == 1 else "need"
    (st.error if errors else st.warning)(
        f"**{wording.count(len(found), 'finding')} {verb} attention**. "
        f"First: {found[0].subject}: {found[0].text}",
        icon=":material/error:" if errors else ":material/warning:",
    )


def card(finding: Finding, *, since: str) -> None:
    """Show one finding: what, since when, and the command against it."""
    bad = finding.kind == "wrong"
    with st.container(border=True):
        kind, what, fix, link = st.columns([1.2, 5, 4.3, 1.5], vertical_alignment="center")
    with kind:
        st.badge(
            finding.kind,
            icon=":material/error:" if bad else ":material/warning:",
            color="red" if bad else "orange",
            help=_KINDS[finding.kind],
        )
        if since:
            st.caption(since, help="Since when")
    advice = f"; {finding.advice}" if finding.advice else ""
    what.markdown(f"**{finding.subject}**  \n{finding.text}{advice}")
    if finding.command:
        fix.code(finding.command, language=None)
    if finding.table:
        link.page_link(
            "app_pages/tables.py",
            label="Open",
            icon=":material/arrow_forward:",
            query_params={"table": finding.table},
        )


def maintenance(lake: LakeFacts) -> None:
    """Show what maintenance would do now, folded."""
    if not lake.queue:
        waiting = f"; {wording.count(len(lake.waiting), 'action')} waiting" if lake.waiting else ""
        st.caption(f"Maintenance: nothing to do now{waiting}")
        return
    rewritten = wording.size(sum(each.cost_bytes for each in lake.queue))
    more = f", {len(lake.waiting):,} waiting" if lake.waiting else ""
    said = f"Maintenance: {wording.count(len(lake.queue), 'action')}, {rewritten} to rewrite{more}"
    with st.expander(said):
        st.dataframe(
            [
                {
                    "table": each.table,
                    "partition": each.partition or "—",
                    "action": each.action,
                    "gain": each.gain,
                    "reason": each.reason,
                    "rewrites": wording.size(each.cost_bytes),
                    "by": each.by,
                }
                for each in lake.queue[:QUEUE_SHOWN]
            ],
            hide_index=True,
            column_config={
                "table": st.column_config.TextColumn(pinned=True),
                "gain": st.column_config.TextColumn(width=230),
                "reason": st.column_config.TextColumn(width=320),
            },
            alt="Planned maintenance of the whole lake, with reasons",
        )
        st.caption("Ordered by gain per byte rewritten")
        st.code(command("maintain", "--apply"), language="bash")


@st.fragment(run_every=REFRESH_S)
def overview() -> None:
    """Show the lake as it is now."""
    lake = data.lake_facts(within_s=READ_S)
    stop_if_empty(lake, what="tables")
    moment = now()
    found = () if lake.unread else findings(lake.standing)
    if lake.unread:
        st.info(
            f"Reading {wording.count(len(lake.unread), 'more table')}; findings follow",
            icon=":material/hourglass_top:",
        )
    else:
        headline(found, awaited=lake.awaited)
    draw_river(river(lake, found, now=moment))
    for finding in found[:SHOWN_MAX]:
        since = wording.age(finding.since, now=moment) if finding.since else ""
        card(finding, since=since)
    if found[SHOWN_MAX:]:
        with st.expander(wording.count(len(found) - SHOWN_MAX, "more finding")):
            for finding in found[SHOWN_MAX:]:
                st.markdown(f"**{finding.subject}**: {finding.text}")
    newest = max((table.committed_at for table in lake.tables if table.committed_at), default=None)
    with st.grid(5, min_column_width=150):
        rows = sum(table.rows for table in lake.tables)
        st.metric("Rows", wording.compact(rows), border=True)
        size = wording.size(sum(table.bytes for table in lake.tables))
        st.metric("On disk", size, border=True)
        letters = lake.dead_letters
        st.metric(
            "Dead letters",
            "unknown" if letters is None else f"{letters:,}",
            border=True,
            help=meaning("dead letter"),
        )
        st.metric(
            "Complete up to",
            wording.age(lake.watermark, now=moment) if lake.watermark else "—",
            border=True,
            help="The oldest watermark of all streams: earlier events have arrived in every stream. "
            + meaning("watermark"),
        )
        st.metric("Last commit", wording.age(newest, now=moment), border=True)
    maintenance(lake)
    if lake.read_at:
        tables = wording.count(len(lake.tables) + len(lake.unreadable), "table")
        st.caption(f"{tables}, read at {lake.read_at:%H:%M:%S} UTC; again every {REFRESH_S} s")
    st.subheader("Online store", help=meaning("feature view"))
    online_views(lake, now=moment)
    go_on_reading(lake)


overview()
