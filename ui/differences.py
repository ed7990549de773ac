"""Compare two versions of one dataset by their lockfiles."""

import datetime as dt
from dataclasses import dataclass

from ui.facts import DayFacts, VersionFacts
from ui.wording import count


@dataclass(frozen=True, kw_only=True)
class DayDifference:
    """One day that differs; the row count is None on the side that lacks the day."""

    day: dt.date
    change: str
    rows_before: int | None
    rows_after: int | None
    cause: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The days that differ, and a one-line summary."""

    days: tuple[DayDifference, ...]
    summary: str


def difference(before: VersionFacts, after: VersionFacts) -> Difference:
    """Compare day by day: content hashes show what differs, inputs and definition show why."""
    first = {day.day: day for day in before.days}
    second = {day.day: day for day in after.days}
    redefined = before.code != after.code
    days = tuple(
        found
        for day in sorted(first.keys() | second.keys())
        if (found := _of_day(day, first.get(day), second.get(day), redefined=redefined))
    )
    rows = after.rows - before.rows
    parts = [
        f"{rows:+,} rows",
        f"{count(len(days), 'day')} differ" if len(days) != 1 else "1 day differs",
        "definition changed" if redefined else "definition unchanged",
    ]
    return Difference(days=days, summary=", ".join(parts))


def _of_day(
    day: dt.date, before: DayFacts | None, after: DayFacts | None, *, redefined: bool
) -> DayDifference | None:
    if before and after and before.content_hash == after.content_hash:
        return None
    if before is None or after is None:
        change, cause = ("added", "") if before is None else ("removed", "")
    else:
        tables = sorted(
            table
            for table in before.inputs.keys() | after.inputs.keys()
            if before.inputs.get(table) != after.inputs.get(table)
        )
        causes = [*(["definition"] if redefined else []), *(f"new {table}" for table in tables)]
        change, cause = "changed", ", ".join(causes) or "unknown"
    return DayDifference(
        day=day,
        change=change,
        rows_before=before.rows if before else None,
        rows_after=after.rows if after else None,
        cause=cause,
    )
