"""Decides which days of a sample set to build, and why; touches nothing."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headrace.definitions.sample_set import SampleSet
from headrace.errors import SnapshotNotFoundError
from headrace.identifiers import TableName
from headrace.registry import Build
from headrace.samples.partition import Pinned, reach
from headrace.samples.resolve import Recipe, ResolvedLabel, resolve
from headrace.samples.times import start_of
from headrace.samples.watermarks import watermark_us
from headrace.tables.changes import changes
from headrace.tables.lake import Lake
from headrace.tables.partitions import Term, key_from_text, key_to_text

_DAY = dt.timedelta(days=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_US = dt.timedelta(microseconds=1)
_DAYS_TERM = (Term.day("event_time"),)


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """The days to build and the reason for each, with everything they are computed from."""

    recipe: Recipe
    pinned: Pinned
    reasons: Mapping[dt.date, str]
    unchanged: tuple[dt.date, ...]

    def __bool__(self) -> bool:
        return bool(self.reasons)

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for reason in self.reasons.values():
            counts[reason] = counts.get(reason, 0) + 1
        why = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        days = len(self.reasons) + len(self.unchanged)
        to_build = f"{len(self.reasons)} to build ({why})" if why else "0 to build"
        return f"{days} days: {to_build}, {len(self.unchanged)} unchanged"


def plan_build(
    lake: Lake, sample_set: SampleSet, *, days: Iterable[dt.date] | None = None
) -> BuildPlan:
    """Compare every day's last build with the tables as they are now.

    A day is built if it never was, if the recipe changed, if its exposures changed, if a feature or
    label table changed in days it reaches, or if a label may have matured since. `days` limits the
    plan to some days; one of them that has no exposures and was never built is left out.

    Raises:
        DefinitionError: If the declaration contradicts the tables.
        TableNotFoundError: If a table it names does not exist.

    """
    recipe = resolve(lake, sample_set)
    pinned = pin(lake, recipe)
    built = _builds(lake, recipe)
    candidates = sorted({*_exposure_days(lake, recipe, pinned), *built})
    wanted = set(candidates) if days is None else set(days)
    judge = _Judge(lake, recipe, pinned)
    reasons: dict[dt.date, str] = {}
    unchanged: list[dt.date] = []
    for day in candidates:
        if day not in wanted:
            continue
        reason = judge.reason(day, built.get(day))
        if reason is None:
            unchanged.append(day)
        else:
            reasons[day] = reason
    return BuildPlan(recipe=recipe, pinned=pinned, reasons=reasons, unchanged=tuple(unchanged))


def pin(lake: Lake, recipe: Recipe) -> Pinned:
    """Pin the newest snapshot of every input, and how far each label table is complete in it."""
    versions = {name: lake.table(name).head() for name in recipe.inputs}
    inputs = {n: v.snapshot_id for n, v in versions.items() if v.snapshot_id is not None}
    marks = {x.table: watermark_us(lake, versions[x.table]) for x in recipe.labels}
    return Pinned(
        inputs=inputs, watermarks={name: mark for name, mark in marks.items() if mark is not None}
    )


def day_text(day: dt.date) -> str:
    """Write a day as the registry's partition key."""
    return key_to_text((day,))


def _builds(lake: Lake, recipe: Recipe) -> dict[dt.date, Build]:
    if not lake.exists(recipe.table) or lake.table(recipe.table).head().snapshot_id is None:
        return {}  # whatever the registry remembers belongs to a table that is gone
    found: dict[dt.date, Build] = {}
    for text, build in lake.registry.builds(recipe.table).items():
        day = key_from_text(text, _DAYS_TERM)[0]
        if isinstance(day, dt.date):
            found[day] = build
    return found


def _exposure_days(lake: Lake, recipe: Recipe, pinned: Pinned) -> frozenset[dt.date]:
    if recipe.exposures not in pinned.inputs:
        return frozenset()
    table = lake.table(recipe.exposures)
    keys = table.at(snapshot_id=pinned.inputs[recipe.exposures]).partitions
    return frozenset(key[0] for key in keys if isinstance(key[0], dt.date))


class _Judge:
    """Says why a day must be built; asks each table about each span of its history once."""

    def __init__(self, lake: Lake, recipe: Recipe, pinned: Pinned) -> None:
        self._lake, self._recipe, self._pinned = lake, recipe, pinned
        self._changed: dict[tuple[str, int | None, str], frozenset[dt.date] | None] = {}

    def reason(self, day: dt.date, build: Build | None) -> str | None:
        recipe = self._recipe
        if build is None:
            return "never built"
        if build.code != recipe.code:
            return "new definition"
        if self._touches(recipe.exposures, recipe.at, build, first=day, last=day):
            return "exposures changed"
        for feature in recipe.features:
            within = reach(feature, day)
            first = None if within.first is None else within.first.date()
            if self._touches(feature.view, feature.event_time, build, first=first, last=day):
                return f"{feature.name} changed"
        for label in recipe.labels:
            last = _last_day(label, day)
            if self._touches(label.table, "event_time", build, first=day, last=last):
                return f"{label.name} events changed"
            if self._may_mature(label, day, build):
                return "labels matured"
        return None

    def _touches(
        self, table: str, column: str, build: Build, *, first: dt.date | None, last: dt.date
    ) -> bool:
        since, until = build.inputs.get(table), self._pinned.inputs.get(table)
        if since == until:
            return False
        key = (table, since, column)
        if key not in self._changed:
            self._changed[key] = self._days_changed(table, column, since=since, until=until)
        changed = self._changed[key]
        if changed is None:
            return True
        return any((first is None or first <= day) and day <= last for day in changed)

    def _days_changed(
        self, name: str, column: str, *, since: int | None, until: int | None
    ) -> frozenset[dt.date] | None:
        """Ask which days changed; None if that cannot be told, so that every day may have."""
        table = self._lake.table(TableName.parse(name))
        if until is None or tuple(str(term) for term in table.terms()) != (f"day({column})",):
            return None
        try:
            found = changes(table, since=since, until=until).partitions
        except SnapshotNotFoundError:
            return None  # rolled back or recreated: nothing is known about what lies between
        return frozenset(key[0] for key in found if isinstance(key[0], dt.date))

    def _may_mature(self, label: ResolvedLabel, day: dt.date, build: Build) -> bool:
        """Whether the watermark moved inside the time in which windows of this day end."""
        now, before = self._pinned.watermarks.get(label.table), build.watermarks.get(label.table)
        if now is None or now == before:
            return False
        first = (start_of(day) - _EPOCH) // _US + label.window_us
        last = (start_of(day + _DAY) - _EPOCH) // _US + label.window_us
        return now >= first and (before is None or before < last)


def _last_day(label: ResolvedLabel, day: dt.date) -> dt.date:
    window = dt.timedelta(microseconds=label.window_us)
    return (start_of(day + _DAY) + window - 2 * _US).date()
