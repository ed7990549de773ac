"""Compare two versions of one dataset by their lockfiles; pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.datasets.drift import ColumnDrift, drift
from ui.facts import DayFacts, VersionFacts
from ui.wording import count, signed


@dataclass(frozen=True, kw_only=True)
class DayDifference:
    """One day that differs; the row count is None on the side that lacks the day."""

    day: dt.date
    change: str
    rows_before: int | None
    rows_after: int | None
    cause: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A column, or a part of the definition, that differs; None on the side that lacks it."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class LabelDifference:
    """Samples of one label, state and value in both versions."""

    label: str
    state: str
    value: str
    rows_before: int
    rows_after: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between two versions, and a one-line summary; no drift if it is not known."""

    days: tuple[DayDifference, ...]
    columns: tuple[Change, ...]
    definition: tuple[Change, ...]
    labels: tuple[LabelDifference, ...]
    drift: tuple[ColumnDrift, ...] | None
    summary: str


def difference(before: VersionFacts, after: VersionFacts) -> Difference:
    """Compare day by day: content hashes show what differs, the lockfiles show why."""
    first = {day.day: day for day in before.days}
    second = {day.day: day for day in after.days}
    redefined = before.code != after.code
    days = tuple(
        found
        for day in sorted(first.keys() | second.keys())
        if (found := _of_day(day, first.get(day), second.get(day), redefined=redefined))
    )
    columns = _changes(before.columns, after.columns)
    moves = drift(before.profiles, after.profiles)
    moved = sum(each.moved for each in moves or ())
    parts = [
        f"{signed(after.rows - before.rows)} rows",
        f"{count(len(days), 'day')} differ" if len(days) != 1 else "1 day differs",
        f"{count(len(columns), 'column')} differ" if len(columns) > 1 else "",
        "1 column differs" if len(columns) == 1 else "",
        f"values of {count(moved, 'column')} moved" if moved else "",
        "definition changed" if redefined else "definition unchanged",
    ]
    return Difference(
        days=days,
        columns=columns,
        definition=_changes(before.definition, after.definition),
        labels=_labels(before, after),
        drift=moves,
        summary=", ".join(part for part in parts if part),
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name=name, before=before.get(name), after=after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _labels(before: VersionFacts, after: VersionFacts) -> tuple[LabelDifference, ...]:
    counts = [
        {(each.label, each.state, each.value): each.rows for each in version.labels}
        for version in (before, after)
    ]
    first, second = counts
    return tuple(
        LabelDifference(
            label=key[0],
            state=key[1],
            value=key[2],
            rows_before=first.get(key, 0),
            rows_after=second.get(key, 0),
        )
        for key in sorted(first.keys() | second.keys())
    )


def _of_day(
    day: dt.date, before: DayFacts | None, after: DayFacts | None, *, redefined: bool
) -> DayDifference | None:
    if before and after and before.content_hash == after.content_hash:
        return None
    if before is None:
        change, cause = "added", "not in the earlier version"
    elif after is None:
        change, cause = "removed", "not in the later version"
    else:
        change, cause = "changed", ", ".join(_causes(before, after, redefined=redefined))
    return DayDifference(
        day=day,
        change=change,
        rows_before=before.rows if before else None,
        rows_after=after.rows if after else None,
        cause=cause,
    )


def _causes(before: DayFacts, after: DayFacts, *, redefined: bool) -> list[str]:
    """Tell apart a changed definition, labels that matured, and inputs that gained late rows."""
    found = ["definition changed"] if redefined else []
    matured = sorted(
        table
        for table in before.watermarks.keys() | after.watermarks.keys()
        if before.watermarks.get(table) != after.watermarks.get(table)
    )
    found += [f"labels of {table} matured further" for table in matured]
    late = sorted(
        table
        for table in before.inputs.keys() | after.inputs.keys()
        if before.inputs.get(table) != after.inputs.get(table) and table not in matured
    )
    found += [f"late input of {table}" for table in late]
    return found or ["unknown"]
