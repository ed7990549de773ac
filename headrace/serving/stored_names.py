"""Names of the versions of a view in the online store.

The served version has the view's own name. `next` is filled beside it, `former` was served before.
"""

from typing import Literal, TypeAlias

Version: TypeAlias = Literal["served", "next", "former"]
VERSIONS: tuple[Version, ...] = ("served", "next", "former")
_MARK = "@"  # no table's name has it


def stored_name(view: str, version: Version) -> str:
    """Return the name that the store has for a version of a view."""
    return view if version == "served" else f"{view}{_MARK}{version}"


def view_named(stored: str) -> str:
    """Return the view that a name of the store is a version of."""
    return stored.partition(_MARK)[0]
