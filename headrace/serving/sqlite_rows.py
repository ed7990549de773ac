"""What the SQLite store reads and writes in one statement: rows, and the state of a view."""

import sqlite3
from collections.abc import Sequence

from headrace.serving.store import EntityKey, OnlineRow, ViewState, epoch_us, from_epoch_us
from headrace.serving.values import decode, encode, encode_key
from headrace.serving.view_state import read_state

# SQLite takes 32,766 parameters a statement; a few hundred keys already amortise it.
_KEYS_PER_QUERY = 500


def record_of(state: ViewState, row: OnlineRow) -> tuple[str, str, int, int, str]:
    """Return a row as it is inserted.

    Raises:
        ValueError: If it does not fit the view, or a time has no zone.

    """
    if len(row.key) != len(state.entity) or len(row.values) != len(state.columns):
        msg = f"a row of `{state.view}` has {len(row.key)} key parts and {len(row.values)} values"
        raise ValueError(msg)
    return (
        state.view,
        encode_key(row.key),
        epoch_us(row.event_time),
        epoch_us(row.known_at),
        encode(row.values),
    )


def rows_of(cursor: sqlite3.Cursor, view: str, keys: Sequence[EntityKey]) -> list[OnlineRow | None]:
    """Look up keys, in their order."""
    texts = [encode_key(key) for key in keys]
    found: dict[str, tuple[int, int, str]] = {}
    for start in range(0, len(texts), _KEYS_PER_QUERY):
        part = texts[start : start + _KEYS_PER_QUERY]
        marks = ", ".join("?" * len(part))
        query = (
            "select key, event_time_us, known_at_us, vals from latest "
            f"where view = ? and key in ({marks})"
        )
        for key, *rest in cursor.execute(query, (view, *part)):
            found[key] = tuple(rest)
    return [_row(key, found.get(text)) for key, text in zip(keys, texts, strict=True)]


def _row(key: EntityKey, found: tuple[int, int, str] | None) -> OnlineRow | None:
    if found is None:
        return None
    event_time_us, known_at_us, values = found
    return OnlineRow(
        key=tuple(key),
        event_time=from_epoch_us(event_time_us),
        known_at=from_epoch_us(known_at_us),
        values=decode(values),
    )


def state_of(cursor: sqlite3.Cursor, view: str) -> ViewState | None:
    """Read the state of a view; None if it was never published."""
    query = "select shape, snapshot_id, published_at_us from views where view = ?"
    found = cursor.execute(query, (view,)).fetchone()
    return None if found is None else read_state(view, *found)
