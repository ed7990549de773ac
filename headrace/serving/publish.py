"""Brings the online store up to a feature view: the newest row of each entity, changed ones only."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headrace.collector import many_objects
from headrace.engines.base import Engine
from headrace.engines.open import open_engine
from headrace.errors import NotAFeatureViewError, PublicationOvertakenError
from headrace.serving.appended import put_appended
from headrace.serving.encoded import EngineRows
from headrace.serving.keys import refuse_unservable
from headrace.serving.moved import MovedError, unmoved
from headrace.serving.newest import NewestRows, Span, spans_of
from headrace.serving.plan import Mode, plan_publication
from headrace.serving.store import EntityKey, Guard, OnlineRow, OnlineStore, ViewState
from headrace.serving.target import Target
from headrace.tables.lake import OpenLake
from headrace.tables.version import BATCH_ROWS, TableVersion

_RELATION, _STORED, _RECEDED = "published_view", "stored_rows", "receded_keys"
_ATTEMPTS_MAX = 8
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one publication did. `rows_read` counts entities, `rows_changed` those that moved.

    `snapshot_id` is the snapshot the store holds. It is a newer one than was to be published where
    `mode` is `superseded`, and an older one where it is `kept`, see `publish_versions`.
    """

    view: str
    snapshot_id: int | None
    mode: Mode
    rows_read: int
    rows_changed: int


def publish_view(
    lake: OpenLake, store: OnlineStore, view: TableVersion, *, as_of: dt.datetime | None = None
) -> Published:
    """Make the store hold the newest row of every entity of `view` that was known before `as_of`.

    Newest is the greatest `(event_time, known_at, arrival)`, `known_at` being at least `event_time`
    plus the view's delay; ties are broken as the point-in-time join breaks them. Rows not known
    yet are held back, so that they do not hide the one before, and read again the next time.

    The store ends as a new one would, whatever happened to the view since it was last published:
    also if rows were deleted, replaced or rolled back, or columns altered. Reads only the files that
    were appended, if nothing else happened and they are few; else only the days that changed and, for entities whose newest row there is older now or gone, all days. Reads everything
    the first time, after a change of the view's columns, and where history does not say what
    changed.

    Never goes back: a snapshot that is older than the published one, or was rolled back, changes
    nothing, and an `as_of` earlier than the published one is replaced by that one. Idempotent, and
    as atomic as the store: after a crash, running it again completes the publication.

    Args:
        lake: The lake.
        store: The store to bring up to date.
        view: The feature view, pinned.
        as_of: Rows known before this moment are published; now by default.

    Raises:
        NotAFeatureViewError: If the table does not describe itself as a feature view, or as one with
            a column that the table does not have.
        PublicationOvertakenError: If other publications of the view were faster at every attempt.
        UnservableColumnError: If a column has a type that the store cannot keep.

    """
    return publish_target(lake, store, view, Target.of(lake, view), as_of=as_of)


def publish_target(
    lake: OpenLake,
    store: OnlineStore,
    view: TableVersion,
    target: Target,
    *,
    as_of: dt.datetime | None = None,
    chosen: Guard | None = None,
) -> Published:
    """Publish a view as `target` says: see `publish_view`.

    `chosen` is called with the state that each attempt begins from, and raises if the target was
    chosen for another one.

    Raises:
        NotAFeatureViewError: If the table lacks a column that the declaration names.
        PublicationOvertakenError: If other publications of it were faster at every attempt.
        UnservableColumnError: If a column has a type that the store cannot keep.

    """
    as_of = dt.datetime.now(dt.UTC) if as_of is None else as_of
    for _ in range(_ATTEMPTS_MAX):
        before = store.state(target.name)
        if chosen is not None:
            chosen(before)
        try:
            with many_objects():
                return _publish(lake, store, view, target, before=before, as_of=as_of)
        except MovedError:
            continue
    raise PublicationOvertakenError(target.name)


def _publish(
    lake: OpenLake,
    store: OnlineStore,
    view: TableVersion,
    target: Target,
    *,
    before: ViewState | None,
    as_of: dt.datetime,
) -> Published:
    if view.snapshot_id is None:
        return _publish_nothing(lake, store, view, before)
    declared = target.declared
    state = state_of(view, target, view.snapshot_id, before=before, as_of=as_of)
    refuse_unservable(state)
    plan = plan_publication(lake, view, declared, state, before)
    if before is not None and plan.mode in {"unchanged", "superseded"}:
        return _done(before, plan.mode)
    guard = unmoved(before)
    if plan.days == ():
        changed = store.put(replace(state, held_back=()), (), guard=guard)
        return _done(state, plan.mode, rows_changed=changed)
    with open_engine(lake.settings) as engine:
        newest = NewestRows(
            relation=_RELATION,
            declared=declared,
            names=view.schema.names,
            columns=state.columns,
            as_of=state.as_of,
            dialect=engine.dialect,
        )
        if plan.added:
            done = put_appended(engine, store, view, state, newest, plan.added, guard=guard)
            if done is not None:
                return _done(
                    state, "incremental", rows_read=done.rows_read, rows_changed=done.changed
                )
        engine.bind(_RELATION, view)
        spans, mode = None if plan.days is None else spans_of(plan.days), plan.mode
        receded = list[EntityKey]()
        if spans is not None and plan.may_recede:
            receded = _receded(engine, store, state, newest, spans)
        if store.without_max is not None and len(receded) > store.without_max:
            spans, mode = None, "full"
        waiting = engine.query(newest.held_back_sql(spans=spans)).read_all().column("day")
        state = replace(state, held_back=tuple(waiting.to_pylist()))
        if spans is None:
            rows = EngineRows(engine, state, [newest.sql()])
            changed = store.replace(state, rows, guard=guard)
        else:
            queries = [newest.sql(spans=spans)]
            queries += [newest.sql(among=_RECEDED)] if receded else []
            rows = EngineRows(engine, state, queries)
            changed = store.put(state, rows, without=receded, guard=guard)
    return _done(state, mode, rows_read=rows.count, rows_changed=changed)


def _publish_nothing(
    lake: OpenLake, store: OnlineStore, view: TableVersion, before: ViewState | None
) -> Published:
    """Drop what the store has if the table still has no commits: it is of an older table so named."""
    if before is None:
        return Published(
            view=str(view.name), snapshot_id=None, mode="unchanged", rows_read=0, rows_changed=0
        )
    if lake.table(view.name).head().snapshot_id is not None:
        return _done(before, "superseded")
    gone = store.drop(before.view, guard=unmoved(before))
    return Published(
        view=before.view, snapshot_id=None, mode="full", rows_read=0, rows_changed=gone
    )


def state_of(
    view: TableVersion,
    target: Target,
    snapshot_id: int,
    *,
    before: ViewState | None,
    as_of: dt.datetime,
) -> ViewState:
    """Return what the store is to say of a view once `snapshot_id` of it is published.

    Raises:
        NotAFeatureViewError: If the table lacks a column that the declaration names.

    """
    declared, columns = target.declared, target.columns
    kept = (*declared.entity, declared.event_time, declared.known_at, *columns)
    for name in kept:
        if name not in view.schema.names:
            detail = f"it has no column `{name}`, which its declaration names"
            raise NotAFeatureViewError(str(view.name), detail, column=name)
    return ViewState(
        view=target.name,
        entity=declared.entity,
        columns=columns,
        schema=view.pinned_schema.pick(kept),
        ttl=declared.ttl,
        delay=declared.delay,
        snapshot_id=snapshot_id,
        as_of=as_of if before is None else max(as_of, before.as_of),
        published_at=dt.datetime.now(dt.UTC),
    )


def _receded(
    engine: Engine,
    store: OnlineStore,
    state: ViewState,
    newest: NewestRows,
    spans: Sequence[Span],
) -> list[EntityKey]:
    """Find the entities whose stored row is no longer in the spans; binds them as `_RECEDED`."""
    entity = [state.schema.field(name).remove_metadata() for name in state.entity]
    schema = pa.schema([*entity, pa.field("event_time", _TIME), pa.field("known_at", _TIME)])
    stored = _table_of(store.happened(state.view, spans), schema)
    if not stored.num_rows:
        return []
    engine.bind_arrow(_STORED, stored)
    keys = engine.query(newest.receded_sql(stored=_STORED, spans=spans)).read_all()
    engine.bind_arrow(_RECEDED, keys)
    return [tuple(row[name] for name in state.entity) for row in keys.to_pylist()]


def _table_of(rows: Iterator[OnlineRow], schema: pa.Schema) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    columns: list[list[object]] = [[] for _ in schema]
    for row in rows:
        for column, value in zip(columns, (*row.key, row.event_time, row.known_at), strict=True):
            column.append(value)
        if len(columns[0]) == BATCH_ROWS:
            batches.append(_batch_of(columns, schema))
            columns = [[] for _ in schema]
    return pa.Table.from_batches([*batches, _batch_of(columns, schema)], schema)


def _batch_of(columns: Sequence[list[object]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(values, f.type) for values, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _done(state: ViewState, mode: Mode, *, rows_read: int = 0, rows_changed: int = 0) -> Published:
    return Published(
        view=state.view,
        snapshot_id=state.snapshot_id,
        mode=mode,
        rows_read=rows_read,
        rows_changed=rows_changed,
    )
