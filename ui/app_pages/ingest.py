"""Ingest: how each stream goes, live; `?stream=impressions` opens one in detail."""

from collections.abc import Sequence

import streamlit as st

from ui import charts, data, wording
from ui.commands import command, commands
from ui.facts import IngestFacts, MinuteFacts
from ui.ingest_data import ingest_facts
from ui.parts import now, say_if_gone, stop_if_empty, wait_until_read, what_failed
from ui.reading import FRESH_S, READ_S

lake = data.lake_facts(within_s=READ_S)
stop_if_empty(lake, what="streams")
wait_until_read(lake)


def service(facts: IngestFacts) -> str:
    """Say what follows a stream."""
    return facts.service or "not followed"


def behind(facts: IngestFacts) -> str:
    """Say how far a stream is behind the end of its source, as its service last said."""
    if facts.lag is None or facts.service in ("vanished", "stopped", "failed"):
        return "—"
    if not facts.lag:
        return "up to date"
    return f"{wording.count(facts.lag, 'record')}, {facts.behind_s or 0:.0f} s"


def declared(name: str) -> dict[str, object]:
    """Say what a stream's source holds besides what was taken, and which fields do not fit."""
    facts = next((each for each in lake.streams if each.stream == name), None)
    return {
        "source": facts.source if facts else "—",
        "waiting": wording.count(facts.waiting, facts.parts) if facts and facts.waiting else "—",
        "undeclared fields": ", ".join(facts.undeclared) if facts and facts.undeclared else "—",
        "missing fields": ", ".join(facts.absent) if facts and facts.absent else "—",
    }


@st.fragment(run_every=FRESH_S)
def streams() -> None:
    """Show one row for each stream, and what needs a person."""
    found, moment = ingest_facts(), now()
    for each in found:
        if each.unreadable is not None:
            with st.container(border=True):
                st.subheader(f"{each.name} cannot be read", icon=":material/broken_image:")
                what_failed(each.unreadable)
        if each.former:
            st.info(f"**{each.name}** a service before {each.former}", icon=":material/history:")
        if each.error:
            st.error(f"**{each.name}** {service(each)}  \n{each.error}", icon=":material/error:")
        if each.slowed_by:
            st.warning(
                f"**{each.name}** commits more rarely: its table has {each.slowed_by}. "
                f"Maintenance was asked for; `{command('maintain', '--apply', '--follow')}` does it.",
                icon=":material/speed:",
            )
    st.dataframe(
        [
            {
                "stream": each.name,
                "owner": f"{each.owner}, epoch {each.epoch}" if each.epoch else each.owner,
                "service": service(each),
                "behind": behind(each),
                "watermark": wording.moment(each.watermark),
                "watermark age": wording.age(each.watermark, now=moment) if each.watermark else "—",
                "last commit": "—"
                if each.unreadable
                else wording.age(each.committed_at, now=moment),
                "rows": each.rows,
                "late rows": each.late_rows,
                "dead letters": each.dead_letters,
                "refused lately": each.refused_share,
                **declared(each.name),
            }
            for each in found
        ],
        hide_index=True,
        column_config={
            "stream": st.column_config.TextColumn(pinned=True),
            "owner": st.column_config.TextColumn(
                help="Who writes it: headrace, or a job of Flink; an epoch begins with each change"
            ),
            "rows": st.column_config.NumberColumn(format="localized"),
            "late rows": st.column_config.NumberColumn(format="localized"),
            "dead letters": st.column_config.NumberColumn(format="localized"),
            "refused lately": st.column_config.NumberColumn(
                format="percent", help="Share of the newest 10,000 records"
            ),
        },
        alt="Service, lag, watermark and refused share of every stream",
    )


def history_charts(
    history: Sequence[MinuteFacts],
) -> tuple[tuple[str, str, charts.Option | None], ...]:
    """Draw the history of a stream: title, explanation and chart, None without anything to draw."""
    lags = [(each.minute, each.lag_s) for each in history if each.lag_s is not None]
    unit, unit_s = wording.unit_of(max((lag_s for _, lag_s in lags), default=0.0))
    lag = [(at, round(lag_s / unit_s, 1)) for at, lag_s in lags]
    share = [(each.minute, round(each.refused_share * 100, 2)) for each in history]
    is_there = bool(history)
    return (
        ("Rows per minute", "", charts.per_minute(history, what="rows") if is_there else None),
        (
            "Commits per minute",
            "",
            charts.per_minute(history, what="commits") if is_there else None,
        ),
        (
            f"Lag, {unit}",
            "How old the newest event of the slowest partition was at a commit: the most of a minute",
            charts.over_time(lag, name=unit) if lag else None,
        ),
        (
            "Late rows per minute",
            "Rows older than the watermark when they were taken",
            charts.per_minute(history, what="late rows") if is_there else None,
        ),
        (
            "Refused, %",
            "Dead letters for each record of the minute",
            charts.over_time(share, name="%") if is_there else None,
        ),
    )


@st.fragment(run_every=FRESH_S)
def detail(name: str) -> None:
    """Show the history and the dead letters of one stream."""
    facts = next(each for each in ingest_facts() if each.name == name)
    if facts.unreadable is not None:
        return
    for column, (title, said, option) in zip(
        (*st.columns(2), *st.columns(3)), history_charts(facts.history), strict=True
    ):
        with column:
            st.subheader(title, help=said)
            if option is None:
                st.caption("Nothing was committed yet" if not facts.history else "No event yet")
            else:
                st.echarts_chart(option, height=220)
    st.subheader("Dead letters", help="Grouped by reason; first bytes and place of the newest one")
    if not facts.letters:
        st.caption("No record was refused")
        return
    st.dataframe(
        [
            {
                "code": each.code,
                "field": each.field or "—",
                "records": each.count,
                "first seen": wording.moment(each.first_seen),
                "last seen": wording.moment(each.last_seen),
                "newest at": each.example,
                "first bytes": each.first_bytes,
                "reason": each.reason,
            }
            for each in facts.letters
        ],
        hide_index=True,
        column_config={"records": st.column_config.NumberColumn(format="localized")},
        alt="Dead letters of the stream by reason",
    )
    st.code(
        commands(("dead-letters", "show", facts.name), ("dead-letters", "replay", facts.name)),
        language="bash",
    )


streams()
by_name = {each.name: each for each in ingest_facts()}
if by_name:
    say_if_gone("stream", by_name)
    worst = max(by_name.values(), key=lambda each: each.dead_letters or 0).name
    names = list(by_name)
    chosen = st.selectbox(
        "Stream", names, index=names.index(worst), key="stream", bind="query-params"
    )
    detail(chosen or worst)
