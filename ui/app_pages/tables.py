"""Tables: one table in detail; `?table=raw.impressions` opens it."""

import streamlit as st

from ui import charts, data, wording
from ui.commands import command
from ui.parts import health_part, now, queue, say_if_gone, stop_if_empty, unreadable
from ui.table_data import table_detail

lake = data.lake_facts()
stop_if_empty(lake, what="tables")
unreadable(lake)
if not lake.tables:
    st.stop()
names = [table.name for table in lake.tables]
worst = min(lake.tables, key=lambda table: table.score).name
say_if_gone("table", names)

name = st.selectbox("Table", names, index=names.index(worst), key="table", bind="query-params")
facts = lake.table(name or worst)
if facts is None:
    st.stop()
detail = table_detail(facts)
moment = now()

if facts.watermark:
    st.caption(f"Complete up to {wording.moment(facts.watermark)} UTC (watermark of its stream)")

with st.grid(5, min_column_width=150):
    st.metric("Health", f"{facts.score} / 100", border=True)
    st.metric("Rows", facts.rows, format="localized", border=True)
    st.metric("Files", facts.files, border=True)
    st.metric("Size", facts.bytes, format="bytes", border=True)
    st.metric("Last commit", wording.age(facts.committed_at, now=moment), border=True)

with st.grid(4, min_column_width=220):
    for part in facts.parts:
        health_part(part)

st.subheader("Maintenance", help="Of this table, in order; Overview shows that of the whole lake")
queue(
    [each for each in lake.queue if each.table == facts.name],
    [each for each in lake.waiting if each.table == facts.name],
    table=facts.name,
    places=len(lake.queue),
)

overview, snapshots, schema = st.tabs(["Files", "Snapshots", "Schema"])
with overview:
    sizes = [size for partition in detail.partitions for size in partition.file_bytes]
    if sizes:
        left, right = st.columns(2)
        with left:
            st.subheader("File sizes")
            st.caption(f"Target size of compaction: {wording.size(detail.target_bytes)}")
            st.echarts_chart(
                charts.file_sizes(sizes, target_bytes=detail.target_bytes),
                key="file_sizes",
                alt=f"{facts.small_files} of {facts.files} files of {facts.name} are small",
            )
        with right:
            st.subheader("Files per partition")
            by = ", ".join(detail.partition_by)
            spec = f"Partitioned by {by}" if by else "Not partitioned"
            st.caption(f"{spec}; {wording.count(len(detail.partitions), 'partition')}")
            st.echarts_chart(
                charts.partition_files(detail.partitions),
                key="partition_files",
                alt=f"Files and rows in each partition of {facts.name}",
            )
        if facts.worst and facts.worst.name == "small files":
            st.caption("Prints the plan; only `--apply` changes the table")
            st.code(command("tables", "compact", facts.name), language="bash")
    else:
        st.caption("The table has no files yet")

with snapshots:
    st.caption("Newest first. Expired snapshots cannot be read; the registry keeps their commits.")
    st.dataframe(
        [
            {
                "snapshot": str(each.snapshot_id),
                "committed": each.committed_at,
                "operation": each.operation,
                "rows": each.rows_added - each.rows_removed,
                "files": f"+{each.files_added} −{each.files_removed}",
                "tags": list(each.tags),
                "inputs": ", ".join(
                    f"{table}@{wording.snapshot(at)}" for table, at in each.inputs.items()
                ),
                "run": each.run_id,
                "state": "live" if each.alive else "expired",
            }
            for each in detail.snapshots
        ],
        hide_index=True,
        column_config={
            "committed": st.column_config.DatetimeColumn(
                format="YYYY-MM-DD HH:mm:ss", timezone="UTC"
            ),
            "rows": st.column_config.NumberColumn("rows ±", format="localized"),
            "tags": st.column_config.ListColumn(),
        },
        alt=f"Snapshots of {facts.name}, newest first",
    )
    alive = [str(each.snapshot_id) for each in detail.snapshots if each.alive]
    say_if_gone("snapshot", alive)
    if alive:
        picked = st.selectbox("Load a snapshot", alive, key="snapshot", bind="query-params")
        st.code(
            "import headrace as hr\n\n"
            "with hr.Lake.open() as lake:\n"
            f'    rows = lake.table("{facts.name}").at(snapshot_id={picked}).to_arrow()',
            language="python",
        )

with schema:
    st.dataframe(
        [
            {"column": each.name, "type": each.type, "required": each.required}
            for each in detail.columns
        ],
        hide_index=True,
        alt=f"Columns of {facts.name}",
    )
    st.subheader("Tags")
    if detail.tags:
        st.dataframe(
            [{"tag": tag, "snapshot": str(at)} for tag, at in detail.tags.items()],
            hide_index=True,
            alt=f"Tags of {facts.name}",
        )
    else:
        st.caption("No tags. Publishing a dataset tags the snapshots that it pins")
