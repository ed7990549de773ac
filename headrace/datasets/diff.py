"""What changed between two versions of one dataset, and why: read from their lockfiles alone."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headrace.datasets.drift import ColumnDrift, drift
from headrace.datasets.lockfile import LockedDay, Lockfile

Change = Literal["added", "removed", "changed"]
_ABOUT = ("name", "table", "code_version")  # parts of a definition that decide no row


@dataclass(frozen=True, kw_only=True)
class DayDiff:
    """One day that differs; rows are None on the side that lacks the day.

    `causes` of a changed day name what differs among all that decides its rows: `definition`, the
    tables of exposures, features and labels that were read at another snapshot, and the streams whose
    watermark was another: labels mature by it.
    """

    day: dt.date
    change: Change
    rows_before: int | None
    rows_after: int | None
    causes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelDiff:
    """Samples with a label in one state and of one sign, before and after."""

    label: str
    state: str
    value: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class VersionDiff:
    """The difference of two versions; falsy if they publish the same rows under one definition.

    `definition` names the parts of the recipe that differ, `columns` those that were added (`+`),
    removed (`-`) or have another type (`~`). `drift` compares the values of features and exposure
    columns; None where a lockfile of an earlier release does not say what they look like.
    """

    name: str
    before: int
    after: int
    rows_before: int
    rows_after: int
    positives_before: int
    positives_after: int
    definition: tuple[str, ...]
    columns: tuple[str, ...]
    days: tuple[DayDiff, ...]
    labels: tuple[LabelDiff, ...]
    drift: tuple[ColumnDrift, ...] | None

    def __bool__(self) -> bool:
        return bool(self.days or self.definition or self.columns)


def diff(before: Lockfile, after: Lockfile) -> VersionDiff:
    """Compare two versions. Pure: no table is read."""
    roles = _roles(before.definition) | _roles(after.definition)
    definition = tuple(_definition(before.definition, after.definition))
    first = {day.day: day for day in before.days}
    second = {day.day: day for day in after.days}
    days = (
        _of_day(first.get(day), second.get(day), roles=roles, redefined=bool(definition))
        for day in sorted(first.keys() | second.keys())
    )
    return VersionDiff(
        name=after.name,
        before=before.version,
        after=after.version,
        rows_before=before.rows,
        rows_after=after.rows,
        positives_before=before.positives,
        positives_after=after.positives,
        definition=definition,
        columns=tuple(_columns(before.columns, after.columns)),
        days=tuple(day for day in days if day is not None),
        labels=tuple(_labels(before, after)),
        drift=drift(before.profiles, after.profiles),
    )


def _definition(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for part in sorted((before.keys() | after.keys()) - set(_ABOUT)):
        if before.get(part) != after.get(part):
            yield part


def _columns(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        if name not in before:
            yield f"+{name}"
        elif name not in after:
            yield f"-{name}"
        elif before[name] != after[name]:
            yield f"~{name}"


def _of_day(
    before: LockedDay | None, after: LockedDay | None, *, roles: Mapping[str, str], redefined: bool
) -> DayDiff | None:
    day = after or before
    if day is None or (before and after and before.content_hash == after.content_hash):
        return None
    causes: tuple[str, ...] = ()
    if before is not None and after is not None:
        causes = tuple(_causes(before, after, roles=roles, redefined=redefined))
    return DayDiff(
        day=day.day,
        change="changed" if before and after else "added" if after else "removed",
        rows_before=None if before is None else before.rows,
        rows_after=None if after is None else after.rows,
        causes=causes,
    )


def _causes(
    before: LockedDay, after: LockedDay, *, roles: Mapping[str, str], redefined: bool
) -> Iterator[str]:
    if redefined:
        yield "definition"
    for table in sorted(before.inputs.keys() | after.inputs.keys()):
        if before.inputs.get(table) != after.inputs.get(table):
            yield f"{roles.get(table, 'input')} {table}"
    for table in sorted(before.watermarks.keys() | after.watermarks.keys()):
        if before.watermarks.get(table) != after.watermarks.get(table):
            yield f"watermark {table}"


def _roles(definition: Mapping[str, Any]) -> dict[str, str]:
    """Say for each input what it is: exposures, a feature, a label; of several, the first."""
    features = {each["view"]: "feature" for each in definition.get("features", ())}
    labels = {each["table"]: "label" for each in definition.get("labels", ())}
    return labels | features | {definition.get("exposures", ""): "exposures"}


def _labels(before: Lockfile, after: Lockfile) -> Iterator[LabelDiff]:
    first = {(each.label, each.state, each.value): each.rows for each in before.labels}
    second = {(each.label, each.state, each.value): each.rows for each in after.labels}
    for key in sorted(first.keys() | second.keys()):
        label, state, value = key
        rows = (first.get(key, 0), second.get(key, 0))
        if rows[0] != rows[1]:
            yield LabelDiff(label=label, state=state, value=value, before=rows[0], after=rows[1])
