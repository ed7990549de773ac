"""The embedded online store: one SQLite file in WAL mode, readable while it is written."""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self, cast

from headrace.crash_points import crash_point
from headrace.errors import OnlineStoreError, StorageError
from headrace.serving.encoded import encoded
from headrace.serving.sizes import bytes_on_sqlite
from headrace.serving.sqlite_connections import Connections
from headrace.serving.sqlite_rows import (
    KEYS_PER_QUERY,
    SCHEMA,
    delete_rows,
    freshness_of,
    generation_of,
    has_key,
    new_generation,
    rename_views,
    rows_of,
    state_of,
    upsert_of,
)
from headrace.serving.sqlite_tally import Tally
from headrace.serving.store import (
    EncodedRow,
    EntityKey,
    Found,
    Freshness,
    Guard,
    MoveGuard,
    OnlineRow,
    Rows,
    StoreSize,
    ViewState,
    epoch_us,
    from_epoch_us,
)
from headrace.serving.values import decode, encode_key
from headrace.serving.view_state import shape_text

# 1 stored no types, so type changes went unnoticed; 2 had one version of a view
FORMAT_VERSION = 3


class SQLiteOnlineStore:
    """The online store of the local profile. One writer at a time, any number of readers.

    Every write is one transaction. Look-ups never wait for it, in this process or another: they see
    what was committed before. Safe to share between threads and to open from several processes.

    Raises:
        OnlineStoreError: If the file was written in another format.
        DatabaseUnavailableError: Here and later, if it is locked, full or damaged.
        StorageError: If its folder cannot be created.

    """

    # a transaction takes any number
    atomic_rows_max: int | None = None
    without_max: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.of(str(path), error) from error
        self._connections = Connections(path)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        with self._connections.reading() as cursor:
            if self._format(cursor) == FORMAT_VERSION:
                return  # without a wait for who writes
        with self._connections.writing() as cursor:
            if self._format(cursor) == 0:
                for statement in SCHEMA.split(";"):
                    cursor.execute(statement)
                cursor.execute(f"pragma user_version = {FORMAT_VERSION}")

    def _format(self, cursor: sqlite3.Cursor) -> int:
        found = int(cursor.execute("pragma user_version").fetchone()[0])
        if found not in (0, FORMAT_VERSION):
            raise OnlineStoreError(str(self._path), found=found, allowed=FORMAT_VERSION)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(
        self,
        state: ViewState,
        rows: Rows,
        *,
        without: Iterable[EntityKey] = (),
        guard: Guard | None = None,
    ) -> int:
        """Write rows and move the view to `state`; see `OnlineStore.put`.

        Raises:
            ValueError: If the view is there with another shape.
            DatabaseUnavailableError: If the store cannot be used; it is as it was.

        """
        with self._connections.writing() as cursor:
            before = _guarded(cursor, state.view, guard)
            if before is not None and not state.same_shape(before):
                msg = f"`{state.view}` is published with another shape; replace it"
                raise ValueError(msg)
            tally = Tally.of(cursor, state.view)
            generation = generation_of(cursor, state.view) or new_generation(cursor)
            gone = [encode_key(key) for key in without]
            with tally.touching(cursor, generation, gone):
                marks = [(generation, key) for key in gone]
                cursor.executemany("delete from latest where generation = ? and key = ?", marks)
            changed = self._write(cursor, state, rows, generation, tally)
            # a key that was deleted and written again counts once
            return changed + sum(not has_key(cursor, generation, key) for key in gone)

    def replace(self, state: ViewState, rows: Rows, *, guard: Guard | None = None) -> int:
        """Make the view hold exactly `rows`; see `OnlineStore.replace`."""
        with self._connections.writing() as cursor:
            _guarded(cursor, state.view, guard)
            delete_rows(cursor, state.view)
            return self._write(cursor, state, rows, new_generation(cursor), None)

    def drop(self, view: str, *, guard: Guard | None = None) -> int:
        """Delete a view; see `OnlineStore.drop`."""
        with self._connections.writing() as cursor:
            _guarded(cursor, view, guard)
            gone = delete_rows(cursor, view)
            cursor.execute("delete from views where view = ?", (view,))
            return gone

    def rename(self, moves: Sequence[tuple[str, str]], *, guard: MoveGuard | None = None) -> None:
        """Give views other names; see `OnlineStore.rename`.

        Raises:
            ValueError: If a view that is to be moved was never published.
            DatabaseUnavailableError: If the store cannot be used; it is as it was.

        """
        with self._connections.writing() as cursor:
            if guard is not None:
                names = dict.fromkeys(name for move in moves for name in move)
                guard({name: state_of(cursor, name) for name in names})
            rename_views(cursor, moves)
            crash_point("serving.before_switch")

    def bytes_of(self, state: ViewState, sample: Sequence[EncodedRow], *, rows: int) -> int:
        """Estimate how much longer the file gets; see `OnlineStore.bytes_of`."""
        _ = state
        return bytes_on_sqlite(sample, rows=rows)

    def happened(
        self, view: str, spans: Sequence[tuple[dt.datetime, dt.datetime]]
    ) -> Iterator[OnlineRow]:
        """Yield the rows that happened in a span; see `OnlineStore.happened`."""
        query = (
            "select key, event_time_us, known_at_us from latest "
            "where generation = ? and event_time_us >= ? and event_time_us < ?"
        )
        with self._connections.reading() as cursor:
            generation = generation_of(cursor, view)
            for first, end in spans:
                for key, *times in cursor.execute(
                    query, (generation, epoch_us(first), epoch_us(end))
                ):
                    event_time, known_at = map(from_epoch_us, times)
                    yield OnlineRow(
                        key=cast("EntityKey", decode(key)), event_time=event_time, known_at=known_at
                    )

    def get(self, view: str, keys: Sequence[EntityKey]) -> list[OnlineRow | None]:
        """Look up many keys of one view at one moment, in the order of `keys`."""
        with self._connections.reading() as cursor:
            return list(rows_of(cursor, view, keys))

    def look_up(self, wanted: Sequence[tuple[str, Sequence[EntityKey]]]) -> list[Found]:
        """Look up keys of several views at one moment; see `OnlineStore.look_up`."""
        with self._connections.reading() as cursor:
            return [
                Found(state=state_of(cursor, view), rows=rows_of(cursor, view, keys))
                for view, keys in wanted
            ]

    def state(self, view: str) -> ViewState | None:
        """The view's shape and snapshot, or None if it was never published."""
        with self._connections.reading() as cursor:
            return state_of(cursor, view)

    def freshness(self, view: str) -> Freshness | None:
        """How up to date the view is, or None if it was never published."""
        with self._connections.reading() as cursor:
            return freshness_of(cursor, view)

    def views(self) -> tuple[str, ...]:
        """The views that are served, by name."""
        with self._connections.reading() as cursor:
            query = "select view from views where instr(view, '@') = 0 order by view"
            return tuple(row[0] for row in cursor.execute(query))

    def size(self) -> StoreSize:
        """How long the file is, without the log beside it."""
        with self._connections.reading() as cursor:
            (pages,) = cursor.execute("pragma page_count").fetchone()
            (page_bytes,) = cursor.execute("pragma page_size").fetchone()
        return StoreSize(bytes=pages * page_bytes)

    def close(self) -> None:
        """Release the file."""
        self._connections.close()

    def _write(
        self,
        cursor: sqlite3.Cursor,
        state: ViewState,
        rows: Rows,
        generation: int,
        tally: Tally | None,
    ) -> int:
        """Write rows and the state; without a tally of what was there, everything is counted."""
        before, upsert = self._connections.writer.total_changes, upsert_of(generation)
        texts = (encoded(state, row) for row in rows)
        if tally is None:
            cursor.executemany(upsert, texts)
        else:
            while part := list(islice(texts, KEYS_PER_QUERY)):
                with tally.touching(cursor, generation, [row[0] for row in part]):
                    cursor.executemany(upsert, part)
        changed = self._connections.writer.total_changes - before
        crash_point("serving.before_commit")
        if tally is None or not tally.exact:
            tally = Tally.counted(cursor, generation)
        shape = (shape_text(state), state.snapshot_id, epoch_us(state.published_at))
        cursor.execute(
            "insert or replace into views values (?, ?, ?, ?, ?, ?, ?, ?)",
            (state.view, generation, *shape, tally.rows, tally.event_us, tally.known_us),
        )
        return changed


def _guarded(cursor: sqlite3.Cursor, view: str, guard: Guard | None) -> ViewState | None:
    before = state_of(cursor, view)
    if guard is not None:
        guard(before)
    return before
