"""What mkdocs does beside its own work: pages from elsewhere, links to them, folders in the navigation."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site.links import ROOT_PAGES, relinked
from docs.site.reference import reference_pages

ROOT = Path(__file__).resolve().parent.parent.parent


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder where the navigation names it with a `*`."""
    config.nav = _expanded(config.nav, named=frozenset(_leaves(config.nav)))
    return config


def _leaves(entry: Any) -> list[str]:  # noqa: ANN401  (a tree of lists, mappings and texts)
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [leaf for each in inner for leaf in _leaves(each)]


def _expanded(entry: Any, *, named: frozenset[str]) -> Any:  # noqa: ANN401  (a tree, as above)
    if isinstance(entry, list):
        return [_expanded(each, named=named) for each in entry]
    if isinstance(entry, dict):
        return {title: _expanded(each, named=named) for title, each in entry.items()}
    if not entry.endswith("*"):
        return entry
    pages = sorted(
        (ROOT / "docs").glob(f"{entry}.md"), key=lambda page: (page.name != "README.md", page.name)
    )
    found = (page.relative_to(ROOT / "docs").as_posix() for page in pages)
    return [page for page in found if page not in named]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the documents beside `docs`, the reference, and the icon of the pages."""
    for page, text in reference_pages().items():
        files.append(File.generated(config, page, content=text))
    icon = str(ROOT / "ui" / "icon.svg")
    files.append(File.generated(config, "images/icon.svg", abs_src_path=icon))
    for path, page in ROOT_PAGES.items():
        text = (ROOT / path).read_text()
        content = relinked(text, source=path) if page.endswith(".md") else text
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Let links that leave `docs` lead to the pages of the site."""
    if page.file.generated_by is not None:
        return markdown
    return relinked(markdown, source=f"docs/{page.file.src_uri}")
