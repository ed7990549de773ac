"""Overview: is anything unhealthy, and why; how fresh and how large everything is."""

import streamlit as st

from ui import data, wording
from ui.findings import findings
from ui.parts import now, stop_if_empty

TABLES_IN_FULL = 30  # a longer list scrolls in itself
QUEUE_SHOWN = 100

lake = data.lake_facts()
stop_if_empty(lake, what="tables")
moment = now()
found = findings(lake)
newest = max((table.committed_at for table in lake.tables if table.committed_at), default=None)

if found:
    errors = sum(finding.severity == "error" for finding in found)
    headline = f"{wording.count(len(found), 'thing')} to look at"
    (st.error if errors else st.warning)(
        f"**{headline}**, worst first: {found[0].subject}: {found[0].text}",
        icon=":material/error:" if errors else ":material/warning:",
    )
else:
    st.success(
        "**Nothing to look at**: declarations, checks, dead letters, table health, source files, "
        "fields, what is behind and the online store. Runs are Dagster's to show: `make dagster`",
        icon=":material/check_circle:",
    )

with st.grid(6, min_column_width=150):
    st.metric("Tables", len(lake.tables) + len(lake.unreadable), border=True)
    st.metric("Rows", sum(table.rows for table in lake.tables), format="compact", border=True)
    st.metric("On disk", sum(table.bytes for table in lake.tables), format="bytes", border=True)
    letters = lake.dead_letters
    st.metric("Dead letters", "unknown" if letters is None else letters, border=True)
    st.metric(
        "Complete up to",
        wording.age(lake.watermark, now=moment) if lake.watermark else "—",
        border=True,
        help="The oldest watermark of the streams: what came before has arrived in all of them",
    )
    st.metric("Last commit", wording.age(newest, now=moment), border=True)

for finding in found:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        bad = finding.severity == "error"
        st.badge(
            "unhealthy" if bad else "look at",
            icon=":material/error:" if bad else ":material/warning:",
            color="red" if bad else "orange",
        )
        st.markdown(f"**{finding.subject}**  \n{finding.text}", width="stretch")
        if finding.remedy:
            st.code(finding.remedy, language=None, width=440)
        if finding.table:
            st.page_link(
                "app_pages/tables.py",
                label="Open table",
                icon=":material/arrow_forward:",
                query_params={"table": finding.table},
            )

st.subheader("Tables", help="Worst score first")
worst_first = sorted(lake.tables, key=lambda table: (table.score, table.name))
st.dataframe(
    [
        {
            "table": f"/tables?table={table.name}",
            "score": table.score,
            "worst part": table.worst.finding if table.worst else "—",
            "fixing it gains": table.worst.gain if table.worst else "—",
            "rows": table.rows,
            "files": table.files,
            "size": table.bytes,
            "last commit": table.committed_at,
            "watermark": table.watermark,
        }
        for table in worst_first
    ],
    hide_index=True,
    column_config={
        "table": st.column_config.LinkColumn(display_text=r"table=(.*)$", pinned=True),
        "score": st.column_config.ProgressColumn(
            format="%d", min_value=0, max_value=100, width="small"
        ),
        "worst part": st.column_config.TextColumn(width=170),
        "fixing it gains": st.column_config.TextColumn(width=250),
        "rows": st.column_config.NumberColumn(format="localized"),
        "size": st.column_config.NumberColumn(format="bytes"),
        "last commit": st.column_config.DatetimeColumn(format="distance"),
        "watermark": st.column_config.DatetimeColumn(
            format="YYYY-MM-DD HH:mm", timezone="UTC", help="Complete up to here, UTC"
        ),
    },
    height="content" if len(lake.tables) <= TABLES_IN_FULL else "auto",
    placeholder="—",
    alt="Health, freshness and size of every table, worst score first",
)

st.subheader("Maintenance", help="What `headrace maintain` would do now, best first")
if lake.queue:
    rewritten = wording.size(sum(each.cost_bytes for each in lake.queue))
    more = f"; {len(lake.waiting):,} more wait" if lake.waiting else ""
    st.caption(
        f"{wording.count(len(lake.queue), 'action')}, {rewritten} to rewrite{more}. "
        "What gains most for each byte is first."
    )
    st.dataframe(
        [
            {
                "table": f"/tables?table={each.table}",
                "partition": each.partition or "—",
                "action": each.action,
                "gains": each.gain,
                "because": each.reason,
                "rewrites": each.cost_bytes,
            }
            for each in lake.queue[:QUEUE_SHOWN]
        ],
        hide_index=True,
        column_config={
            "table": st.column_config.LinkColumn(display_text=r"table=(.*)$", pinned=True),
            "gains": st.column_config.TextColumn(width=230),
            "because": st.column_config.TextColumn(width=320),
            "rewrites": st.column_config.NumberColumn(format="bytes"),
        },
        alt="What maintenance would do next in the whole lake, and why",
    )
    st.code("headrace maintain", language="bash")
elif lake.waiting:
    st.caption(
        f"Nothing to do right now; {wording.count(len(lake.waiting), 'action')} "
        f"{'waits' if len(lake.waiting) == 1 else 'wait'}: `headrace maintain --plan` says for what"
    )
else:
    st.caption("Nothing to do")

if lake.streams:
    st.subheader("Streams")
    tables = {table.name: table for table in lake.tables}
    rows = []
    for stream in lake.streams:
        table = tables.get(stream.table)
        rows.append(
            {
                "stream": stream.name,
                "source": stream.source,
                "table": stream.table,
                "rows": table.rows if table else 0,
                "waiting files": stream.waiting,
                "dead letters": stream.dead_letters,
                "not declared": ", ".join(stream.undeclared) or "—",
                "in no record": ", ".join(stream.absent) or "—",
                "last commit": wording.age(table.committed_at, now=moment) if table else "never",
                "watermark": wording.moment(table.watermark) if table else "—",
                "watermark age": wording.age(table.watermark, now=moment)
                if table and table.watermark
                else "—",
            }
        )
    st.dataframe(
        rows,
        hide_index=True,
        column_config={"rows": st.column_config.NumberColumn(format="localized")},
        alt="Rows, dead letters, fields and watermark of every declared stream",
    )

left, right = st.columns(2)
with left:
    st.subheader("Dataset versions")
    if lake.versions:
        st.dataframe(
            [
                {
                    "version": version.title,
                    "rows": version.rows,
                    "positives": version.positives,
                    "days": f"{version.first_day} to {version.last_day}",
                    "published": wording.age(version.created_at, now=moment),
                }
                for version in reversed(lake.versions)
            ],
            hide_index=True,
            column_config={"rows": st.column_config.NumberColumn(format="localized")},
            alt="Published dataset versions, newest first",
        )
    else:
        st.caption("None published yet: `headrace datasets publish ctr`")
with right:
    st.subheader("Online store")
    if lake.online:
        st.dataframe(
            [
                {
                    "view": view.view,
                    "entities": view.rows,
                    "newest event": wording.moment(view.newest_event_time),
                    "published": wording.age(view.published_at, now=moment),
                    "behind": "—" if view.behind is None else str(view.behind),
                }
                for view in lake.online
            ],
            hide_index=True,
            alt="Feature views in the online store and how fresh they are",
        )
    elif lake.no_online is not None:
        st.caption("It cannot be read, see above")
    else:
        st.caption("Nothing is published online yet")
