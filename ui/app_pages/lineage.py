"""Lineage as recorded by the commits; `?node=samples.ctr` selects a node."""

import streamlit as st

from ui import charts, data, wording
from ui.facts import ONLINE_STORE
from ui.graph import graph_of
from ui.parts import now, say_if_gone, stop_if_empty
from ui.table_data import table_detail

NODES_MAX = 60
HOPS = 2

lake = data.lake_facts()
stop_if_empty(lake, what="lineage")
graph = graph_of(lake)
names = [node.id for node in graph.nodes]

shown = graph
say_if_gone("node", names)
asked = st.session_state.get("node") or st.query_params.get("node")
if len(names) > NODES_MAX and asked in names:
    shown = graph.around(asked, hops=HOPS)


def select_clicked() -> None:
    """Make the clicked node the selected one."""
    groups = st.session_state["lineage_chart"]["selection"]["selected"]
    clicked = [
        at for group in groups if group["data_type"] == "node" for at in group["data_indices"]
    ]
    if clicked and clicked[0] < len(shown.nodes):
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
if shown is not graph:
    st.caption(f"Up to {HOPS} steps around {selected}; {len(names)} nodes in all")
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
        "Arrows follow the data. A dashed arrow is behind: its source has newer commits or files."
    )
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

facts = lake.table(node.id)
moment = now()
if facts is not None:
    st.markdown("**Versions**")
    st.dataframe(
        [
            {
                "snapshot": str(each.snapshot_id),
                "committed": each.committed_at,
                "operation": each.operation,
                "rows": each.rows_added - each.rows_removed,
                "tags": list(each.tags),
                "inputs": ", ".join(
                    f"{table}@{wording.snapshot(at)}" for table, at in each.inputs.items()
                ),
                "state": "live" if each.alive else "expired",
            }
            for each in table_detail(facts).snapshots
        ],
        hide_index=True,
        column_config={
            "committed": st.column_config.DatetimeColumn(
                format="YYYY-MM-DD HH:mm:ss", timezone="UTC"
            ),
            "rows": st.column_config.NumberColumn("rows ±", format="localized"),
            "tags": st.column_config.ListColumn(),
        },
        alt=f"Snapshots of {node.id}, newest first",
    )
elif node.id == ONLINE_STORE:
    st.markdown("**Published views**")
    st.dataframe(
        [
            {
                "view": view.view,
                "snapshot": str(view.snapshot_id),
                "entities": view.rows,
                "newest event": wording.moment(view.newest_event_time),
                "published": wording.age(view.published_at, now=moment),
            }
            for view in lake.online
        ],
        hide_index=True,
        alt="Feature views in the online store",
    )
