"""Samples: what serving knew at an exposure's time; `?sample=…` opens one, `?set=…` a sample set."""

from collections.abc import Sequence

import streamlit as st

from headrace.samples.by_day import SampleDay
from headrace.samples.inspect import InspectedSample
from ui import data, sample_charts, wording
from ui.commands import command
from ui.parts import say_if_gone, stop_if_empty, wait_until_read
from ui.reading import READ_S
from ui.sample_data import inspected, sample_set_facts, value_text
from ui.timeline import apart, timeline, why_not_used
from ui.words import meaning

lake = data.lake_facts(within_s=READ_S)
stop_if_empty(lake, what="samples")
wait_until_read(lake)
sets = {name: table for table, name in lake.sample_sets.items() if lake.table(table)}
if not sets:
    with st.container(border=True):
        st.subheader("No samples are built yet", icon=":material/timeline:")
        st.markdown("A sample set is declared in `lake/samples/`. Build the one that you declared:")
        names = sorted(lake.sample_sets.values())
        st.code(command("samples", "build", names[0] if names else "NAME"), language="bash")
    st.stop()


def shape(days: Sequence[SampleDay]) -> None:
    """Show the set by day: rows, label maturity, positive rate, samples without a feature row."""
    rows = sum(each.rows for each in days)
    if not rows:
        st.caption("The table has no samples yet")
        return
    first, last = days[0].day, days[-1].day
    labels = list(days[0].positives)
    with st.grid(4, min_column_width=170):
        st.metric(
            "Samples", f"{rows:,}", border=True, help=f"From {first} to {last}. {meaning('sample')}"
        )
        for label in labels:
            positives = sum(each.positives[label] for each in days)
            pending = sum(each.pending[label] for each in days)
            st.metric(
                f"Positive, {label}", wording.share(positives / rows), border=True,
                help=f"{positives:,} of {rows:,} samples",
            )  # fmt: skip
            st.metric(
                f"Pending, {label}", wording.share(pending / rows), border=True,
                help="The watermark has not passed the window: the label may still change",
            )  # fmt: skip
        without = max((sum(d.without_row.values()) for d in days), default=0)
        missing = sum(sum(each.without_row.values()) for each in days)
        views = max(1, len(days[0].without_row))
        st.metric(
            "Without a feature row", wording.share(missing / rows / views), border=True,
            help="No row was known, or the newest known one had expired; over all views. "
            f"At most {without:,} values in a day",
        )  # fmt: skip
    left, middle, right = st.columns(3)
    for place, title, option in (
        (left, "Samples by day", sample_charts.rows_by_day(days)),
        (middle, "Positive rate by day", sample_charts.positive_rate(days)),
        (right, "Without a feature row by day", sample_charts.without_row(days)),
    ):
        with place:
            st.markdown(f"**{title}**")
            st.echarts_chart(option, height=230, key=title, alt=f"{title}, {first} to {last}")


def sample(found: InspectedSample) -> None:
    """Show one sample: its time line, and every value with its times."""
    exposure = found.event_time
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(f"Sample {found.sample_id}", width="content")
        st.badge(found.label_state, color="green" if found.label_state == "mature" else "orange")
    st.caption(
        f"Exposure at {exposure:%Y-%m-%d %H:%M:%S.%f} UTC · kept with rate {found.keep_rate:g} · "
        + " · ".join(f"{name} {value_text(value)}" for name, value in found.columns)
    )
    line = timeline(found)
    st.echarts_chart(
        sample_charts.timeline_chart(line, dark=st.context.theme.type == "dark"),
        height=sample_charts.timeline_height_px(line),
        key="timeline",
        alt=f"What serving knew at the exposure of {found.sample_id}; the table below says the same",
    )
    st.caption(
        "A bar runs from when a row happened to when it became known, on a logarithmic scale around "
        "the exposure. Only a row that is known before the exposure may be used."
    )
    st.dataframe(
        [
            {
                "feature": f"{feature.view}.{name}",
                "value": value_text(value),
                "event_time, UTC": wording.second(row.event_time) if row else "—",
                "known_at, UTC": wording.second(row.known_at) if row else "—",
                "used": "used" if feature.used else "expired" if feature.expired else "no row",
                "age at exposure": apart(exposure - row.event_time) if row else "—",
                "came later": (
                    f"row of {wording.second(feature.not_used.event_time)}, "
                    f"{why_not_used(feature.not_used, at=exposure)}"
                    if feature.not_used
                    else "—"
                ),
            }
            for feature in found.features
            for row in [feature.used or feature.expired]
            for name, value in feature.values
        ],
        hide_index=True,
        column_config={
            "feature": st.column_config.TextColumn(pinned=True),
            "value": st.column_config.TextColumn(width=150),
            "event_time, UTC": st.column_config.TextColumn(help=meaning("event time")),
            "known_at, UTC": st.column_config.TextColumn(help=meaning("`known_at`")),
            "came later": st.column_config.TextColumn(width=430, help=meaning("revision")),
        },
        height="content",
        alt=f"Feature values of {found.sample_id} with their times",
    )
    st.dataframe(
        [
            {
                "label": label.name,
                "value": value_text(label.value),
                "state": label.state,
                "event": wording.second(label.at) if label.at else "none",
                "window closes": wording.second(label.window_ends),
                "watermark at build": wording.second(label.watermark) if label.watermark else "—",
                "from": label.table,
            }
            for label in found.labels
        ],
        hide_index=True,
        column_config={"state": st.column_config.TextColumn(help=meaning("mature"))},
        alt=f"Labels of {found.sample_id}",
    )
    st.code(command("samples", "inspect", found.sample_id), language="bash")


say_if_gone("set", sets)
name = st.selectbox("Sample set", list(sets), key="set", bind="query-params")
table = lake.table(sets.get(name or "", next(iter(sets.values()))))
if table is None:
    st.stop()
facts = sample_set_facts(table)
if facts.error:
    st.error(facts.error, icon=":material/broken_image:")
else:
    shape(facts.found.days)

st.subheader(
    "What serving knew",
    help="Each feature value of one sample with the time it happened and the time it became known",
)
with st.container(horizontal=True, vertical_alignment="bottom"):
    asked = st.text_input("Sample id", key="sample", bind="query-params", width=320)
    examples = {
        f"{each.sample_id}{' · positive' if each.positive else ''}": each.sample_id
        for each in facts.found.examples
    }
    picked = st.selectbox("Or one of these", list(examples), width=320) if examples else None
wanted = asked.strip() or examples.get(picked or "", "")
if not wanted:
    st.stop()
found = inspected(table, wanted)
if found is None:
    st.warning(
        f"`{table.name}` has no sample `{wanted.replace('`', '')}`", icon=":material/search_off:"
    )
else:
    sample(found)
