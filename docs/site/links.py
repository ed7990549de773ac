"""Where links of a document lead on the site: files of the repository have other places there."""

import posixpath
import re
from collections.abc import Mapping

# documents beside `docs`, and the pages that they are on the site
ROOT_PAGES: Mapping[str, str] = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "LICENSE": "license.txt",
}
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def relinked(text: str, *, source: str) -> str:
    """Rewrite the relative links of a document for the site; code is left alone.

    `source` is the document's path in the repository, as `docs/kafka.md`. What is neither in `docs`
    nor a page of its own keeps its link, which the build then refuses.
    """
    page = site_path(source)
    parts = _FENCE.split(text)
    parts[::2] = [
        _LINK.sub(lambda link: _target(link[1], source=source, page=page), part)
        for part in parts[::2]
    ]
    return "".join(parts)


def site_path(path: str) -> str:
    """Return the place on the site of a file of the repository."""
    return ROOT_PAGES.get(path) or path.removeprefix("docs/")


def _target(link: str, *, source: str, page: str) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if path not in ROOT_PAGES and not path.startswith("docs/"):
        return link
    return posixpath.relpath(site_path(path), posixpath.dirname(page) or ".")
