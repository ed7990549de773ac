"""Lineage as recorded by commits; `?node=samples.ctr` selects a node, `?at=ctr v1` a version."""

import streamlit as st

from headrace.standing.flow import ONLINE_STORE
from ui import charts, data
from ui.graph import column_lineage, graph_of, graph_of_version
from ui.parts import go_on_reading, now, online_views, say_if_gone, stop_if_empty, wait_until_read
from ui.reading import READ_S

NODES_MAX = 60
HOPS = 2
COLUMNS_IN_FULL = 30  # a longer list scrolls in itself
NOW = "now"

lake = data.lake_facts(within_s=READ_S)
stop_if_empty(lake, what="lineage")
wait_until_read(lake)
versions = {version.title: version for version in lake.versions}
if versions:
    at = st.select_slider(
        "What fed a version",
        [*versions, NOW],
        value=NOW,
        key="at",
        bind="query-params",
        help="The sample table and its inputs at the snapshots that the version pins",
    )
else:
    at = NOW
graph = graph_of(lake) if at == NOW else graph_of_version(lake, versions[at])
names = [node.id for node in graph.nodes]
is_large = len(names) > NODES_MAX

shown = graph
say_if_gone("node", names)
asked = st.session_state.get("node") or st.query_params.get("node")
if is_large:
    shown = (
        graph.around(asked, hops=HOPS, nodes_max=NODES_MAX) if asked in names else graph.by_kind()
    )


def select_clicked() -> None:
    """Make the clicked node the selected one."""
    groups = st.session_state["lineage_chart"]["selection"]["selected"]
    clicked = [
        at for group in groups if group["data_type"] == "node" for at in group["data_indices"]
    ]
    if clicked and clicked[0] < len(shown.nodes) and shown.nodes[clicked[0]].id in names:
        st.session_state["node"] = shown.nodes[clicked[0]].id


picker = st.container()
selected = picker.selectbox(
    "Node",
    names,
    index=None,
    key="node",
    bind="query-params",
    placeholder="Click a node in the graph, or select one here",
)
if is_large:
    st.caption(
        f"Up to {HOPS} steps around {selected}: {len(shown.nodes):,} of {len(names):,} nodes"
        if asked in names
        else f"{len(names):,} nodes, one circle for each kind; select a node to see what is around it"
    )
st.echarts_chart(
    charts.lineage(shown, selected=selected, dark=st.context.theme.type == "dark"),
    height=charts.lineage_height_px(shown),
    key="lineage_chart",
    on_select=select_clicked,
    alt=f"Lineage of {len(shown.nodes)} nodes from source files to datasets and online store",
)

node = graph.node(selected) if selected else None
if node is None:
    st.caption(
        "Arrows follow the data. A dashed arrow is behind: its source has newer commits or files. "
        "Scroll to zoom, drag to move."
    )
    go_on_reading(lake)
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    st.subheader(node.id, width="content")
    st.badge(node.kind, color="gray")
    st.caption(node.detail)
    if lake.table(node.id):
        st.page_link(
            "app_pages/tables.py",
            label="Open table",
            icon=":material/arrow_forward:",
            query_params={"table": node.id},
        )
    if node.kind == "dataset":
        st.page_link(
            "app_pages/versions.py",
            label="Open version",
            icon=":material/arrow_forward:",
            query_params={"version": node.id},
        )

left, right = st.columns(2)
for side, title, arrows in (
    (left, "Inputs", graph.inputs(node.id)),
    (right, "Outputs", graph.outputs(node.id)),
):
    with side:
        st.markdown(f"**{title}**")
        if not arrows:
            st.caption("None recorded")
            continue
        st.dataframe(
            [
                {
                    "from" if title == "Inputs" else "to": (
                        arrow.source if title == "Inputs" else arrow.target
                    ),
                    "snapshot read": str(arrow.snapshot_id or "—"),
                    "behind": arrow.lag,
                }
                for arrow in arrows
            ],
            hide_index=True,
            alt=f"{title} of {node.id}",
        )

read = column_lineage(lake, node.id)
if read:
    st.markdown("**Columns**")
    st.caption("As builds of dbt models, samples and versions recorded it")
    st.dataframe(
        [
            {
                "column": f"{name}.{each.column}",
                "comes from": f"{each.table}.{each.of}",
                "how": each.how,
            }
            for name, each in read
        ],
        hide_index=True,
        height="content" if len(read) <= COLUMNS_IN_FULL else "auto",
        alt=f"Columns of {node.id}, or made of it, and where their values come from",
    )

if node.id == ONLINE_STORE:
    st.markdown("**Published views**")
    online_views(lake, now=now())
go_on_reading(lake)
