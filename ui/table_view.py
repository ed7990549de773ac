"""Draw one table: what it holds, where it comes from, how it grew, what it costs."""

import streamlit as st

from headrace.standing.causes import causes, direct_lags
from ui import charts, wording
from ui.access import visitor
from ui.commands import command
from ui.facts import LakeFacts, TableDetail, TableFacts
from ui.parts import health, now, queue, say_if_gone, what_failed
from ui.snapshots import by_build, maintenance
from ui.snippets import table_snippets
from ui.table_data import maintain_now, table_detail, table_preview, writes_now
from ui.words import meaning

_APPLIED = "applied"  # of the session: what became of the plan that was just applied


def table_view(lake: LakeFacts, facts: TableFacts) -> None:
    """Draw the page of one table."""
    detail = table_detail(facts)
    _head(lake, facts)
    rows, schema, snapshots, files, upkeep = st.tabs(
        ["Rows", "Schema", "Snapshots", "Files", "Health and maintenance"]
    )
    with rows:
        _rows(lake, facts, detail)
    with schema:
        _schema(facts, detail)
    with snapshots:
        _snapshots(facts, detail)
    with files:
        _files(facts, detail)
    with upkeep:
        _upkeep(lake, facts, detail)


def _head(lake: LakeFacts, facts: TableFacts) -> None:
    lags = direct_lags(lake.flow).get(facts.name, {})
    waits = any(facts.name in cause.affected for cause in causes(lake.flow))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(facts.name, width="content")
        if waits:
            said = [f"{wording.count(n, 'commit')} of {name}" for name, n in lags.items()]
            text = f"behind {wording.listed(said)}" if said else "waits upstream"
            st.badge(text, icon=":material/schedule:", color="orange")
        else:
            st.badge("fresh", icon=":material/check_circle:", color="green")
        st.page_link("app_pages/tables.py", label="All tables", icon=":material/arrow_back:")
        st.page_link(
            "app_pages/lineage.py",
            label="Lineage",
            icon=":material/account_tree:",
            query_params={"node": facts.name},
        )
    if facts.watermark:
        st.caption(
            f"Complete up to {wording.moment(facts.watermark)} UTC (watermark of its stream)"
        )
    with st.grid(5, min_column_width=150):
        st.metric("Health", f"{facts.score} / 100", border=True)
        st.metric("Rows", f"{facts.rows:,}", border=True)
        st.metric("Files", f"{facts.files:,}", border=True)
        st.metric("Size", wording.size(facts.bytes), border=True)
        st.metric("Last commit", wording.age(facts.committed_at, now=now()), border=True)


def _rows(lake: LakeFacts, facts: TableFacts, detail: TableDetail) -> None:
    preview = table_preview(facts)
    if preview.error:
        st.error(f"The rows of {facts.name} cannot be read", icon=":material/broken_image:")
        what_failed(preview.error)
    elif not preview.rows:
        st.caption("The table has no rows")
    else:
        st.caption(
            f"The first {len(preview.rows):,} of {wording.count(facts.rows, 'row')}; times are UTC"
        )
        st.dataframe(
            [dict(row) for row in preview.rows],
            hide_index=True,
            placeholder="null",
            alt=f"The first rows of {facts.name}",
        )
    alive = [str(each.snapshot_id) for each in detail.snapshots if each.alive]
    say_if_gone("snapshot", alive)
    if alive:
        picked = st.selectbox("Read a snapshot", alive, key="snapshot", bind="query-params")
        snippets = table_snippets(
            facts.name,
            facts.metadata_location,
            picked or alive[0],
            trino_catalog=lake.trino_catalog,
        )
        for tab, (language, code) in zip(st.tabs(list(snippets)), snippets.values(), strict=True):
            with tab:
                st.code(code, language=language)


def _schema(facts: TableFacts, detail: TableDetail) -> None:
    by = ", ".join(detail.partition_by)
    st.caption(f"Partitioned by {by}" if by else "Not partitioned")
    st.dataframe(
        [
            {
                "column": each.name,
                "type": each.type,
                "required": each.required,
                "null": wording.share(each.null_share),
                "description": each.doc or "—",
            }
            for each in detail.columns
        ],
        hide_index=True,
        column_config={
            "null": st.column_config.TextColumn(
                help="Share of rows without a value, from the metrics of the files; "
                "— if a file does not tell"
            ),
            "description": st.column_config.TextColumn(width="large"),
        },
        height="content",
        alt=f"Columns of {facts.name}",
    )
    st.markdown("**Branches, tags and leases**", help=meaning("lease"))
    st.dataframe(
        [
            {
                "ref": each.name,
                "kind": each.kind,
                "snapshot": str(each.snapshot_id),
                "ends": wording.moment(each.ends_at),
            }
            for each in detail.refs
        ],
        hide_index=True,
        alt=f"Branches, tags and leases of {facts.name}",
    )


def _snapshots(facts: TableFacts, detail: TableDetail) -> None:
    if detail.sizes:
        left, right = st.columns(2)
        with left:
            st.markdown("**Rows after each commit**")
            st.echarts_chart(
                charts.over_time([(each.at, each.rows) for each in detail.sizes], name="rows"),
                height=180,
                key="rows_over_time",
                alt=f"Rows of {facts.name} after each commit",
            )
        with right:
            unit, step = wording.unit_for(max(each.bytes for each in detail.sizes))
            st.markdown(f"**Size after each commit, {unit}**")
            points = [(each.at, round(each.bytes / step, 2)) for each in detail.sizes]
            st.echarts_chart(
                charts.over_time(points, name=unit),
                height=180,
                key="size_over_time",
                alt=f"Size of {facts.name} after each commit",
            )
    each_commit = st.toggle("Every commit", help="Else one line for each run that committed")
    builds = by_build(detail.snapshots, apart=each_commit)
    st.caption("Newest first. Expired snapshots cannot be read; the registry keeps their commits.")
    st.dataframe(
        [
            {
                "committed, UTC": f"{each.at:%Y-%m-%d %H:%M:%S}",
                "operation": each.what,
                "rows": each.rows,
                "files": each.files,
                "tags": each.tags,
                "inputs": each.inputs or "—",
                "snapshot": str(each.commits[0].snapshot_id),
                "run": each.commits[0].run_id or "—",
                "state": each.state,
            }
            for each in builds
        ],
        hide_index=True,
        column_config={"tags": st.column_config.ListColumn()},
        alt=f"Snapshots of {facts.name} by run, newest first",
    )


def _files(facts: TableFacts, detail: TableDetail) -> None:
    sizes = [size for partition in detail.partitions for size in partition.file_bytes]
    if not sizes:
        st.caption("The table has no files yet")
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**Files by size**")
        st.caption(f"Target size of compaction: {wording.size(detail.target_bytes)}")
        st.echarts_chart(
            charts.file_sizes(sizes, target_bytes=detail.target_bytes),
            key="file_sizes",
            height=260,
            alt=f"{facts.small_files} of {facts.files} files of {facts.name} are small",
        )
    with right:
        st.markdown("**Rows by partition**")
        by = ", ".join(detail.partition_by)
        spec = f"Partitioned by {by}" if by else "Not partitioned"
        st.caption(f"{spec}; {wording.count(len(detail.partitions), 'partition')}")
        st.echarts_chart(
            charts.partition_rows(detail.partitions),
            key="partition_rows",
            height=260,
            alt=f"Rows and files in each partition of {facts.name}",
        )


def _apply(facts: TableFacts) -> None:
    """Let an operator apply the plan; the table's name is typed, so that no click does it alone."""
    if visitor().role != "operator":
        return
    with st.form("apply", border=False):
        typed = st.text_input(
            "Type the table's name to apply its plan",
            key="confirm",
            placeholder=facts.name,
            width=360,
        )
        pressed = st.form_submit_button("Apply", icon=":material/play_arrow:")
    if not pressed:
        return
    if typed.strip() != facts.name:
        st.warning(f"Nothing was done: type `{facts.name}`", icon=":material/edit_note:")
        return
    with st.spinner(f"Maintaining {facts.name}"):
        st.session_state[_APPLIED] = maintain_now(facts)
    st.cache_data.clear()
    st.rerun()  # what was planned is done now


def _upkeep(lake: LakeFacts, facts: TableFacts, detail: TableDetail) -> None:
    health(facts)
    for line in st.session_state.pop(_APPLIED, ()):
        st.success(line, icon=":material/check_circle:")
    st.markdown("**Planned**")
    queue(
        [each for each in lake.queue if each.table == facts.name],
        [each for each in lake.waiting if each.table == facts.name],
        table=facts.name,
        places=len(lake.queue),
    )
    if any(each.table == facts.name for each in lake.queue):
        _apply(facts)
    for each in writes_now(facts):
        st.caption(
            f"Being written by process {each.pid} of {each.host}, "
            f"started {wording.age(each.started_at, now=now())}"
        )
    done = maintenance(detail.snapshots)
    st.markdown("**Done**")
    if not done:
        st.caption("No maintenance is on record")
        return
    st.dataframe(
        [
            {
                "committed, UTC": f"{each.committed_at:%Y-%m-%d %H:%M:%S}",
                "files": f"{each.files_removed:,} → {each.files_added:,}",
                "snapshot": str(each.snapshot_id),
            }
            for each in done
        ],
        hide_index=True,
        alt=f"Maintenance of {facts.name} that was done, newest first",
    )
    st.code(command("tables", "compact", facts.name), language="bash")
