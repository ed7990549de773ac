"""Brings the online store up to a feature view: the newest row of each entity, changed ones only."""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from headrace.definitions.feature_view import PROPERTY, FeatureView
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import NotAFeatureViewError, SnapshotNotFoundError
from headrace.identifiers import quote
from headrace.serving.store import OnlineRow, OnlineStore, ViewState
from headrace.tables.changes import changes
from headrace.tables.lake import Lake
from headrace.tables.partitions import PartitionKey
from headrace.tables.scan import TableVersion

_RELATION = "published_view"
# Where a stream's table says in which order rows arrived; other views have no such columns.
_ARRIVAL = ("_source", "_partition", "_offset")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one publication did. `rows_read` counts entities, `rows_changed` those that moved."""

    view: str
    snapshot_id: int | None
    mode: Literal["full", "incremental", "unchanged"]
    rows_read: int
    rows_changed: int


def publish_view(lake: Lake, store: OnlineStore, view: TableVersion) -> Published:
    """Make the store hold the newest row of every entity of `view`.

    Newest is the greatest `(event_time, known_at, arrival)`, `known_at` being at least `event_time`
    plus the view's delay. Reads only the days that changed since the snapshot the store was brought
    up to, and everything on the first time, after a change of the view's columns, or when that
    snapshot is unknown. Idempotent, and atomic: after a crash the store is as it was, and running
    it again completes.

    An incremental run never takes an entity away: feature history is only added to and revised.

    Raises:
        NotAFeatureViewError: If the table does not describe itself as a feature view.

    """
    declared = declared_view(view)
    if view.snapshot_id is None:
        return _unchanged(view)
    state = ViewState(
        view=str(view.name),
        entity=declared.entity,
        columns=_value_columns(view, declared),
        ttl=declared.ttl,
        delay=declared.delay,
        snapshot_id=view.snapshot_id,
        published_at=dt.datetime.now(dt.UTC),
    )
    before = store.state(state.view)
    days = None
    if before is not None and state.same_shape(before):
        days = _days_since(lake, view, before.snapshot_id)
    if before is not None and days == ():
        if before.ttl == state.ttl:
            return _unchanged(view)
        return _report(state, days, rows_read=0, rows_changed=store.put(state, ()))
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind(_RELATION, view)
        reader = engine.query(_latest_sql(view, declared, state.columns, days=days))
        rows = _Counted(reader, state)
        changed = store.replace(state, rows) if days is None else store.put(state, rows)
    return _report(state, days, rows_read=rows.count, rows_changed=changed)


def declared_view(view: TableVersion) -> FeatureView:
    """Read what a table says of itself as a feature view.

    Raises:
        NotAFeatureViewError: If it says nothing.

    """
    text = view.properties.get(PROPERTY)
    if text is None:
        detail = f"it has no property `{PROPERTY}`; declare `meta.headrace` on its dbt model"
        raise NotAFeatureViewError(str(view.name), detail)
    return FeatureView.from_property(view.name, text)


class _Counted:
    """Rows of a reader, one batch in memory at a time, counted as they pass."""

    def __init__(self, reader: pa.RecordBatchReader, state: ViewState) -> None:
        self._reader, self._state, self.count = reader, state, 0

    def __iter__(self) -> Iterator[OnlineRow]:
        width = len(self._state.entity)
        for batch in self._reader:
            columns = [column.to_pylist() for column in batch.columns]
            for event_time, known_at, *rest in zip(*columns, strict=True):
                self.count += 1
                yield OnlineRow(
                    key=tuple(rest[:width]),
                    event_time=event_time,
                    known_at=known_at,
                    values=tuple(rest[width:]),
                )


def _report(
    state: ViewState, days: Sequence[dt.date] | None, *, rows_read: int, rows_changed: int
) -> Published:
    return Published(
        view=state.view,
        snapshot_id=state.snapshot_id,
        mode="full" if days is None else "incremental",
        rows_read=rows_read,
        rows_changed=rows_changed,
    )


def _unchanged(view: TableVersion) -> Published:
    return Published(
        view=str(view.name),
        snapshot_id=view.snapshot_id,
        mode="unchanged",
        rows_read=0,
        rows_changed=0,
    )


def _days_since(lake: Lake, view: TableVersion, since: int) -> tuple[dt.date, ...] | None:
    """List the days to read again; None means all of them, for want of a better answer."""
    try:
        found = changes(lake.table(view.name), since=since, until=view.snapshot_id)
    except SnapshotNotFoundError:
        return None
    if not found.partitions:
        return () if not found.operations else None
    return _as_days(found.partitions, view.partition_by, declared_view(view).event_time)


def _as_days(
    partitions: Collection[PartitionKey], partition_by: Sequence[str], event_time: str
) -> tuple[dt.date, ...] | None:
    if tuple(partition_by) != (f"day({event_time})",):
        return None
    days = [key[0] for key in partitions if isinstance(key[0], dt.date)]
    return tuple(sorted(days)) if len(days) == len(partitions) else None


def _value_columns(view: TableVersion, declared: FeatureView) -> tuple[str, ...]:
    about = {*declared.entity, declared.event_time, declared.known_at}
    return tuple(
        name for name in view.schema.names if name not in about and not name.startswith("_")
    )


def _latest_sql(
    view: TableVersion,
    declared: FeatureView,
    columns: Sequence[str],
    *,
    days: Sequence[dt.date] | None,
) -> str:
    event_time, known_at = quote(declared.event_time), quote(declared.known_at)
    delay_us = declared.delay // dt.timedelta(microseconds=1)
    entity = ", ".join(quote(name) for name in declared.entity)
    values = "".join(f", {quote(name)}" for name in columns)
    arrival = [name for name in _ARRIVAL if name in view.schema.names] or list(view.schema.names)
    order = ", ".join(f"{quote(name)} desc nulls last" for name in arrival)
    known = f"greatest({known_at}, {event_time} + interval '{delay_us}' microsecond)"
    present = (*declared.entity, declared.event_time, declared.known_at)
    kept = [f"{quote(name)} is not null" for name in present]
    if days is not None:
        ranges = (
            f"({event_time} >= timestamptz '{day} 00:00:00+00'"
            f" and {event_time} < timestamptz '{day + dt.timedelta(days=1)} 00:00:00+00')"
            for day in days
        )
        kept.append(f"({' or '.join(ranges)})")
    return (
        f"select {event_time} as event_time, {known} as known_at, {entity}{values}"
        f" from {quote(_RELATION)} where {' and '.join(kept)}"
        f" qualify row_number() over (partition by {entity}"
        f" order by {event_time} desc, {known} desc, {order}) = 1"
    )
