"""Serving: freshness, times of requests, skew by cause, one request; `?request=…` opens one."""

import streamlit as st

from ui import data, wording
from ui.commands import command
from ui.parts import (
    go_on_reading,
    now,
    online_views,
    say_if_gone,
    stop_if_empty,
    wait_until_read,
)
from ui.reading import READ_S
from ui.serving_data import request_values, serving_facts
from ui.serving_facts import RequestFacts, ServingFacts, percentile

lake = data.lake_facts(within_s=READ_S)
stop_if_empty(lake, what="served values")
wait_until_read(lake)

st.subheader("Online store", help="The feature views that requests are answered from")
online_views(lake, now=now())


def shape(facts: ServingFacts) -> None:
    """Show how many requests there were, how long they took, and how many values differ."""
    values = sum(e.equal + sum(e.causes.values()) for each in facts.skew.values() for e in each)
    equal = sum(e.equal for each in facts.skew.values() for e in each)
    took_ms = facts.took_ms
    with st.grid(4, min_column_width=170):
        st.metric("Requests", f"{len(facts.requests):,}", border=True, help="The newest of the log")
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            shown = f"{percentile(took_ms, share):.1f} ms" if took_ms else "—"
            st.metric(
                f"Time, {name}", shown, border=True,
                help="Look-up and score, without the network; the log needs the field `took_ms`",
            )  # fmt: skip
        st.metric(
            "As in training", wording.share(equal / values if values else None), border=True,
            help=f"{equal:,} of {values:,} values are what the point-in-time rule gives",
        )  # fmt: skip


def skew(facts: ServingFacts) -> None:
    """Show each feature of each sample set: how many values are equal, and why others are not."""
    for name, features in facts.skew.items():
        causes = list(dict.fromkeys(cause for each in features for cause in each.causes))
        st.dataframe(
            [
                {
                    "feature": each.feature,
                    "equal": each.equal,
                    **{cause.replace("_", " "): each.causes.get(cause, 0) for cause in causes},
                }
                for each in features
            ],
            hide_index=True,
            column_config={"feature": st.column_config.TextColumn(pinned=True)},
            height="content",
            alt=f"Values served for {name}, by feature: equal to training, or the cause",
        )
        st.code(command("skew", name, facts.stream), language="bash")


def request(facts: ServingFacts, found: RequestFacts) -> None:
    """Show one row of a request: each value, where it came from, and what training has."""
    took = "" if found.took_ms is None else f" · took {found.took_ms:.1f} ms"
    st.caption(
        f"Served at {wording.second(found.served_at)} UTC for the moment "
        f"{wording.second(found.at)} UTC{took}"
    )
    row = st.number_input("Row", min_value=0, max_value=found.rows - 1, width=160)
    st.dataframe(
        [
            {
                "feature": each.feature,
                "served": each.served,
                "training": each.training,
                "difference": each.cause or each.verdict,
                "status": each.status,
                "event_time, UTC": wording.second(each.event_time) if each.event_time else "—",
                "known_at, UTC": wording.second(each.known_at) if each.known_at else "—",
                "from": f"{each.view} at {each.snapshot}",
            }
            for each in request_values(facts, found.request_id, row=int(row))
        ],
        hide_index=True,
        column_config={"feature": st.column_config.TextColumn(pinned=True)},
        height="content",
        alt=f"Values of request {found.request_id}, row {row}, beside those of training",
    )


logs = serving_facts(lake)
if not any(each.requests or each.error for each in logs):
    with st.container(border=True):
        st.subheader("No requests are logged yet", icon=":material/bolt:")
        st.markdown(
            "Declare a stream for the serving log, start the server with it, and ingest the log:"
        )
        name = logs[0].stream if logs else "NAME"
        st.code(command("serve", "--log-stream", name), language="bash")
        st.code(command("ingest", "run", name), language="bash")
    go_on_reading(lake)
    st.stop()
by_name = {each.stream: each for each in logs if each.requests or each.error}
say_if_gone("log", by_name)
name = st.selectbox("Serving log", list(by_name), key="log", bind="query-params")
facts = by_name[name or next(iter(by_name))]
if facts.error:
    st.error(facts.error, icon=":material/broken_image:")
    go_on_reading(lake)
    st.stop()
shape(facts)
st.subheader("Skew", help="Served values that the point-in-time rule does not give, by cause")
skew(facts)
st.subheader("One request", help="Each value with the row it came from, as the log says")
known = {each.request_id: each for each in facts.requests}
say_if_gone("request", known)
chosen = st.selectbox("Request", list(known), key="request", bind="query-params")
request(facts, known[chosen or next(iter(known))])
go_on_reading(lake)
