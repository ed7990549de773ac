"""Overview: what needs attention, and the freshness and size of every table."""

import streamlit as st

from ui import data, wording
from ui.commands import command
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
    verb = "needs" if len(found) == 1 else "need"
    headline = f"{wording.count(len(found), 'finding')} {verb} attention"
    (st.error if errors else st.warning)(
        f"**{headline}**. First: {found[0].subject}: {found[0].text}",
        icon=":material/error:" if errors else ":material/warning:",
    )
else:
    st.success(
        "**No findings** in declarations, checks, dead letters, table health, source files, "
        "fields, lag and the online store. For runs, see Dagster: `make dagster`",
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
        help="The oldest watermark of all streams: earlier events have arrived in every stream",
    )
    st.metric("Last commit", wording.age(newest, now=moment), border=True)

for finding in found:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        bad = finding.severity == "error"
        st.badge(
            "error" if bad else "warning",
            icon=":material/error:" if bad else ":material/warning:",
            color="red" if bad else "orange",
        )
        advice = f"; {finding.advice}" if finding.advice else ""
        st.markdown(f"**{finding.subject}**  \n{finding.text}{advice}", width="stretch")
        if finding.command:
            st.code(finding.command, language=None, width=440)
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
            "main finding": table.worst.finding if table.worst else "—",
            "expected gain": table.worst.gain if table.worst else "—",
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
        "main finding": st.column_config.TextColumn(width=170),
        "expected gain": st.column_config.TextColumn(width=250),
        "rows": st.column_config.NumberColumn(format="localized"),
        "size": st.column_config.NumberColumn(format="bytes"),
        "last commit": st.column_config.DatetimeColumn(format="distance"),
        "watermark": st.column_config.DatetimeColumn(
            format="YYYY-MM-DD HH:mm", timezone="UTC", help="Complete up to this time, UTC"
        ),
    },
    height="content" if len(lake.tables) <= TABLES_IN_FULL else "auto",
    placeholder="—",
    alt="Health, freshness and size of every table, worst score first",
)

st.subheader("Maintenance", help=f"What `{command('maintain')}` would do now, in order")
if lake.queue:
    rewritten = wording.size(sum(each.cost_bytes for each in lake.queue))
    more = f"; {len(lake.waiting):,} waiting" if lake.waiting else ""
    st.caption(
        f"{wording.count(len(lake.queue), 'action')}, {rewritten} to rewrite{more}. "
        "Ordered by gain per byte rewritten."
    )
    st.dataframe(
        [
            {
                "table": f"/tables?table={each.table}",
                "partition": each.partition or "—",
                "action": each.action,
                "gain": each.gain,
                "reason": each.reason,
                "rewrites": each.cost_bytes,
            }
            for each in lake.queue[:QUEUE_SHOWN]
        ],
        hide_index=True,
        column_config={
            "table": st.column_config.LinkColumn(display_text=r"table=(.*)$", pinned=True),
            "gain": st.column_config.TextColumn(width=230),
            "reason": st.column_config.TextColumn(width=320),
            "rewrites": st.column_config.NumberColumn(format="bytes"),
        },
        alt="Planned maintenance of the whole lake, with reasons",
    )
    st.code(command("maintain"), language="bash")
elif lake.waiting:
    st.caption(
        f"Nothing to do now; {wording.count(len(lake.waiting), 'action')} waiting. "
        "`{command('maintain', '--plan')}` shows why"
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
                "undeclared fields": ", ".join(stream.undeclared) or "—",
                "missing fields": ", ".join(stream.absent) or "—",
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
        st.caption(f"None published yet; run `{command('datasets', 'publish', 'ctr')}`")
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
            alt="Feature views in the online store and their freshness",
        )
    elif lake.no_online is not None:
        st.caption("The online store cannot be read; see the error above")
    else:
        st.caption("No feature view is published yet")
