"""The entry point of the pages: `streamlit run ui/streamlit_app.py`, or `make ui`."""

import logging
from pathlib import Path

import streamlit as st

from ui.data import LakeError

# a local file: for a named icon Streamlit makes the browser load a font from a remote host
ICON = Path(__file__).with_name("icon.svg")

st.set_page_config(page_title="headrace", page_icon=ICON, layout="wide")

page = st.navigation(
    [
        st.Page(
            "app_pages/overview.py",
            title="Overview",
            icon=":material/monitor_heart:",
            help="What needs attention; health, freshness and row counts of every table.",
            default=True,
        ),
        st.Page(
            "app_pages/ingest.py",
            title="Ingest",
            icon=":material/input:",
            help="How each stream goes: lag, watermark, refused records, dead letters by reason.",
        ),
        st.Page(
            "app_pages/tables.py",
            title="Tables",
            icon=":material/table_chart:",
            help="One table in detail: health, snapshots, files, schema and tags.",
        ),
        st.Page(
            "app_pages/lineage.py",
            title="Lineage",
            icon=":material/account_tree:",
            help="Which snapshots each table was computed from, as recorded by its commits.",
        ),
        st.Page(
            "app_pages/versions.py",
            title="Versions",
            icon=":material/inventory_2:",
            help="Published dataset versions: pinned inputs, comparison, code to load one.",
        ),
    ],
    position="top",
)
st.title(page.title, icon=page.icon)

try:
    page.run()
except LakeError as error:
    logging.getLogger(__name__).exception("the page could not be shown")
    st.error(f"**{error.code}**  \n{error}", icon=":material/error:")
