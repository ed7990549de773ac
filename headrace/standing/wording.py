"""Format lists of names and times for findings."""

import datetime as dt
from collections.abc import Sequence


def listed(names: Sequence[str], *, shown_max: int = 3) -> str:
    """List names, the first few by name: `a`, `a and b`, `a, b, c and 4 more`."""
    if len(names) > shown_max:
        return f"{', '.join(names[:shown_max])} and {len(names) - shown_max:,} more"
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def moment(at: dt.datetime | None) -> str:
    """Format a time in UTC to the minute; `—` for None."""
    return "—" if at is None else f"{at:%Y-%m-%d %H:%M}"
