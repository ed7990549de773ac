"""Brings the online store up to a feature view: the newest row of each entity, changed ones only."""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from headrace.definitions.feature_view import PROPERTY, FeatureView
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import NotAFeatureViewError, SnapshotNotFoundError
from headrace.identifiers import quote
from headrace.samples.resolve import arrival_order
from headrace.serving.store import OnlineRow, OnlineStore, ViewState, epoch_us
from headrace.tables.changes import changes
from headrace.tables.lake import Lake
from headrace.tables.partitions import PartitionKey
from headrace.tables.scan import TableVersion

_RELATION = "published_view"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one publication did. `rows_read` counts entities, `rows_changed` those that moved."""

    view: str
    snapshot_id: int | None
    mode: Literal["full", "incremental", "unchanged"]
    rows_read: int
    rows_changed: int


def publish_view(
    lake: Lake, store: OnlineStore, view: TableVersion, *, as_of: dt.datetime | None = None
) -> Published:
    """Make the store hold the newest row of every entity of `view` that was known before `as_of`.

    Newest is the greatest `(event_time, known_at, arrival)`, `known_at` being at least `event_time`
    plus the view's delay; ties are broken as the point-in-time join breaks them. Rows not known
    yet are held back, so that they do not hide the one before, and read again the next time.

    Reads only the days that changed since the snapshot the store was brought up to, and everything
    on the first time, after a change of the view's columns, or when that snapshot is unknown.
    Idempotent, and atomic: after a crash the store is as it was, and running it again completes.
    An incremental run never takes an entity away: feature history is only added to and revised.

    Args:
        lake: The lake.
        store: The store to bring up to date.
        view: The feature view, pinned.
        as_of: The moment that decides what is known; now by default.

    Raises:
        NotAFeatureViewError: If the table does not describe itself as a feature view.

    """
    as_of = dt.datetime.now(dt.UTC) if as_of is None else as_of
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
        days = _days_since(lake, view, before)
    if before is not None and days == ():
        if before.ttl == state.ttl:
            return _unchanged(view)
        return _report(state, days, rows_read=0, rows_changed=store.put(state, ()))
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind(_RELATION, view)
        source = _Source(view, declared, days=days, as_of=as_of)
        waiting = engine.query(source.held_back_sql()).read_all().column("day").to_pylist()
        state = replace(state, held_back=tuple(waiting))
        rows = _Counted(engine.query(source.latest_sql(state.columns)), state)
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


def _days_since(lake: Lake, view: TableVersion, before: ViewState) -> tuple[dt.date, ...] | None:
    """List the days to read again; None means all of them, for want of a better answer."""
    try:
        found = changes(lake.table(view.name), since=before.snapshot_id, until=view.snapshot_id)
    except SnapshotNotFoundError:
        return None
    if not found.partitions:
        return None if found.operations else before.held_back
    days = _as_days(found.partitions, view.partition_by, declared_view(view).event_time)
    return None if days is None else tuple(sorted({*days, *before.held_back}))


def _as_days(
    partitions: Collection[PartitionKey], partition_by: Sequence[str], event_time: str
) -> tuple[dt.date, ...] | None:
    if tuple(partition_by) != (f"day({event_time})",):
        return None
    days = [key[0] for key in partitions if isinstance(key[0], dt.date)]
    return tuple(sorted(days)) if len(days) == len(partitions) else None


def _value_columns(view: TableVersion, declared: FeatureView) -> tuple[str, ...]:
    about = {*declared.entity, *_times(declared)}
    return tuple(
        name for name in view.schema.names if name not in about and not name.startswith("_")
    )


def _times(declared: FeatureView) -> tuple[str, str]:
    return declared.event_time, declared.known_at


@dataclass(frozen=True)
class _Source:
    """The rows of a view to publish from, as SQL over the bound relation."""

    view: TableVersion
    declared: FeatureView
    days: Sequence[dt.date] | None
    as_of: dt.datetime

    def latest_sql(self, columns: Sequence[str]) -> str:
        """Select the newest known row of each entity."""
        names = self.view.schema.names
        entity = ", ".join(quote(name) for name in self.declared.entity)
        values = "".join(f", {quote(name)}" for name in columns)
        said = {*self.declared.entity, *_times(self.declared)}
        rest = [name for name in names if name not in said] or self.declared.entity
        arrival = arrival_order(names) or rest
        order = ", ".join(f"{quote(name)} desc nulls last" for name in arrival)
        return (
            f"select {self._event_time} as event_time, {self._known_at} as known_at,"
            f" {entity}{values} from {quote(_RELATION)}"
            f" where {self._present} and {self._known_at} < {_timestamp(self.as_of)}"
            f" qualify row_number() over (partition by {entity}"
            f" order by {self._event_time} desc, {self._known_at} desc, {order}) = 1"
        )

    def held_back_sql(self) -> str:
        """Select the days that hold rows not known yet."""
        return (
            f"select distinct cast({self._event_time} as date) as day from {quote(_RELATION)}"
            f" where {self._present} and {self._known_at} >= {_timestamp(self.as_of)} order by day"
        )

    @property
    def _event_time(self) -> str:
        return quote(self.declared.event_time)

    @property
    def _known_at(self) -> str:
        delay_us = self.declared.delay // dt.timedelta(microseconds=1)
        delayed = f"{self._event_time} + interval '{delay_us}' microsecond"
        return f"greatest({quote(self.declared.known_at)}, {delayed})"

    @property
    def _present(self) -> str:
        names = (*self.declared.entity, *_times(self.declared))
        kept = [f"{quote(name)} is not null" for name in names]
        if self.days is not None:
            ranges = (
                f"({self._event_time} >= timestamptz '{day} 00:00:00+00'"
                f" and {self._event_time} < timestamptz '{day + dt.timedelta(days=1)} 00:00:00+00')"
                for day in self.days
            )
            kept.append(f"({' or '.join(ranges)})")
        return " and ".join(kept)


def _timestamp(moment: dt.datetime) -> str:
    return f"make_timestamptz({epoch_us(moment)})"
