"""Brings the online store up to a window view: folds what was appended into the tiles of its entities."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace

from headrace.clock import ONE_US
from headrace.collector import many_objects
from headrace.definitions.windows import Windows
from headrace.engines.open import open_engine
from headrace.errors import PublicationOvertakenError
from headrace.serving.moved import MovedError, unmoved
from headrace.serving.plan import Mode
from headrace.serving.publish import Published
from headrace.serving.store import EntityKey, Guard, OnlineRow, OnlineStore, ViewState, epoch_us
from headrace.serving.tiles import EntityTiles, RepeatUnclearError
from headrace.serving.window_plan import WindowPlan, plan_windows
from headrace.serving.window_reader import Came, WindowReader
from headrace.serving.window_state import row_of, stored_columns, stored_schema, tiles_of
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_ATTEMPTS_MAX = 8
_KEYS_PER_GET = 5_000
_SWEEPS = 8  # per longest window: how often entities without events are removed
_FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)


def publish_windows(
    lake: OpenLake,
    store: OnlineStore,
    windows: Windows,
    head: TableVersion,
    *,
    as_of: dt.datetime | None = None,
    name: str | None = None,
    chosen: Guard | None = None,
) -> Published:
    """Make the store hold the tiles of every entity as of snapshot `head` of the events' table.

    Reads the files that were appended since the published snapshot, and changes exactly the entities
    that have events there. Reads all events of the windows the first time, after another declaration,
    and where something else than appends and compactions happened to the table.

    What is stored of an entity is a value of a position of the table, and says which: after a crash,
    running it again completes the publication and counts nothing twice. Never goes back to an older
    snapshot. Idempotent.

    Args:
        lake: The lake.
        store: The store to bring up to date.
        windows: The window view.
        head: The events' table, pinned.
        as_of: Values are asked for from about a minute before this moment on; now by default. Events
            that no window can reach from there are left out.
        name: Of the version that is written; the served one by default.
        chosen: See `publish_target`.

    Raises:
        NotAFeatureViewError: If the table lacks a column that the view needs.
        PublicationOvertakenError: If other publications of the view were faster at every attempt.

    """
    as_of = dt.datetime.now(dt.UTC) if as_of is None else as_of
    name = windows.view if name is None else name
    for _ in range(_ATTEMPTS_MAX):
        before = store.state(name)
        if chosen is not None:
            chosen(before)
        one = _Publication(lake, store, windows, head, name=name, before=before, as_of=as_of)
        try:
            with many_objects():
                return one.run()
        except MovedError:
            continue
    raise PublicationOvertakenError(name)


def window_state(
    windows: Windows, head: TableVersion, *, name: str, snapshot_id: int, as_of: dt.datetime
) -> ViewState:
    """Return what the store is to say of a window view once events up to `snapshot_id` are folded."""
    pinned = head.pinned_schema.pick(windows.entity)
    return ViewState(
        view=name,
        entity=windows.entity,
        columns=stored_columns(),
        schema=stored_schema(windows, pinned),
        ttl=windows.stale_us * ONE_US,
        delay=windows.delay_us * ONE_US,
        snapshot_id=snapshot_id,
        as_of=as_of,
        published_at=dt.datetime.now(dt.UTC),
    )


class _Publication:
    """One attempt, planned from the state `before`."""

    def __init__(
        self,
        lake: OpenLake,
        store: OnlineStore,
        windows: Windows,
        head: TableVersion,
        *,
        name: str,
        before: ViewState | None,
        as_of: dt.datetime,
    ) -> None:
        self.lake, self.store, self.windows, self.head = lake, store, windows, head
        self.name, self.before = name, before
        self.as_of = as_of if before is None else max(as_of, before.as_of)
        self.reader = WindowReader(windows, head, as_of=self.as_of)

    def run(self) -> Published:
        if self.head.snapshot_id is None:
            return self._publish_nothing()
        state = self._state(self.head.snapshot_id)
        plan = plan_windows(self.lake, self.head, state, self.before)
        if self.before is not None and plan.mode in {"unchanged", "superseded"}:
            return self._stay(self.before, plan.mode)
        if self.before is None or plan.mode == "full":
            return self._replace(state)
        return self._follow(plan, self.before)

    def _state(self, snapshot_id: int) -> ViewState:
        return window_state(
            self.windows, self.head, name=self.name, snapshot_id=snapshot_id, as_of=self.as_of
        )

    def _publish_nothing(self) -> Published:
        if self.before is None:
            return self._done("unchanged", None)
        if self.lake.table(self.head.name).head().snapshot_id is not None:
            return self._done("superseded", self.before.snapshot_id)
        gone = self.store.drop(self.name, guard=unmoved(self.before))
        return self._done("full", None, changed=gone)

    def _stay(self, before: ViewState, mode: Mode) -> Published:
        """Note that the table was looked at, now and then: values of a dead publisher expire."""
        if mode == "unchanged" and self.as_of - before.as_of > self.windows.stale_us * ONE_US / 4:
            state = self._state(before.snapshot_id)
            self.store.put(state, (), guard=unmoved(before))
            self._sweep(state)
        return self._done(mode, before.snapshot_id)

    def _replace(self, state: ViewState) -> Published:
        with open_engine(self.lake.settings) as engine:
            rows = (row_of(self.windows, *each) for each in self.reader.every(engine))
            changed = self.store.replace(state, rows, guard=unmoved(self.before))
        return self._done("full", state.snapshot_id, read=changed, changed=changed)

    def _follow(self, plan: WindowPlan, published: ViewState) -> Published:
        """Fold the appended events step by step; each step is a publication of its own."""
        read, changed, state = 0, 0, published
        for number, step in enumerate(plan.steps, 1):
            came, before = self.reader.came(step), state
            rows = list(self._changed(came, position=step.position))
            state = self._state(step.snapshot_id)
            if number < len(plan.steps):
                state = replace(state, as_of=before.as_of)  # later commits are not in it
            changed += self.store.put(state, rows, guard=unmoved(before))
            read += len(came)
        each = max(self.windows.longest_us // _SWEEPS, 1)
        if epoch_us(published.as_of) // each != epoch_us(self.as_of) // each:
            self._sweep(state)
        return self._done("incremental", state.snapshot_id, read=read, changed=changed)

    def _changed(self, came: Came, *, position: int) -> Iterator[OnlineRow]:
        """Yield the new tiles of the entities that have events after what is stored of them."""
        unclear: dict[EntityKey, EntityTiles] = {}
        for keys in _batched(list(came), _KEYS_PER_GET):
            stored = self.store.get(self.name, keys)
            for key, row in zip(keys, stored, strict=True):
                before = tiles_of(self.windows, row)
                done = -1 if before is None else before.position
                events = [event for at, event in came[key] if at > done]
                if not events:
                    continue
                try:
                    tiles = self.reader.fold(before, events, position=position)
                except RepeatUnclearError:
                    assert before is not None  # it had forgotten what it has
                    unclear[key] = before
                    continue
                if row is not None or not tiles.is_empty:
                    yield row_of(self.windows, key, tiles)
        if unclear:
            yield from self._anew(unclear)

    def _anew(self, unclear: dict[EntityKey, EntityTiles]) -> Iterator[OnlineRow]:
        """Fold all events of entities anew, up to the head."""
        with open_engine(self.lake.settings) as engine:
            for key, tiles in self.reader.of_entities(engine, unclear):
                before = unclear[key]
                # a store keeps the newer of two rows, by these times
                tiles.newest_event_us = max(tiles.newest_event_us, before.newest_event_us)
                tiles.newest_known_us = max(tiles.newest_known_us, before.newest_known_us)
                yield row_of(self.windows, key, tiles)

    def _sweep(self, state: ViewState) -> None:
        """Remove the entities whose newest event no window reaches any more."""
        span = (_FIRST, self.reader.oldest)
        gone = [row.key for row in self.store.happened(self.name, [span])]
        for keys in _batched(gone, self.store.without_max or len(gone) or 1):
            self.store.put(state, (), without=keys, guard=unmoved(state))

    def _done(
        self, mode: Mode, snapshot_id: int | None, *, read: int = 0, changed: int = 0
    ) -> Published:
        return Published(
            view=self.name,
            snapshot_id=snapshot_id,
            mode=mode,
            rows_read=read,
            rows_changed=changed,
        )


def _batched(keys: Sequence[EntityKey], size: int) -> Iterator[Sequence[EntityKey]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
