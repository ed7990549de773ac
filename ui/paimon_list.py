"""Draw the tables of the Paimon warehouse: snapshots, tags, files, and what of them was taken."""

import streamlit as st

from headrace.standing.facts import taken_by
from ui import wording
from ui.facts import LakeFacts
from ui.parts import now


def paimon_list(lake: LakeFacts) -> None:
    """Draw every table of the warehouse; nothing without one."""
    if not lake.paimon:
        return
    moment = now()
    taken = {each.table: taken_by(lake.imports, each.table) for each in lake.paimon}
    st.subheader("Paimon")
    st.dataframe(
        [
            {
                "table": each.table,
                "health": each.health,
                "records": each.records,
                "files": each.files.files,
                "unmerged": each.files.unmerged,
                "size": wording.size(each.files.bytes),
                "snapshots": each.snapshots,
                "tags": ", ".join(f"{name} ({at})" for name, at in each.tags.items()) or "—",
                "last commit": wording.age(each.committed_at, now=moment),
                "taken by": taken[each.table][0] or "—",
                "not taken": taken[each.table][1],
            }
            for each in lake.paimon
        ],
        hide_index=True,
        column_config={
            "table": st.column_config.TextColumn(pinned=True),
            "records": st.column_config.NumberColumn(
                format="localized", help="Before rows of one key are merged"
            ),
            "unmerged": st.column_config.NumberColumn(
                help="Files that each read merges until Flink compacts them"
            ),
            "not taken": st.column_config.NumberColumn(help="Snapshots since the last import"),
        },
        alt="Snapshots, tags, files and health of every Paimon table",
    )
