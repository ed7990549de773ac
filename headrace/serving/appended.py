"""Publishes what was appended to a view: reads the new files only, however large the view is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import pyarrow as pa

from headrace.engines.base import Engine
from headrace.serving.encoded import EngineRows
from headrace.serving.newest import NewestRows
from headrace.serving.store import (
    EncodedRow,
    EntityKey,
    Guard,
    OnlineRow,
    OnlineStore,
    ViewState,
    epoch_us,
)
from headrace.serving.values import decode_rows, encode
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
    keys = cast("list[EntityKey]", decode_rows([key for key, *_ in rows]))
    stored = store.get(state.view, keys)
    if any(before and are_tied(row, before) for row, before in zip(rows, stored, strict=True)):
        return None
    changed = store.put(state, rows, guard=guard)
    return Appended(rows_read=len(rows), changed=changed)


def are_tied(row: EncodedRow, before: OnlineRow) -> bool:
    """Whether a row has both times of the stored one, and other values."""
    _, event_us, known_us, values = row
    if event_us != epoch_us(before.event_time) or known_us != epoch_us(before.known_at):
        return False
    return values != encode(before.values)


def _rows_of(view: TableVersion, added: Sequence[FileEntry]) -> pa.Table:
    """Read files with every column of the view, as ties are broken by some."""
    wanted, mapping = view.pinned_schema.pick(view.schema.names), view.metadata.name_mapping()
    found = (read_entry(entry, wanted, io=view.io, mapping=mapping) for entry in added)
    plain = pa.schema([field.remove_metadata() for field in wanted])
    batches = [batch.cast(plain) for batches in found for batch in batches]
    return pa.Table.from_batches(batches, plain)
