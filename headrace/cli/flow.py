"""What was read to compute what, as commits, lockfiles and the online store recorded it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import LakeError

if TYPE_CHECKING:
    from headrace.definitions.stream import Stream
    from headrace.serving.open import PublishedView
    from headrace.tables.lake import OpenLake

ONLINE_STORE = "online store"


@dataclass(frozen=True, kw_only=True)
class Edge:
    """That `target` read `source` at `snapshot`; `commits` came since, None if that is not known."""

    source: str
    target: str
    snapshot: int | None
    commits: int | None


def table_edges(lake: "OpenLake") -> Iterator[Edge]:
    """Yield what the newest commit of each table read; tables that are gone are left out."""
    for edge in lake.registry.edges():
        if lake.exists(edge.target):
            yield _edge(lake, edge.source, edge.target, edge.source_snapshot_id)


def online_edges(lake: "OpenLake", views: "Sequence[PublishedView]") -> Iterator[Edge]:
    """Yield what the online store was published from."""
    for view in views:
        yield _edge(lake, view.table, ONLINE_STORE, view.fresh.snapshot_id)


def version_edges(lake: "OpenLake") -> Iterator[Edge]:
    """Yield what dataset versions publish, as in `ctr v1`."""
    from headrace.datasets.versions import list_datasets

    for lock in list_datasets(lake):
        yield _edge(lake, lock.table, f"{lock.name} v{lock.version}", lock.snapshot_id)


def source_edges(lake: "OpenLake", streams: "Sequence[Stream]") -> Iterator[Edge]:
    """Yield the files or topics that streams are taken from."""
    for stream in streams:
        if lake.exists(stream.table):
            target = str(stream.table)
            yield Edge(source=stream.source.text, target=target, snapshot=None, commits=None)


def _edge(lake: "OpenLake", source: str, target: str, snapshot: int) -> Edge:
    commits = _commits_since(lake, source, snapshot)
    return Edge(source=source, target=target, snapshot=snapshot, commits=commits)


def _commits_since(lake: "OpenLake", table: str, snapshot_id: int) -> int | None:
    from headrace.tables.history.changes import changes

    try:
        return len(changes(lake.table(table), since=snapshot_id).operations)
    except LakeError:  # it expired and is not recorded, or the table is gone or cannot be read
        return None


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
