"""The documentation as a site: every link leads somewhere, and no page asks another host for anything."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest

from docs.images.known_at import drawn
from docs.site.links import ROOT_PAGES, relinked, site_path
from tests.conftest import ROOT

_LOADS = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("img", "srcset")}


class Page(HTMLParser):
    """What a page loads, where it links to, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in _LOADS:
                self.loads.append(value or "")
            if (tag, name) == ("a", "href"):
                self.links.append(value or "")
            if name in ("id", "name"):
                self.anchors.add(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does it, but elsewhere."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_block_of_code_is_shown_as_one(site: Path) -> None:
    # an option of a fence that is none leaves all up to the next one as text
    wrong = [
        str(path.relative_to(site)) for path in site.rglob("*.html") if "```" in path.read_text()
    ]
    assert wrong == []


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 50
    loaded = {link for page in pages.values() for link in page.loads}
    assert loaded
    assert {link for link in loaded if urlsplit(link).netloc} == set()
    styles = "\n".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", styles) == []
    # the theme's script fetches a library for diagrams, and stars of a repository, where a page has them
    marks = ('class="mermaid"', 'data-md-component="source"')
    assert [path for path in pages if any(mark in path.read_text() for mark in marks)] == []


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_page_and_a_place_on_it(
    site: Path, pages: dict[Path, Page]
) -> None:
    # the page of what is not found is served at any address
    checked = {path: page for path, page in pages.items() if path.name != "404.html"}
    lost = [
        (path.name, link)
        for path, page in checked.items()
        for link in page.links
        if not urlsplit(link).scheme and not _leads(link, path, pages)
    ]
    assert lost == []


def _leads(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    target, _, anchor = link.partition("#")
    file = Path(os.path.normpath(path.parent / unquote(target))) if target else path
    if file not in pages:
        return file.is_file() and not anchor
    return unquote(anchor) in pages[file].anchors


@pytest.mark.slow
def test_every_document_is_a_page(pages: dict[Path, Page], site: Path) -> None:
    built = {path.relative_to(site).as_posix() for path in pages}
    wanted = {_page(path) for path in _documents()}
    assert wanted <= built


def _documents() -> Iterator[str]:
    yield from (path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    yield from (path for path in ROOT_PAGES if path.endswith(".md"))


def _page(path: str) -> str:
    page = site_path(path).removesuffix(".md")
    folder, _, name = page.rpartition("/")
    return f"{folder}/index.html" if name == "README" else f"{page}.html"


def test_links_between_documents_of_the_repository_become_links_of_the_site() -> None:
    text = "[a](kafka.md#limits) [b](../README.md#more) [c](https://x.org) [d](#here)\n"
    assert relinked(text, source="docs/serving.md") == text.replace("../README", "readme")
    text = "[a](docs/kafka.md) ![b](docs/images/river.svg) [c](LICENSE)"
    wanted = "[a](kafka.md) ![b](images/river.svg) [c](license.txt)"
    assert relinked(text, source="README.md") == wanted
    text = "[a](../../README.md) [b](0001-x.md)"
    assert relinked(text, source="docs/decisions/README.md") == "[a](../readme.md) [b](0001-x.md)"


def test_code_is_no_link() -> None:
    text = "```python\nf[0](a.md)\n```\n"
    assert relinked(text, source="README.md") == text


def test_the_glossary_has_the_words_of_the_readme_with_the_same_meaning() -> None:
    rows = re.compile(r"^\| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
    readme = (ROOT / "README.md").read_text().partition("## Twelve words")[2].partition("\n## ")[0]
    words = dict(rows.findall((ROOT / "docs" / "glossary.md").read_text()))
    assert len(words) - 1 == 12  # and the title
    assert words == dict(rows.findall(readme))


def test_the_picture_of_two_times_is_what_its_script_draws() -> None:
    picture = ROOT / "docs" / "images" / "known-at.svg"
    assert picture.read_text() == drawn()
    assert {"title", "desc"} <= {
        each.tag.rpartition("}")[2] for each in ElementTree.fromstring(drawn())
    }
