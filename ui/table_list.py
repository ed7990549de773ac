"""Draw the list of tables: search, filters, and the columns that matter."""

import streamlit as st

from headrace.standing.causes import causes
from ui import wording
from ui.facts import LakeFacts, TableFacts
from ui.parts import now
from ui.words import meaning

_STATES = ("needs attention", "behind", "gained rows today")
TABLES_IN_FULL = 30  # a longer list scrolls in itself


def table_list(lake: LakeFacts) -> None:
    """Draw the tables that the filters leave, worst first; choosing a row opens its page."""
    behind = {name for cause in causes(lake.flow) for name in cause.affected}
    spaces = sorted({_space(table.name) for table in lake.tables})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        found = st.text_input(
            "Search", key="find", bind="query-params", placeholder="Part of a name", width=260
        )
        stage = st.pills("Stage", spaces, key="stage", bind="query-params")
        state = st.pills("State", _STATES, key="state", bind="query-params")
    shown = [
        table
        for table in sorted(lake.tables, key=lambda table: (table.score, table.name))
        if (not found or found.lower() in table.name)
        and (not stage or _space(table.name) == stage)
        and _is(table, state, lake, behind)
    ]
    st.caption(
        f"{len(shown):,} of {wording.count(len(lake.tables), 'table')}, worst score first; "
        "choose a row to open it"
    )
    if not shown:
        return
    unit, step = wording.unit_for(max(table.bytes for table in shown))
    moment = now()
    chosen = st.dataframe(
        [
            {
                "table": table.name,
                "score": table.score,
                "state": "behind" if table.name in behind else "fresh",
                "rows": table.rows,
                "today": lake.rows_today.get(table.name, 0),
                f"size, {unit}": table.bytes / step,
                "files": table.files,
                "snapshots": table.snapshots,
                "last commit": wording.age(table.committed_at, now=moment),
                "watermark, UTC": wording.moment(table.watermark),
                "main finding": table.worst.finding if table.worst else "—",
            }
            for table in shown
        ],
        hide_index=True,
        key="tables",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "table": st.column_config.TextColumn(pinned=True),
            "score": st.column_config.ProgressColumn(
                format="%d", min_value=0, max_value=100, width="small"
            ),
            "rows": st.column_config.NumberColumn(format="localized"),
            "today": st.column_config.NumberColumn(
                format="localized", help="Rows gained since midnight UTC"
            ),
            f"size, {unit}": st.column_config.NumberColumn(format="%.2f"),
            "files": st.column_config.NumberColumn(format="localized"),
            "watermark, UTC": st.column_config.TextColumn(help=meaning("watermark")),
        },
        height="content" if len(shown) <= TABLES_IN_FULL else "auto",
        alt="Health, freshness and size of every table, worst score first",
    )
    rows = chosen["selection"]["rows"]
    if rows and rows[0] < len(shown):
        st.switch_page("app_pages/tables.py", query_params={"table": shown[rows[0]].name})


def _space(table: str) -> str:
    return table.partition(".")[0]


def _is(table: TableFacts, state: str | None, lake: LakeFacts, behind: set[str]) -> bool:
    if state == "needs attention":
        return not table.is_fit or table.name in behind
    if state == "behind":
        return table.name in behind
    return state is None or lake.rows_today.get(table.name, 0) > 0
