"""Decides which days of a sample set to build, and why; changes nothing."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from headrace.clock import EPOCH, ONE_DAY, ONE_US
from headrace.definitions.sample_set import SampleSet
from headrace.errors import SnapshotNotFoundError, UnsupportedTableError
from headrace.iceberg.partitions import Term, key_from_text, key_to_text
from headrace.registry import Build
from headrace.samples.first_arrivals import WITHIN
from headrace.samples.lost_models import lost_models
from headrace.samples.partition import Pinned, reach, window_reach
from headrace.samples.resolve import EVENT_TIME, Recipe, ResolvedLabel, pin_heads, resolve
from headrace.samples.standing_builds import standing_builds
from headrace.samples.times import start_of
from headrace.samples.watermarks import watermark_us
from headrace.tables.history.changes import changed_days, changes
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

NEVER_BUILT = "never built"
_DAYS_TERM = (Term.day("event_time"),)
_APPEND = "append"  # of the operations of commits the one that removes nothing


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """The days to build and the reason for each, with everything they are computed from."""

    recipe: Recipe
    pinned: Pinned
    versions: Mapping[str, TableVersion] = field(repr=False)
    reasons: Mapping[dt.date, str]
    unchanged: tuple[dt.date, ...]
    notes: tuple[str, ...] = ()  # warnings about the inputs, for people

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
    lake: OpenLake, sample_set: SampleSet, *, days: Iterable[dt.date] | None = None
) -> BuildPlan:
    """Compare every day's last build with the tables as they are now.

    A day is built if it was never built, if something else than its last recorded build changed its
    samples, if the recipe changed, if a column that it reads was replaced by another one of the same
    name, if its exposures changed, if a feature or label table or the serving log changed in days that
    it reads, or if a label may have matured since. `days` limits the plan to
    some days; those without exposures that were never built are left out.

    Raises:
        DefinitionError: If the declaration contradicts the tables.
        TableNotFoundError: If a table it names does not exist.

    """
    versions = pin_heads(lake, sample_set)
    recipe = resolve(lake, sample_set, versions=versions)
    pinned = pin(lake, recipe, versions)
    built = _builds(lake, recipe)
    candidates = sorted({*_exposure_days(versions[recipe.exposures]), *built})
    wanted = set(candidates) if days is None else set(days)
    judge = _Judge(lake, recipe, pinned, versions)
    reasons: dict[dt.date, str] = {}
    unchanged: list[dt.date] = []
    for day in candidates:
        if day not in wanted:
            continue
        build = built.get(day)
        reason = "samples changed" if day in built and not build else judge.reason(day, build)
        if reason is None:
            unchanged.append(day)
        else:
            reasons[day] = reason
    return BuildPlan(
        recipe=recipe,
        pinned=pinned,
        versions=versions,
        reasons=reasons,
        unchanged=tuple(unchanged),
        notes=tuple(lost_models(lake.settings, versions)),
    )


def pin(lake: OpenLake, recipe: Recipe, versions: Mapping[str, TableVersion]) -> Pinned:
    """Record the snapshot of every input, and how far each label table is complete in it."""
    inputs = {n: v.snapshot_id for n, v in versions.items() if v.snapshot_id is not None}
    marks = {x.table: watermark_us(lake, versions[x.table]) for x in recipe.labels}
    return Pinned(
        inputs=inputs, watermarks={name: mark for name, mark in marks.items() if mark is not None}
    )


def day_text(day: dt.date) -> str:
    """Write a day as the registry's partition key."""
    return key_to_text((day,))


def _builds(lake: OpenLake, recipe: Recipe) -> dict[dt.date, Build | None]:
    """Find the build of every day; None if the samples of a day are not those of its build."""
    samples = lake.head_of(recipe.table)
    if samples is None or samples.snapshot_id is None:
        return {}  # recorded builds are of a table that no longer exists
    recorded = lake.registry.builds(recipe.table)
    standing = standing_builds(lake, samples, recorded)
    days = {text: key_from_text(text, _DAYS_TERM)[0] for text in recorded}
    return {day: standing.get(text) for text, day in days.items() if isinstance(day, dt.date)}


def _exposure_days(exposures: TableVersion) -> frozenset[dt.date]:
    return frozenset(key[0] for key in exposures.partitions if isinstance(key[0], dt.date))


@dataclass(frozen=True, kw_only=True)
class _Changed:
    """The days in which rows changed, and whether some may have been removed."""

    days: frozenset[dt.date]
    removed: bool


class _Judge:
    """Says why a day must be built; looks up each span of each table's history once."""

    def __init__(
        self, lake: OpenLake, recipe: Recipe, pinned: Pinned, versions: Mapping[str, TableVersion]
    ) -> None:
        self._lake, self._recipe, self._pinned, self._versions = lake, recipe, pinned, versions
        self._changed: dict[tuple[str, int | None, str], _Changed | None] = {}
        self._same: dict[tuple[str, int | None], bool] = {}

    def reason(self, day: dt.date, build: Build | None) -> str | None:
        recipe = self._recipe
        if build is None:
            return NEVER_BUILT
        if build.code != recipe.code:
            return "new definition"
        if replaced := self._replaced(build):
            return f"other columns in {replaced}"
        if self._touches(recipe.exposures, recipe.at, build, first=day, last=day):
            return "exposures changed"
        if changed := self._changed_feature(day, build):
            return f"{changed} changed"
        for label in recipe.labels:
            last = _last_day(label, day)
            if self._touches(label.table, "event_time", build, first=day, last=last):
                return f"{label.name} events changed"
            if self._may_mature(label, day, build):
                return "labels matured"
        return None

    def _changed_feature(self, day: dt.date, build: Build) -> str | None:
        for feature in self._recipe.features:
            within = reach(feature, day)
            first = None if within.first is None else within.first.date()
            if self._touches(feature.view, feature.event_time, build, first=first, last=day):
                return feature.name
        for used in self._recipe.windows:
            first = (window_reach(used.windows, day).first or start_of(day)).date()
            if self._touches(used.windows.events, EVENT_TIME, build, first=first, last=day):
                return f"events of {used.windows.view}"
        served = self._recipe.served
        if served is not None:
            first = (start_of(day) - served.within_us * ONE_US).date()
            if self._touches(served.table, EVENT_TIME, build, first=first, last=day):
                return "the serving log"
        return None

    def _replaced(self, build: Build) -> str | None:
        """Name an input in which a column was replaced by another one of the same name."""
        for name, columns in self._recipe.reads.items():
            key = (name, build.inputs.get(name))
            if key not in self._same:
                self._same[key] = self._has_same(name, columns, since=key[1])
            if not self._same[key]:
                return name
        return None

    def _has_same(self, name: str, columns: Collection[str], *, since: int | None) -> bool:
        version = self._versions[name]
        if since == version.snapshot_id or since is None:
            return True
        try:
            then = self._lake.table(name).at(snapshot_id=since).in_schema_with(columns)
        except SnapshotNotFoundError:
            return not version.reuses_name(columns)
        return then.column_ids(columns) == version.column_ids(columns)

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
        before, behind = self._repeats_within(table, changed)
        return any(
            (first is None or first - before <= day) and day <= last + behind
            for day in changed.days
        )

    def _repeats_within(self, table: str, changed: "_Changed") -> tuple[dt.timedelta, dt.timedelta]:
        """Return how far before and behind some days rows matter to them.

        An event may repeat one of the day before. One of the next day may have arrived before it, where
        records say when they were known; and where it was removed, this one is repeated no longer.
        """
        repeats = [each for each in self._recipe.repeats if each.table == table]
        if not repeats:
            return dt.timedelta(), dt.timedelta()
        displaced = changed.removed or any(each.told for each in repeats)
        return WITHIN, WITHIN if displaced else dt.timedelta()

    def _days_changed(
        self, name: str, column: str, *, since: int | None, until: int | None
    ) -> "_Changed | None":
        """Find which days changed; None if that is unknown, so that every day may have changed."""
        if until is None:
            return None
        try:
            found = changes(self._lake.table(name), since=since, until=until)
        except (SnapshotNotFoundError, UnsupportedTableError):
            return None  # rolled back, recreated or repartitioned: the changes are unknown
        days = changed_days(found, column=column)
        if days is None:
            return None
        return _Changed(days=days, removed=not set(found.operations) <= {_APPEND})

    def _may_mature(self, label: ResolvedLabel, day: dt.date, build: Build) -> bool:
        """Whether the watermark moved within the time in which windows of this day end."""
        now, before = self._pinned.watermarks.get(label.table), build.watermarks.get(label.table)
        if now is None or now == before:
            return False
        first = (start_of(day) - EPOCH) // ONE_US + label.window_us
        last = (start_of(day + ONE_DAY) - EPOCH) // ONE_US + label.window_us
        return now >= first and (before is None or before < last)


def _last_day(label: ResolvedLabel, day: dt.date) -> dt.date:
    window = dt.timedelta(microseconds=label.window_us)
    return (start_of(day + ONE_DAY) + window - 2 * ONE_US).date()
