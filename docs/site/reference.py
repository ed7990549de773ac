"""The pages of the reference, all of them made when the site is built: `python -m docs.site.reference`."""

import sys
from collections.abc import Mapping
from functools import cache

from docs.site.commands import commands_page
from docs.site.declared import declared_pages
from docs.site.errors import errors_page

FOLDER = "reference"


@cache
def reference_pages() -> Mapping[str, str]:
    """Map the path of each page on the site to its Markdown."""
    pages = {**dict(declared_pages()), "commands": commands_page(), "errors": errors_page()}
    return {f"{FOLDER}/{name}.md": text for name, text in pages.items()}


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference_pages().values()))
