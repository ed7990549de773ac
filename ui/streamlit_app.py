"""The entry point of the pages: `streamlit run ui/streamlit_app.py`, or `make ui`."""

import logging
import os
from pathlib import Path

import streamlit as st

from ui.access import Visitor, log_out, visitor
from ui.data import LakeError, frame_facts
from ui.facts import FrameFacts
from ui.parts import now

# a local file: for a named icon Streamlit makes the browser load a font from a remote host
ICON = Path(__file__).with_name("icon.svg")
DAGSTER = "http://127.0.0.1:3000"  # where `make dagster` serves

# before the navigation, which would set the icon of the page, and the title of the page alone
st.set_page_config(page_title="headrace", page_icon=ICON, layout="wide")
page = st.navigation(
    [
        st.Page(
            "app_pages/overview.py",
            title="Overview",
            icon=":material/water:",
            help="The lake in one picture, and what needs attention.",
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
            help="Every table; one in detail: schema, rows, snapshots, files, health.",
        ),
        st.Page(
            "app_pages/samples.py",
            title="Samples",
            icon=":material/timeline:",
            help="What serving knew at an exposure; positives, label maturity, missing features.",
        ),
        st.Page(
            "app_pages/serving.py",
            title="Serving",
            icon=":material/bolt:",
            help="Freshness of the online store, times of requests, skew by cause, one request in full.",
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
            help="Published dataset versions: comparison, pinned inputs, code to load one.",
        ),
    ],
    position="top",
)


def frame() -> None:
    """Say which page of which lake this is, and when it was read."""
    st.title(page.title, icon=page.icon)
    who = visitor()
    found = frame_facts()
    st.set_page_config(page_title=f"{page.title} · {found.lake} · headrace")
    with st.container(horizontal=True, vertical_alignment="center"):
        _names(found, who)
    if who.name:
        log_out()


def _names(found: FrameFacts, who: Visitor) -> None:
    st.caption(
        f"Lake **{found.lake}** · profile {found.profile} · headrace {found.version} · "
        f"refreshed at {now():%Y-%m-%d %H:%M:%S} UTC"
        + (f" · `{who.name}`, {who.role}" if who.name else ""),
        width="content",
    )
    st.page_link(
        os.environ.get("HEADRACE_DAGSTER_URL", DAGSTER),
        label="Dagster",
        icon=":material/open_in_new:",
        width="content",
    )


try:
    frame()
    page.run()
except LakeError as error:
    logging.getLogger(__name__).exception("the page could not be shown")
    st.error(f"**{error.code}**  \n{error}", icon=":material/error:")
