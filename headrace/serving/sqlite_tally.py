"""How many rows a view has in SQLite and the newest times of them, kept up to date by what is written.

Counting takes as long as the view is large; a tally looks at the keys that a write touches, before it
and after.
"""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.serving.sqlite_rows import KEYS_PER_QUERY

_AGGREGATES = "count(*), max(event_time_us), max(known_at_us)"


@dataclass
class Tally:
    """The rows of one generation; not `exact` once the row of a newest time was replaced or deleted."""

    rows: int = 0
    event_us: int | None = None
    known_us: int | None = None
    exact: bool = True

    @classmethod
    def of(cls, cursor: sqlite3.Cursor, view: str) -> "Tally":
        """Read what the record of a view says; zero if it has none."""
        query = (
            "select row_count, newest_event_time_us, newest_known_at_us from views where view = ?"
        )
        return cls(*(cursor.execute(query, (view,)).fetchone() or ()))

    @classmethod
    def counted(cls, cursor: sqlite3.Cursor, generation: int) -> "Tally":
        """Count all rows."""
        query = f"select {_AGGREGATES} from latest where generation = ?"
        return cls(*cursor.execute(query, (generation,)).fetchone())

    @contextmanager
    def touching(
        self, cursor: sqlite3.Cursor, generation: int, keys: Sequence[str]
    ) -> Generator[None]:
        """Follow a write of the block, which touches these keys and no others."""
        before = _of_keys(cursor, generation, keys)
        yield
        after = _of_keys(cursor, generation, keys)
        self.rows += after.rows - before.rows
        self.event_us = self._newest(self.event_us, before.event_us, after.event_us)
        self.known_us = self._newest(self.known_us, before.known_us, after.known_us)

    def _newest(self, newest: int | None, before: int | None, after: int | None) -> int | None:
        if newest is None or (after is not None and after >= newest):
            return after
        if before == newest:  # it is gone, and which row is the newest now is not known
            self.exact = False
        return newest


def _of_keys(cursor: sqlite3.Cursor, generation: int, keys: Sequence[str]) -> Tally:
    found = Tally()
    for start in range(0, len(keys), KEYS_PER_QUERY):
        part = keys[start : start + KEYS_PER_QUERY]
        marks = ", ".join("?" * len(part))
        query = f"select {_AGGREGATES} from latest where generation = ? and key in ({marks})"
        rows, event_us, known_us = cursor.execute(query, (generation, *part)).fetchone()
        found.rows += rows
        found.event_us = max((x for x in (found.event_us, event_us) if x is not None), default=None)
        found.known_us = max((x for x in (found.known_us, known_us) if x is not None), default=None)
    return found
