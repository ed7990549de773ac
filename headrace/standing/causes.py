"""Trace what is behind to the table that moved: pure functions over recorded edges."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.standing.flow import Edge, in_order


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Tables that moved on, and all that is behind because of them, directly or further down.

    `roots` are not behind themselves. `since` is when the oldest commit was made that something has
    not read; None if that is not on record. `affected` is in the order of the flow.
    """

    roots: tuple[str, ...]
    affected: tuple[str, ...]
    since: dt.datetime | None


def direct_lags(edges: Sequence[Edge]) -> dict[str, dict[str, int]]:
    """Map each reader that is behind to the commits it lacks, by source."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for edge in edges:
        if edge.commits:
            found[edge.target][edge.source] = edge.commits
    return dict(found)


def out_of_date(edges: Sequence[Edge]) -> tuple[str, ...]:
    """List what was computed from older commits, and all that was computed from that, in order."""
    stale = _reach(set(direct_lags(edges)), _below(edges))
    return tuple(dict.fromkeys(each.target for each in in_order(edges) if each.target in stale))


def causes(edges: Sequence[Edge]) -> tuple[Cause, ...]:
    """Group what is behind by what moved; causes that meet further down are one, largest first."""
    below = _below(edges)
    lags = direct_lags(edges)
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
    order = tuple(dict.fromkeys(each.target for each in in_order(edges)))
    found = [
        Cause(
            roots=tuple(sorted(roots)),
            affected=tuple(name for name in order if name in affected),
            since=_since(edges, roots, affected),
        )
        for roots, affected in groups
    ]
    return tuple(sorted(found, key=lambda each: (-len(each.affected), each.roots)))


def _since(edges: Sequence[Edge], roots: set[str], affected: set[str]) -> dt.datetime | None:
    times = (
        each.since
        for each in edges
        if each.since and each.source in roots and each.target in affected
    )
    return min(times, default=None)


def _below(edges: Sequence[Edge]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for edge in edges:
        found[edge.source].add(edge.target)
    return found


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


def _reach(starts: set[str], below: Mapping[str, set[str]]) -> set[str]:
    seen, todo = set(starts), list(starts)
    while todo:
        for each in below.get(todo.pop(), ()):
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return seen
