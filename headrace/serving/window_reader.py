"""Reads a window view's events from its table and folds them: what was appended, or everything."""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa

from headrace.definitions.stream import EVENT_TIME, KNOWN_AT
from headrace.definitions.windows import Windows
from headrace.engines.base import Engine
from headrace.errors import NotAFeatureViewError
from headrace.identifiers import quote
from headrace.samples.resolve import arrival_order
from headrace.serving.store import EntityKey, epoch_us, from_epoch_us
from headrace.serving.tiles import EntityTiles, floor_of, folded, oldest_of
from headrace.serving.window_events import columns_of, events_of
from headrace.serving.window_plan import Step
from headrace.tables.version import TableVersion, read_entry
from headrace.window_states import Event

_RELATION, _KEYS = "window_events", "unclear_keys"

Came = dict[EntityKey, list[tuple[int, Event]]]  # events with the position of their commit


class WindowReader:
    """The events of a window view in one snapshot of its table, as of a moment.

    Args:
        windows: The window view.
        head: The events' table, pinned.
        as_of: See `publish_windows`.

    Raises:
        NotAFeatureViewError: If the table lacks a column that the view needs.

    """

    def __init__(self, windows: Windows, head: TableVersion, *, as_of: dt.datetime) -> None:
        self._windows, self._head = windows, head
        self._floor_us = floor_of(windows, epoch_us(as_of))
        self._coordinate = arrival_order(head.schema.names)
        self._columns = columns_of(windows, self._coordinate)
        self._refuse_missing()

    @property
    def oldest(self) -> dt.datetime:
        """The beginning of the oldest tile that a window reaches."""
        return from_epoch_us(oldest_of(self._windows, self._floor_us))

    @property
    def position(self) -> int:
        """The position of the snapshot."""
        snapshot = self._head.snapshot
        return 0 if snapshot is None else snapshot.sequence_number or 0

    def fold(
        self, before: EntityTiles | None, events: Iterable[Event], *, position: int
    ) -> EntityTiles:
        """Return the tiles after more events, see `folded`."""
        return folded(self._windows, before, events, floor_us=self._floor_us, position=position)

    def came(self, step: Step) -> Came:
        """Read the events of appended files, by entity."""
        wanted = self._head.pinned_schema.pick(self._columns)
        plain = pa.schema([field.remove_metadata() for field in wanted])
        came: Came = {}
        for entry in step.files:
            batches = read_entry(entry, wanted, io=self._head.io, mapping=self._head.name_mapping)
            for batch in batches:
                rows = batch.cast(plain)
                for key, event in events_of(self._windows, rows, coordinate=self._coordinate):
                    came.setdefault(key, []).append((entry.sequence, event))
        return came

    def every(self, engine: Engine) -> Iterator[tuple[EntityKey, EntityTiles]]:
        """Fold all events of the snapshot that a window reaches, entity by entity."""
        engine.bind(_RELATION, self._head)
        yield from self._folded(engine, self._events_sql(engine))

    def of_entities(
        self, engine: Engine, keys: Iterable[EntityKey]
    ) -> Iterator[tuple[EntityKey, EntityTiles]]:
        """Fold all events of some entities."""
        engine.bind(_RELATION, self._head)
        entity = self._head.pinned_schema.pick(self._windows.entity)
        plain = pa.schema([field.remove_metadata() for field in entity])
        rows = [dict(zip(self._windows.entity, key, strict=True)) for key in keys]
        engine.bind_arrow(_KEYS, pa.Table.from_pylist(rows, schema=plain))
        yield from self._folded(engine, self._events_sql(engine, among=_KEYS))

    def _refuse_missing(self) -> None:
        head, view = self._head, self._windows.view
        if not self._coordinate:
            detail = f"`{head.name}` has no row coordinates, which order its events"
            raise NotAFeatureViewError(view, detail)
        for name in self._columns:
            if name not in head.schema.names:
                detail = f"`{head.name}` has no column `{name}`, which its declaration names"
                raise NotAFeatureViewError(view, detail, column=name)

    def _events_sql(self, engine: Engine, *, among: str | None = None) -> str:
        """Select the events that some window can reach, by entity."""
        entity = [quote(name) for name in self._windows.entity]
        first = engine.dialect.literal(self.oldest)
        where = [f"{name} is not null" for name in (*entity, quote(KNOWN_AT))]
        where.append(f"{quote(EVENT_TIME)} >= {first}")
        if among is not None:
            same = " and ".join(f"a.{name} = {quote(_RELATION)}.{name}" for name in entity)
            where.append(f"exists (select 1 from {quote(among)} a where {same})")
        columns = ", ".join(quote(name) for name in self._columns)
        rows = f"{quote(_RELATION)} where {' and '.join(where)}"
        return f"select {columns} from {rows} order by {', '.join(entity)}"

    def _folded(self, engine: Engine, sql: str) -> Iterator[tuple[EntityKey, EntityTiles]]:
        events = itertools.chain.from_iterable(
            events_of(self._windows, batch, coordinate=self._coordinate)
            for batch in engine.query(sql)
        )
        for key, mine in itertools.groupby(events, key=lambda each: each[0]):
            tiles = self.fold(None, (event for _, event in mine), position=self.position)
            if not tiles.is_empty:
                yield key, tiles
