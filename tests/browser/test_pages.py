"""The pages in a browser: nothing is asked of any other machine."""

from pathlib import Path
from urllib.parse import urlsplit

from tests.browser.chromium import browser

PAGES = {
    "": "Online store",
    "ingest": "Rows per minute",
    "tables?table=raw.clicks": "The first 50 of",
    "samples": "What serving knew",
    "serving": "Online store",
    "lineage": "Lineage",
    "versions": "Content hash",
}


def test_no_request_of_any_page_leaves_this_machine(pages: str, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        for path, shown in PAGES.items():
            page.open(f"{pages}/{path}")
            page.wait_for(shown)
            icon = "document.querySelector('link[rel*=icon]').href"
            page.wait_until(f"{icon}.startsWith('data:image/svg')")
    asked = {urlsplit(url).hostname for url in page.requests if url.startswith(("http", "ws"))}
    assert asked == {"127.0.0.1"}
