"""Read what was read to compute what, as commits, lockfiles and the online store recorded it."""

from collections.abc import Callable, Iterator, Sequence

from headrace.clock import time_at
from headrace.datasets.versions import list_datasets
from headrace.definitions.stream import Stream
from headrace.errors import LakeError
from headrace.serving.open import PublishedView
from headrace.standing.flow import ONLINE_STORE, Edge
from headrace.tables.history.lag import Lag, lag_of
from headrace.tables.lake import OpenLake

LagOf = Callable[[str, int], Lag | None]
"""Counts the commits of a table since one of its snapshots; None if that is not known."""


def table_edges(lake: OpenLake, *, lag: LagOf | None = None) -> Iterator[Edge]:
    """Yield what the newest commit of each table read; tables that were dropped are among them."""
    lag = lag or lags(lake)
    for edge in lake.registry.edges():
        yield _edge(edge.source, edge.target, edge.source_snapshot_id, lag=lag)


def online_edges(
    lake: OpenLake, views: Sequence[PublishedView], *, lag: LagOf | None = None
) -> Iterator[Edge]:
    """Yield what the online store was published from."""
    lag = lag or lags(lake)
    for view in views:
        yield _edge(view.table, ONLINE_STORE, view.fresh.snapshot_id, lag=lag)


def version_edges(lake: OpenLake) -> Iterator[Edge]:
    """Yield what dataset versions publish, as in `ctr v1`."""
    lag = lags(lake)
    for lock in list_datasets(lake):
        yield _edge(lock.table, f"{lock.name} v{lock.version}", lock.snapshot_id, lag=lag)


def source_edges(lake: OpenLake, streams: Sequence[Stream]) -> Iterator[Edge]:
    """Yield the files or topics that streams are taken from."""
    for stream in streams:
        if lake.exists(stream.table):
            target = str(stream.table)
            yield Edge(source=stream.source.text, target=target, snapshot=None, commits=None)


def lags(lake: OpenLake) -> LagOf:
    """Count commits up to the heads of tables, each of which is read once."""
    heads: dict[str, int | None] = {}

    def lag(table: str, since: int) -> Lag | None:
        try:
            if table not in heads:
                heads[table] = lake.table(table).head().snapshot_id
        except LakeError:  # the table is gone or cannot be read
            return None
        return lag_of(lake, table, head=heads[table], since=since)

    return lag


def _edge(source: str, target: str, snapshot: int, *, lag: LagOf) -> Edge:
    found = lag(source, snapshot)
    return Edge(
        source=source,
        target=target,
        snapshot=snapshot,
        commits=None if found is None else found.commits,
        since=None if found is None else time_at(found.since_ms),
    )
