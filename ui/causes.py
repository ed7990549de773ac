"""Trace what is behind to the table that moved: pure functions over recorded edges."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ui.facts import ONLINE_STORE, LakeFacts


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Tables that moved on, and all that is behind because of them, directly or further down.

    `roots` are not behind themselves. `since` is when the oldest commit was made that something has
    not read; None if that is not on record. `affected` is in the order of names.
    """

    roots: tuple[str, ...]
    affected: tuple[str, ...]
    since: dt.datetime | None


def direct_lags(lake: LakeFacts) -> dict[str, dict[str, int]]:
    """Map each reader that is behind to the commits it lacks, by source."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for source, target, behind, _ in _steps(lake):
        if behind:
            found[target][source] = behind
    return dict(found)


def causes(lake: LakeFacts) -> tuple[Cause, ...]:
    """Group what is behind by what moved; causes that meet further down are one, largest first."""
    below: dict[str, set[str]] = defaultdict(set)
    for source, target, _, _ in _steps(lake):
        below[source].add(target)
    lags = direct_lags(lake)
    groups: list[tuple[set[str], set[str]]] = []
    for root in _roots(lags, below):
        affected = _affected(root, lags, below) - {root}
        met = [group for group in groups if group[1] & affected]
        groups = [group for group in groups if group not in met]
        moved_all = {root}.union(*(group[0] for group in met))
        affected = affected.union(*(group[1] for group in met))
        # what moved on and is itself behind something else is no cause, unless in a circle
        causing = moved_all - affected or moved_all
        groups.append((causing, affected - causing))
    times = {(source, target): since for source, target, _, since in _steps(lake)}
    found = [
        Cause(
            roots=tuple(sorted(roots)),
            affected=tuple(sorted(affected)),
            since=min(
                (
                    at
                    for (source, target), at in times.items()
                    if at and source in roots and target in affected
                ),
                default=None,
            ),
        )
        for roots, affected in groups
    ]
    return tuple(sorted(found, key=lambda each: (-len(each.affected), each.roots)))


def _roots(lags: Mapping[str, Mapping[str, int]], below: Mapping[str, set[str]]) -> list[str]:
    """List what moved and is not behind itself, and one table of each circle that is behind."""
    moved = sorted({source for sources in lags.values() for source in sources})
    roots = [each for each in moved if each not in lags]
    covered = {name for root in roots for name in _affected(root, lags, below)}
    for each in moved:
        if each in lags and each not in covered:
            roots.append(each)
            covered |= _affected(each, lags, below)
    return roots


def _affected(
    root: str, lags: Mapping[str, Mapping[str, int]], below: Mapping[str, set[str]]
) -> set[str]:
    """Collect what lacks commits of `root`, and all further down."""
    return _reach({target for target, sources in lags.items() if root in sources}, below)


def _steps(
    lake: LakeFacts,
) -> Iterable[tuple[str, str, int | None, dt.datetime | None]]:
    """Yield every edge between things that still exist: source, reader, its lag, since when."""
    known = {table.name for table in (*lake.tables, *lake.unreadable)}
    for edge in lake.edges:
        if edge.source in known and edge.target in known:
            yield edge.source, edge.target, edge.behind, edge.since
    for view in lake.online:
        if view.view in known:
            yield view.view, ONLINE_STORE, view.behind, view.since


def _reach(starts: set[str], below: Mapping[str, set[str]]) -> set[str]:
    seen, todo = set(starts), list(starts)
    while todo:
        for each in below.get(todo.pop(), ()):
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return seen
