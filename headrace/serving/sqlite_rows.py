"""What the SQLite store reads and writes in one statement: rows, and the state of a view.

Rows belong to a generation, which is a number that one view has: a view gets another name, or other
rows, by a change of its own record.
"""

import sqlite3
from collections.abc import Sequence

from headrace.serving.kept import KeptRows
from headrace.serving.store import (
    EntityKey,
    Freshness,
    Moments,
    ViewState,
    from_epoch_us,
)
from headrace.serving.values import encode_keys
from headrace.serving.view_state import read_state

# SQLite takes 32,766 parameters a statement; a few hundred keys already amortise it.
KEYS_PER_QUERY = 500


SCHEMA = """
create table if not exists views (
    view text primary key,
    generation integer not null,
    shape text not null,
    snapshot_id integer not null,
    published_at_us integer not null,
    row_count integer not null,
    newest_event_time_us integer,
    newest_known_at_us integer
) without rowid;
create table if not exists latest (
    generation integer not null,
    key text not null,
    event_time_us integer not null,
    known_at_us integer not null,
    vals text not null,
    primary key (generation, key)
) without rowid;
"""
_UPSERT = """
insert into latest values ({generation}, ?, ?, ?, ?)
on conflict (generation, key) do update set
    event_time_us = excluded.event_time_us, known_at_us = excluded.known_at_us, vals = excluded.vals
where (excluded.event_time_us, excluded.known_at_us) >= (event_time_us, known_at_us)
  and (excluded.event_time_us, excluded.known_at_us, excluded.vals)
      is not (event_time_us, known_at_us, vals)
"""


def upsert_of(generation: int) -> str:
    """Return the statement that inserts an `EncodedRow` into a generation, unless it has a newer one."""
    return _UPSERT.format(generation=int(generation))


def rows_of(cursor: sqlite3.Cursor, view: str, keys: Sequence[EntityKey]) -> KeptRows:
    """Look up keys, in their order."""
    texts = encode_keys(keys)
    generation = generation_of(cursor, view)
    found: dict[str, tuple[int, int, str]] = {}
    for start in range(0, len(texts), KEYS_PER_QUERY):
        part = texts[start : start + KEYS_PER_QUERY]
        marks = ", ".join("?" * len(part))
        query = (
            "select key, event_time_us, known_at_us, vals from latest "
            f"where generation = ? and key in ({marks})"
        )
        for key, event_us, known_us, values in cursor.execute(query, (generation, *part)):
            found[key] = event_us, known_us, values
    rows, moments = [found.get(text) for text in texts], Moments()
    times = [(moments[row[0]], moments[row[1]]) if row else None for row in rows]
    return KeptRows(keys, times, [row[2] if row else None for row in rows])


def state_of(cursor: sqlite3.Cursor, view: str) -> ViewState | None:
    """Read the state of a view; None if it was never published."""
    query = "select shape, snapshot_id, published_at_us from views where view = ?"
    found = cursor.execute(query, (view,)).fetchone()
    return None if found is None else read_state(view, *found)


def freshness_of(cursor: sqlite3.Cursor, view: str) -> Freshness | None:
    """Read how up to date a view is; None if it was never published."""
    query = (
        "select row_count, newest_event_time_us, newest_known_at_us, snapshot_id, "
        "published_at_us from views where view = ?"
    )
    found = cursor.execute(query, (view,)).fetchone()
    if found is None:
        return None
    rows, event_time_us, known_at_us, snapshot_id, published_at_us = found
    return Freshness(
        view=view,
        rows=rows,
        newest_event_time=None if event_time_us is None else from_epoch_us(event_time_us),
        newest_known_at=None if known_at_us is None else from_epoch_us(known_at_us),
        snapshot_id=snapshot_id,
        published_at=from_epoch_us(published_at_us),
    )


def has_key(cursor: sqlite3.Cursor, generation: int, key: str) -> bool:
    """Say whether a generation has a row of this key."""
    query = "select 1 from latest where generation = ? and key = ?"
    return cursor.execute(query, (generation, key)).fetchone() is not None


def generation_of(cursor: sqlite3.Cursor, view: str) -> int | None:
    """Read which rows a view has; None if it was never published."""
    found = cursor.execute("select generation from views where view = ?", (view,)).fetchone()
    return None if found is None else int(found[0])


def new_generation(cursor: sqlite3.Cursor) -> int:
    """Return a number that no view has."""
    (newest,) = cursor.execute("select coalesce(max(generation), 0) from views").fetchone()
    return int(newest) + 1


def delete_rows(cursor: sqlite3.Cursor, view: str) -> int:
    """Delete the rows of a view, not its record; return how many it had."""
    generation = generation_of(cursor, view)
    return cursor.execute("delete from latest where generation = ?", (generation,)).rowcount


def rename_views(cursor: sqlite3.Cursor, moves: Sequence[tuple[str, str]]) -> None:
    """Give views other names; what has a new name and is not moved itself is deleted.

    Raises:
        ValueError: If a view that is to be moved was never published.

    """
    sources = [old for old, _ in moves]
    for _, new in moves:
        if new not in sources:
            delete_rows(cursor, new)
            cursor.execute("delete from views where view = ?", (new,))
    rename = "update views set view = ? where view = ?"
    for number, old in enumerate(sources):  # a name may be old and new
        if not cursor.execute(rename, (f"@{number}", old)).rowcount:
            msg = f"`{old}` was never published"
            raise ValueError(msg)
    for number, (_, new) in enumerate(moves):
        cursor.execute(rename, (new, f"@{number}"))
