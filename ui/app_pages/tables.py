"""Tables: all of them, with filters; `?table=raw.impressions` opens one."""

import streamlit as st

from ui import data
from ui.paimon_list import paimon_list
from ui.parts import go_on_reading, say_if_gone, stop_if_empty, unreadable
from ui.reading import READ_S
from ui.table_list import table_list
from ui.table_view import table_view

lake = data.lake_facts(within_s=READ_S)
stop_if_empty(lake, what="tables")
names = [table.name for table in lake.tables]
asked = st.query_params.get("table")
if asked and asked not in lake.unread:
    say_if_gone("table", [*names, *(each.name for each in lake.unreadable)])

facts = lake.table(asked) if asked else None
broken = [each for each in lake.unreadable if each.name == asked]
if facts is not None:
    table_view(lake, facts)
elif broken:
    unreadable(lake, only=broken[0].name)
else:
    unreadable(lake)
    table_list(lake)
    paimon_list(lake)
go_on_reading(lake)
