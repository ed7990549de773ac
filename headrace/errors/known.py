"""What to say of a name that is not there: the one that was meant, or those there are."""

import difflib
from collections.abc import Sequence

_LISTED_MAX = 12


def nearest(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the known names that `name` was probably meant to be, the most likely first.

    `clicks` means each `raw.clicks`, and `raw.clickz` the one of nearly the same letters.
    """
    ends = tuple(each for each in known if each.rpartition(".")[2] == name)
    return ends or tuple(difflib.get_close_matches(name, known, n=1))


def said_of(name: str, known: Sequence[str], *, title: str) -> str:
    """Say which name was probably meant, or else list what there is, at most a dozen."""
    near = nearest(name, known)
    if near:
        return f"did you mean {' or '.join(f'`{each}`' for each in near)}?"
    listed = ", ".join(f"`{each}`" for each in known[:_LISTED_MAX]) or "none yet"
    more = f" and {len(known) - _LISTED_MAX} more" if len(known) > _LISTED_MAX else ""
    return f"{title}: {listed}{more}"
