"""Publishes what was appended to a view: reads the new files only, however large the view is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headrace.engines.base import Engine
from headrace.serving.newest import NewestRows
from headrace.serving.store import Guard, OnlineRow, OnlineStore, ViewState
from headrace.tables.version import FileEntry, TableVersion, read_entry

_RELATION = "appended_rows"


@dataclass(frozen=True, kw_only=True)
class Appended:
    """How many entities the new files have, and how many of them moved."""

    rows_read: int
    changed: int


def put_appended(
    engine: Engine,
    store: OnlineStore,
    view: TableVersion,
    state: ViewState,
    newest: NewestRows,
    added: Sequence[FileEntry],
    *,
    guard: Guard,
) -> Appended | None:
    """Put the newest row of each entity in files that were appended since the published snapshot.

    The store keeps the newer of it and the stored one, so the rest of the view need not be read.

    Returns:
        None, and nothing is written, if a new row has both times of the stored one: which of them
        counts is decided by columns that the store does not keep.

    """
    engine.bind_arrow(_RELATION, _rows_of(view, added))
    newest = replace(newest, relation=_RELATION)
    waiting = engine.query(newest.held_back_sql(spans=None)).read_all().column("day")
    state = replace(state, held_back=tuple(waiting.to_pylist()))
    rows = list(EngineRows(engine, state, [newest.sql()]))
    stored = store.get(state.view, [row.key for row in rows])
    for row, before in zip(rows, stored, strict=True):
        same = before is not None and row.event_time == before.event_time
        if before is not None and same and row.known_at == before.known_at and row != before:
            return None
    changed = store.put(state, rows, guard=guard)
    return Appended(rows_read=len(rows), changed=changed)


def _rows_of(view: TableVersion, added: Sequence[FileEntry]) -> pa.Table:
    """Read files with every column of the view, as ties are broken by some."""
    wanted, mapping = view.pinned_schema.pick(view.schema.names), view.metadata.name_mapping()
    found = (read_entry(entry, wanted, io=view.io, mapping=mapping) for entry in added)
    plain = pa.schema([field.remove_metadata() for field in wanted])
    batches = [batch.cast(plain) for batches in found for batch in batches]
    return pa.Table.from_batches(batches, plain)


class EngineRows:
    """Rows of several queries, one batch in memory at a time, counted as they pass."""

    def __init__(self, engine: Engine, state: ViewState, queries: Sequence[str]) -> None:
        self._engine, self._state, self._queries, self.count = engine, state, queries, 0

    def __iter__(self) -> Iterator[OnlineRow]:
        width = len(self._state.entity)
        for query in self._queries:
            for batch in self._engine.query(query):
                columns = [column.to_pylist() for column in batch.columns]
                for event_time, known_at, *rest in zip(*columns, strict=True):
                    self.count += 1
                    yield OnlineRow(
                        key=tuple(rest[:width]),
                        event_time=event_time,
                        known_at=known_at,
                        values=tuple(rest[width:]),
                    )
