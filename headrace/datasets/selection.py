"""Chooses the days of a dataset version and proves where each of them came from."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.datasets.measure import pending_rows
from headrace.definitions.properties import APPROXIMATE_PROPERTY
from headrace.definitions.sample_set import SampleSet
from headrace.errors import PublishReason, PublishRefusedError, Remedy
from headrace.iceberg.partitions import key_to_text
from headrace.registry import Build
from headrace.samples.partition import Pinned
from headrace.samples.plan import NEVER_BUILT, BuildPlan, plan_build
from headrace.samples.resolve import Recipe
from headrace.samples.standing_builds import standing_builds
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_DAYS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The days of a version, in order, each with what it can be computed from again."""

    days: tuple[dt.date, ...]
    left_out: tuple[dt.date, ...]
    first_day: dt.date
    last_day: dt.date
    pinned: Mapping[dt.date, Pinned]
    recipe: Recipe
    approximate: tuple[str, ...]


def select_days(
    lake: OpenLake,
    sample_set: SampleSet,
    samples: TableVersion,
    *,
    first_day: dt.date | None,
    last_day: dt.date | None,
    allow_pending: bool,
) -> Selection:
    """Choose the days of the range that may be published.

    Raises:
        PublishRefusedError: If there is none, if a day of an explicit range has pending labels or
            was never built, or if a day was not built from `sample_set` by a build on record.
        DefinitionError: If the declaration contradicts the tables.

    """
    days = [day for day in _days_of(samples) if _within(day, first_day, last_day)]
    left_out: list[dt.date] = []
    if not allow_pending:
        left_out = [day for day in days if pending_rows(samples, day)]
    if left_out and (first_day is not None or last_day is not None):
        advice = (
            "wait for the label stream's watermark, end the range earlier, or allow pending labels"
        )
        raise PublishRefusedError(
            sample_set.name,
            f"labels of {_named(left_out)} are still pending",
            reason=PublishReason.LABELS_PENDING,
            days=tuple(map(str, left_out)),
            remedy=Remedy(advice=advice),
        )
    kept = [day for day in days if day not in left_out]
    if not kept:
        why = f" ({len(left_out)} days still have pending labels)" if left_out else ""
        raise PublishRefusedError(
            sample_set.name,
            f"no day of the samples is in the range{why}",
            reason=PublishReason.NO_DAY_IN_RANGE,
            days=tuple(map(str, left_out)),
        )
    plan = plan_build(lake, sample_set)
    if first_day is not None or last_day is not None:
        _refuse_unbuilt(plan, first_day or kept[0], last_day or kept[-1])
    builds = _builds_of(lake, plan.recipe, samples, kept)
    return Selection(
        days=tuple(kept),
        left_out=tuple(left_out),
        first_day=first_day or kept[0],
        last_day=last_day or kept[-1],
        pinned={day: _pinned(day, build, plan) for day, build in builds.items()},
        recipe=plan.recipe,
        approximate=tuple(sorted(json.loads(samples.properties.get(APPROXIMATE_PROPERTY, "[]")))),
    )


def _days_of(samples: TableVersion) -> list[dt.date]:
    return sorted(key[0] for key in samples.partitions if key and isinstance(key[0], dt.date))


def _within(day: dt.date, first: dt.date | None, last: dt.date | None) -> bool:
    return (first is None or day >= first) and (last is None or day <= last)


def _pinned(day: dt.date, build: Build, plan: BuildPlan) -> Pinned:
    """Choose the snapshots a version pins for one day.

    A day that a build would leave alone computes to the same rows from the newest inputs as from
    those it was built from. Pinning the newest lets all such days share one snapshot per table,
    however many builds made them: every pinned snapshot is one that commits carry along forever.
    """
    if day in plan.unchanged:
        return plan.pinned
    return Pinned(inputs=build.inputs, watermarks=build.watermarks)


def _builds_of(
    lake: OpenLake, recipe: Recipe, samples: TableVersion, days: Sequence[dt.date]
) -> dict[dt.date, Build]:
    """Find each day's recorded build, of this recipe, and that nothing touched the day after it."""
    recorded = lake.registry.builds(str(samples.name))
    keys = {day: key_to_text((day,)) for day in days}
    standing = standing_builds(
        lake, samples, {key: recorded[key] for key in keys.values() if key in recorded}
    )
    found = {day: standing[key] for day, key in keys.items() if key in standing}
    unproven = [day for day in days if day not in found]
    other = [day for day, build in found.items() if build.code != recipe.code]
    if unproven:
        why = f"it is not on record what {_named(unproven)} of `{samples.name}` came from"
        raise _unfit_days(recipe, unproven, why, PublishReason.BUILD_UNKNOWN)
    if other:
        why = f"{_named(other)} came from another definition than the declared one"
        raise _unfit_days(recipe, other, why, PublishReason.OTHER_DEFINITION)
    return found


def _refuse_unbuilt(plan: BuildPlan, first: dt.date, last: dt.date) -> None:
    """Refuse a range with a day that has exposures, but no samples yet: the version would lack it."""
    never = [day for day, why in plan.reasons.items() if why == NEVER_BUILT]
    days = sorted(day for day in never if first <= day <= last)
    if days:
        verb = "was" if len(days) == 1 else "were"
        why = f"{_named(days)} {verb} never built"
        raise _unfit_days(plan.recipe, days, why, PublishReason.BUILD_UNKNOWN)


def _unfit_days(
    recipe: Recipe, days: Sequence[dt.date], why: str, reason: PublishReason
) -> PublishRefusedError:
    return PublishRefusedError(
        recipe.name,
        why,
        reason=reason,
        days=tuple(map(str, days)),
        remedy=Remedy.run("samples", "build", recipe.name),
    )


def _named(days: Sequence[dt.date]) -> str:
    shown = ", ".join(day.isoformat() for day in days[:_DAYS_SHOWN])
    return shown + (f" and {len(days) - _DAYS_SHOWN} more days" if len(days) > _DAYS_SHOWN else "")
