"""How far the values of a version's columns moved from those of another, from recorded profiles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.datasets.profile import ColumnProfile

NOTABLE_PSI = 0.1  # by the usual rule: below, no change worth a look
_CHANCE_DEVIATIONS = 3.0


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """One column in two versions.

    `psi` is the population stability index over the buckets of both profiles, nulls included.
    `shift` is how far the mean moved, in standard deviations of the earlier version; None for columns
    without numbers, and where all values were the same. `moved` says that `psi` is notable and more
    than two draws from one population would differ by.
    """

    column: str
    null_share_before: float | None
    null_share_after: float | None
    mean_before: float | None
    mean_after: float | None
    shift: float | None
    psi: float
    moved: bool


def drift(
    before: Mapping[str, ColumnProfile], after: Mapping[str, ColumnProfile]
) -> tuple[ColumnDrift, ...] | None:
    """Compare the columns that both versions have, those that moved furthest first.

    None if one of them has no profiles: it was published by an earlier release.
    """
    if not (before and after):
        return None
    found = [_of_column(name, before[name], after[name]) for name in before if name in after]
    return tuple(sorted(found, key=lambda each: (-each.psi, each.column)))


def _of_column(name: str, before: ColumnProfile, after: ColumnProfile) -> ColumnDrift:
    psi, by_chance = _psi(_counts(before), _counts(after))
    return ColumnDrift(
        column=name,
        null_share_before=before.null_share,
        null_share_after=after.null_share,
        mean_before=before.mean,
        mean_after=after.mean,
        shift=_shift(before, after),
        psi=psi,
        moved=psi >= NOTABLE_PSI and psi > by_chance,
    )


def _shift(before: ColumnProfile, after: ColumnProfile) -> float | None:
    if before.mean is None or after.mean is None or not before.deviation:
        return None
    return (after.mean - before.mean) / before.deviation


def _counts(profile: ColumnProfile) -> dict[str, int]:
    # those without a bucket, as times have none: nulls are a share only beside them
    other = profile.rows - profile.nulls - sum(profile.buckets.values())
    counts = {**profile.buckets, "null": profile.nulls, "other": other}
    return {bucket: rows for bucket, rows in counts.items() if rows}


def _psi(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[float, float]:
    """Compute the index, and how large it gets by chance.

    Half a row is added to each bucket, as an empty one would make it infinite. Of draws from one
    population the index, times the rows, is distributed as chi-square over the buckets.
    """
    buckets = before.keys() | after.keys()
    rows = [sum(each.values()) for each in (before, after)]
    if not all(rows):
        return 0.0, 0.0
    total = [each + len(buckets) / 2 for each in rows]
    psi = 0.0
    for bucket in buckets:
        first = (before.get(bucket, 0) + 0.5) / total[0]
        second = (after.get(bucket, 0) + 0.5) / total[1]
        psi += (second - first) * math.log(second / first)
    free = len(buckets) - 1
    chance = free + _CHANCE_DEVIATIONS * math.sqrt(2 * free)
    return psi, chance * (1 / rows[0] + 1 / rows[1])
