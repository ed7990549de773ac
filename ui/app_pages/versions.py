"""Versions: what differs first; `?version=ctr v2&with=ctr v1` opens a comparison."""

import streamlit as st

from headrace.datasets.drift import NOTABLE_PSI
from ui import charts, data, wording
from ui.commands import command, commands
from ui.differences import Difference, difference
from ui.facts import VersionFacts
from ui.parts import now, say_if_gone, stop_if_empty, wait_until_read
from ui.reading import READ_S
from ui.snippets import version_snippets
from ui.words import meaning

lake = data.lake_facts(within_s=READ_S)
stop_if_empty(lake, what="dataset versions")
wait_until_read(lake)
if not lake.versions:
    with st.container(border=True):
        st.subheader("No dataset version is published yet", icon=":material/inventory_2:")
        st.markdown("Build the samples, then publish the days whose labels are mature:")
        name = next(iter(sorted(lake.sample_sets.values())), "NAME")
        st.code(
            commands(("samples", "build", name), ("datasets", "publish", name)), language="bash"
        )
    st.stop()


def show_drift(before: VersionFacts, after: VersionFacts, differs: Difference) -> None:
    """Show how far the values of each column moved."""
    if differs.drift is None:
        older = after if not after.profiles else before
        st.caption(f"{older.title} was published before lockfiles recorded what values look like")
        return
    st.dataframe(
        [
            {
                "column": each.column,
                "state": "moved" if each.moved else "as before",
                "PSI": each.psi,
                "null before": wording.share(each.null_share_before),
                "null after": wording.share(each.null_share_after),
                "mean before": each.mean_before,
                "mean after": each.mean_after,
                "shift, σ": each.shift,
            }
            for each in differs.drift
        ],
        hide_index=True,
        column_config={
            "PSI": st.column_config.NumberColumn(
                format="%.3f",
                help="Population stability index over buckets of values, nulls included. Moved: "
                f"{NOTABLE_PSI} or more, and more than chance explains with so few rows",
            ),
            "mean before": st.column_config.NumberColumn(
                format="%.5g", help="Of lists: mean length"
            ),
            "mean after": st.column_config.NumberColumn(format="%.5g"),
            "shift, σ": st.column_config.NumberColumn(
                format="%+.2f",
                help="How far the mean moved, in standard deviations of the earlier version",
            ),
        },
        placeholder="—",
        alt=f"How far values moved from {before.title} to {after.title}, by column",
    )
    st.caption("Recorded when the versions were published; nothing is read again")


def compare(before: VersionFacts, after: VersionFacts, differs: Difference) -> None:
    """Show what differs, with the causes."""
    st.markdown(f"From **{before.title}** to **{after.title}**: {differs.summary}")
    with st.grid(4, min_column_width=150):
        for label, old, new in (
            ("Rows", before.rows, after.rows),
            ("Positives", before.positives, after.positives),
            ("Days", len(before.days), len(after.days)),
        ):
            st.metric(
                label, f"{new:,}", delta=wording.signed(new - old), delta_arrow="off",
                delta_color="off", border=True,
            )  # fmt: skip
        rates = before.positive_rate, after.positive_rate
        moved = (
            None
            if None in rates
            else f"{100 * ((rates[1] or 0) - (rates[0] or 0)):+.3f} pp".replace("-", "−")
        )
        st.metric(
            "Positive rate", wording.share(rates[1]), delta=moved, delta_arrow="off",
            delta_color="off", border=True, help="Positive labels for each sample",
        )  # fmt: skip
    days, drift, columns, definition, labels = st.tabs(
        [
            f"Days ({len(differs.days)})",
            f"Drift ({sum(each.moved for each in differs.drift or ())})",
            f"Columns ({len(differs.columns)})",
            f"Definition ({len(differs.definition)})",
            "Labels",
        ]
    )
    with days:
        if not differs.days:
            st.caption("Every day has the same content")
        else:
            st.dataframe(
                [
                    {
                        "day": f"{day.day}",
                        "change": day.change,
                        "rows before": day.rows_before,
                        "rows after": day.rows_after,
                        "cause": day.cause,
                    }
                    for day in differs.days
                ],
                hide_index=True,
                column_config={
                    "rows before": st.column_config.NumberColumn(format="localized"),
                    "rows after": st.column_config.NumberColumn(format="localized"),
                    "cause": st.column_config.TextColumn(width="large"),
                },
                placeholder="—",
                alt=f"Days that differ between {before.title} and {after.title}",
            )
    with drift:
        show_drift(before, after, differs)
    for place, changes, what in (
        (columns, differs.columns, "column"),
        (definition, differs.definition, "part"),
    ):
        with place:
            if not changes:
                st.caption(f"No {what} differs")
                continue
            st.dataframe(
                [{what: each.name, "before": each.before, "after": each.after} for each in changes],
                hide_index=True,
                placeholder="—",
                alt=f"Each {what} that differs between {before.title} and {after.title}",
            )
    with labels:
        st.dataframe(
            [
                {
                    "label": each.label,
                    "state": each.state,
                    "value": each.value,
                    "rows before": each.rows_before,
                    "rows after": each.rows_after,
                    "±": wording.signed(each.rows_after - each.rows_before),
                }
                for each in differs.labels
            ],
            hide_index=True,
            column_config={
                "rows before": st.column_config.NumberColumn(format="localized"),
                "rows after": st.column_config.NumberColumn(format="localized"),
            },
            alt=f"Label counts of {before.title} and {after.title}",
        )


versions = {version.title: version for version in reversed(lake.versions)}
say_if_gone("version", versions)
asked = st.query_params.get("with")  # before its selectbox, which drops an unknown value
with st.container(horizontal=True):
    other_title: str | None = None
    title = st.selectbox("Version", list(versions), key="version", bind="query-params")
    version = versions[title] if title in versions else next(iter(versions.values()))
    others = {
        each.title: each
        for each in versions.values()
        if each.name == version.name and each != version
    }
    if others:
        earlier = [each for each in others.values() if each.version < version.version]
        start = list(others).index(earlier[0].title) if earlier else 0
        other_title = st.selectbox(
            "Compare with", list(others), index=start, key="with", bind="query-params"
        )
if others:
    if asked and asked not in others:
        st.warning(
            f"`{asked.replace('`', '')}` is no other version of {version.name}",
            icon=":material/search_off:",
        )
    other = others.get(other_title or "", next(iter(others.values())))
    older, newer = sorted((version, other), key=lambda each: each.version)
    compare(older, newer, difference(older, newer))
    st.subheader(f"Contents of {version.title}", help=meaning("version"))
else:
    with st.grid(5, min_column_width=150):
        st.metric("Rows", f"{version.rows:,}", border=True)
        st.metric("Positives", f"{version.positives:,}", border=True)
        st.metric("Days", f"{len(version.days):,}", border=True)
        st.metric("Pinned snapshots", f"{len(version.pins):,}", border=True)
        st.metric("Published", wording.age(version.created_at, now=now()), border=True)

table = lake.table(version.table)
snippets = version_snippets(
    version, table.metadata_location if table else "", trino_catalog=lake.trino_catalog
)
for tab, (language, code) in zip(st.tabs(list(snippets)), snippets.values(), strict=True):
    with tab:
        st.code(code, language=language)

left, right = st.columns([3, 2])
with left:
    left_out = ", ".join(day.isoformat() for day in version.left_out)
    trained = [each for each in lake.models if each.title == version.title]
    facts = {
        "Days": f"{version.first_day} to {version.last_day}",
        "Samples": f"{version.table} @ {version.snapshot_id}",
        "Content hash": version.content_hash,
        "Definition": version.code,
        "Labels": "only days with mature labels"
        if version.filter_labels == "mature"
        else "all days, pending labels included",
        "Excluded days": left_out or "none",
        "Rows": f"{version.rows:,}, {version.positives:,} positive",
        "Published": f"{wording.moment(version.created_at)} UTC",
        "Verified": f"{wording.moment(version.verified_at)} UTC"
        if version.verified_at
        else "not on record",
        "Trained on it": ", ".join(
            f"{each.folder} ({wording.moment(each.trained_at)} UTC)" for each in trained
        )
        or "no model in the lake's folder",
    }
    st.table(
        [{"fact": name, "value": value} for name, value in facts.items()],
        border="horizontal",
        hide_index=True,
        hide_header=True,
        alt=f"Facts of {version.title}",
    )
    st.code(command("datasets", "verify", version.name, str(version.version)), language="bash")
with right:
    st.dataframe(
        [
            {"label": each.label, "state": each.state, "value": each.value, "rows": each.rows}
            for each in version.labels
        ],
        hide_index=True,
        column_config={"rows": st.column_config.NumberColumn(format="localized")},
        alt=f"Label counts of {version.title}",
    )
    st.markdown("**Rows by day**")
    st.echarts_chart(
        charts.rows_by_day(version),
        height=220,
        key="rows_by_day",
        alt=f"{version.rows:,} rows over {len(version.days)} days",
    )

st.subheader("Pinned inputs", help="A tag on every input snapshot keeps it from expiring")
st.dataframe(
    [
        {"table": pin.table, "snapshot": str(pin.snapshot_id), "tag": pin.tag}
        for pin in version.pins
    ],
    hide_index=True,
    alt=f"Snapshots pinned by {version.title}",
)
