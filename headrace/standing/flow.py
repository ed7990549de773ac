"""What was computed from what, as a graph of recorded edges: pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

ONLINE_STORE = "online store"


@dataclass(frozen=True, kw_only=True)
class Edge:
    """That `target` read `source` at `snapshot`.

    `commits` counts those of the source that came since, compactions excluded; None if that is not
    known. `since` is when the oldest of them was made, if that is on record.
    """

    source: str
    target: str
    snapshot: int | None
    commits: int | None
    since: dt.datetime | None = None


def between(edges: Iterable[Edge], known: Collection[str]) -> tuple[Edge, ...]:
    """Keep the edges between tables that are known; the online store counts as known."""
    return tuple(
        each
        for each in edges
        if each.source in known and (each.target in known or each.target == ONLINE_STORE)
    )


def followed(edges: Iterable[Edge], tables: Collection[str]) -> Iterator[Edge]:
    """Forget how many commits lack in tables that a job of Flink writes: its commits record no inputs."""
    for each in edges:
        is_followed = each.target in tables
        yield replace(each, commits=None, since=None) if is_followed else each


def reached(name: str, edges: Sequence[Edge]) -> frozenset[str]:
    """Return what leads to `name` and what comes of it, and itself."""
    ups, downs = {name}, {name}
    while more := {each.source for each in edges if each.target in ups} - ups:
        ups |= more
    while more := {each.target for each in edges if each.source in downs} - downs:
        downs |= more
    return frozenset(ups | downs)


def in_order(edges: Sequence[Edge]) -> list[Edge]:
    """Order edges so that everything is computed before it is read, else by name."""
    depth: dict[str, int] = {}
    for _ in edges:  # as many rounds as the longest way has steps; a circle ends them too
        deeper = {
            each.target: depth.get(each.source, 0) + 1
            for each in edges
            if depth.get(each.source, 0) >= depth.get(each.target, 0)
        }
        if not deeper:
            break
        depth |= deeper
    return sorted(edges, key=lambda each: (depth.get(each.target, 0), each.target, each.source))
