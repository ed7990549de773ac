"""Versions: published datasets, pinned inputs, differences; `?version=ctr v1` opens one."""

import streamlit as st

from ui import charts, data, wording
from ui.commands import commands
from ui.differences import difference
from ui.parts import now, say_if_gone, stop_if_empty
from ui.snippets import load_snippet

lake = data.lake_facts()
stop_if_empty(lake, what="dataset versions")
if not lake.versions:
    with st.container(border=True):
        st.subheader("No dataset version is published yet", icon=":material/inventory_2:")
        st.markdown("Build the samples, then publish the days whose labels are mature:")
        st.code(
            commands(("samples", "build", "ctr"), ("datasets", "publish", "ctr")), language="bash"
        )
    st.stop()

versions = {version.title: version for version in reversed(lake.versions)}
say_if_gone("version", versions)
title = st.selectbox("Version", list(versions), key="version", bind="query-params")
version = versions[title] if title in versions else next(iter(versions.values()))

with st.grid(5, min_column_width=150):
    st.metric("Rows", version.rows, format="localized", border=True)
    st.metric("Positives", version.positives, format="localized", border=True)
    st.metric("Days", len(version.days), border=True)
    st.metric("Pinned snapshots", len(version.pins), border=True)
    st.metric("Published", wording.age(version.created_at, now=now()), border=True)

left, right = st.columns([3, 2])
with left:
    st.subheader("Contents")
    left_out = ", ".join(day.isoformat() for day in version.left_out)
    facts = {
        "Days": f"{version.first_day} to {version.last_day}",
        "Samples": f"{version.table} @ {version.snapshot_id}",
        "Content hash": version.content_hash,
        "Definition": version.code,
        "Labels": "only days with mature labels"
        if version.filter_labels == "mature"
        else "all days, pending labels included",
        "Excluded days": left_out or "none",
        "Published": f"{wording.moment(version.created_at)} UTC",
    }
    st.table(
        [{"fact": name, "value": value} for name, value in facts.items()],
        border="horizontal",
        hide_index=True,
        hide_header=True,
        alt=f"Facts of {version.title}",
    )
with right:
    st.subheader("Labels")
    st.dataframe(
        [
            {"label": each.label, "state": each.state, "value": each.value, "rows": each.rows}
            for each in version.labels
        ],
        hide_index=True,
        column_config={"rows": st.column_config.NumberColumn(format="localized")},
        alt=f"Label counts of {version.title}",
    )

st.subheader("Load this version")
st.code(load_snippet(version), language="python")

st.subheader("Rows by day")
st.echarts_chart(
    charts.rows_by_day(version),
    height=240,
    key="rows_by_day",
    alt=f"{version.rows:,} rows over {len(version.days)} days",
)

st.subheader("Pinned inputs")
st.caption("A tag on every input snapshot keeps it from expiring")
st.dataframe(
    [
        {"table": pin.table, "snapshot": str(pin.snapshot_id), "tag": pin.tag}
        for pin in version.pins
    ],
    hide_index=True,
    alt=f"Snapshots pinned by {version.title}",
)

others = [each for each in versions.values() if each.name == version.name and each != version]
if others:
    st.subheader("Compare")
    other_title = st.selectbox("With", [each.title for each in others], key="with")
    other = next((each for each in others if each.title == other_title), others[0])
    before, after = sorted((version, other), key=lambda each: each.version)
    differs = difference(before, after)
    st.markdown(f"From **{before.title}** to **{after.title}**: {differs.summary}")
    if differs.days:
        st.dataframe(
            [
                {
                    "day": day.day,
                    "change": day.change,
                    "rows before": day.rows_before,
                    "rows after": day.rows_after,
                    "cause": day.cause,
                }
                for day in differs.days
            ],
            hide_index=True,
            placeholder="—",
            alt=f"Days that differ between {before.title} and {after.title}",
        )
