"""What of a window view is declared otherwise than it was, in the words of its declaration; pure."""

import datetime as dt

from headrace.definitions.windows import Windows


def differs_from(now: Windows, before: Windows) -> str:
    """Say what differs first of all that decides the values of a view; empty if nothing does.

    How long a value counts, `stale_after`, decides none of them.
    """
    said, was = _declared(now), _declared(before)
    for what in (*said, *was):
        if what not in was:
            return f"it has {what}, had none"
        if what not in said:
            return f"it has no {what}"
        if said[what] != was[what]:
            return f"its {what} is {said[what]}, was {was[what]}"
    return ""


def _declared(windows: Windows) -> dict[str, str]:
    """Write what decides the values, `lateness` last: it follows from the windows unless it is declared."""
    aggregates = [(each, windows.slots[each.slot]) for each in windows.columns]
    said = {
        "`events`": f"`{windows.events}`",
        "`entity`": ", ".join(f"`{name}`" for name in windows.entity),
        **{
            f"column `{each.name}`": f"`{slot.take}`"
            + (f" of `{slot.of}`, {slot.type}" if slot.of else "")
            + (f", keep {slot.keep}" if slot.keep else "")
            + f" in {_span(each.window_us)}"
            for each, slot in aggregates
        },
        "`hop`": _span(windows.hop_us),
        "`delay`": _span(windows.delay_us),
        "`lateness`": _span(windows.lateness_us),
    }
    return said if windows.key is None else {**said, "`key`": f"`{windows.key}`"}


def _span(span_us: int) -> str:
    return str(dt.timedelta(microseconds=span_us))
