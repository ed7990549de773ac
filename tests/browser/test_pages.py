"""The pages in a browser: nothing is asked of any other machine."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import browser
from tests.browser.servers import free_port, serving
from tests.conftest import DemoLake

PAGES = {
    "": "Online store",
    "ingest": "Rows per minute",
    "tables?table=raw.clicks": "The first 50 of",
    "samples": "What serving knew",
    "lineage": "Lineage",
    "versions": "Content hash",
}


@pytest.fixture(scope="module")
def pages(demo_lake: DemoLake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with serving(
        ["streamlit", "run", "ui/streamlit_app.py", "--server.port", str(port)],
        log=tmp_path_factory.mktemp("streamlit") / "log",
        ready=f"http://127.0.0.1:{port}/_stcore/health",
        environment=demo_lake.environment,
    ):
        yield f"http://127.0.0.1:{port}"


def test_no_request_of_any_page_leaves_this_machine(pages: str, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        for path, shown in PAGES.items():
            page.open(f"{pages}/{path}")
            page.wait_for(shown)
            icon = "document.querySelector('link[rel*=icon]').href"
            page.wait_until(f"{icon}.startsWith('data:image/svg')")
    asked = {urlsplit(url).hostname for url in page.requests if url.startswith(("http", "ws"))}
    assert asked == {"127.0.0.1"}
