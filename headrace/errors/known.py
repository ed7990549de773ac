"""What to say of a name that is not there: the one that was meant, or those there are."""

import difflib
from collections.abc import Sequence

_LISTED_MAX = 12
_ALIKE_MIN = 0.7  # of the letters


def nearest(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the known names that `name` was probably meant to be, the most likely first.

    `clicks` means each `raw.clicks`, and `raw.clickz` the one of nearly the same letters. An equal
    namespace makes no table alike.
    """
    ends = tuple(each for each in known if _last(each) == name)
    alike = (
        each
        for each in difflib.get_close_matches(name, known)
        if difflib.get_close_matches(_last(name), [_last(each)], cutoff=_ALIKE_MIN)
    )
    return ends or tuple(alike)[:1]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def said_of(name: str, known: Sequence[str], *, title: str) -> str:
    """Say which name was probably meant, or else list what there is, at most a dozen."""
    near = nearest(name, known)
    if near:
        return f"did you mean {' or '.join(f'`{each}`' for each in near)}?"
    listed = ", ".join(f"`{each}`" for each in known[:_LISTED_MAX]) or "none yet"
    more = f" and {len(known) - _LISTED_MAX} more" if len(known) > _LISTED_MAX else ""
    return f"{title}: {listed}{more}"
