"""Rows of a look-up as the store keeps them: checked at once, made into objects only where they are asked for."""

import datetime as dt
import functools
from collections.abc import Iterator, Sequence
from typing import TypeAlias, overload

from headrace.serving.store import EntityKey, OnlineRow, Value
from headrace.serving.values import parse_rows

Times: TypeAlias = tuple[dt.datetime, dt.datetime]


class KeptRows(Sequence[OnlineRow | None]):
    """Rows in the order of their keys, None where there is none.

    An answer over HTTP passes the texts on, and a model takes the values by column: neither needs an
    object for each row.

    Args:
        keys: What was looked up.
        times: The event time and `known_at` of each row.
        texts: The values of each row, as `values.encode` writes them.

    Raises:
        ValueError: If a text is damaged.

    """

    def __init__(
        self,
        keys: Sequence[EntityKey],
        times: Sequence[Times | None],
        texts: Sequence[str | None],
    ) -> None:
        self._keys, self.times, self._texts = keys, times, texts
        self._parsed = parse_rows([text for text in texts if text is not None])

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> OnlineRow | None: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[OnlineRow | None]: ...
    def __getitem__(self, place: int | slice) -> OnlineRow | None | Sequence[OnlineRow | None]:
        return self._rows[place]

    def __iter__(self) -> Iterator[OnlineRow | None]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._rows == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  (as of a list)

    @functools.cached_property
    def values(self) -> Sequence[Sequence[Value] | None]:
        """The values of each row."""
        found = iter(self._parsed.values())
        return [None if text is None else next(found) for text in self._texts]

    def texts(self, *, columns: int) -> Sequence[str | None] | None:
        """Return each row as JSON; None if some values have another form there, or a row other columns."""
        widths = set(map(len, self._parsed.items))
        return None if self._parsed.has_typed or widths - {columns} else self._texts

    @functools.cached_property
    def _rows(self) -> Sequence[OnlineRow | None]:
        parts = zip(self._keys, self.times, self.values, strict=True)
        return [
            None if times is None or values is None else OnlineRow(key, *times, tuple(values))
            for key, times, values in parts
        ]


def times_of(rows: Sequence[OnlineRow | None]) -> Sequence[Times | None]:
    """Return the event time and `known_at` of each row."""
    if isinstance(rows, KeptRows):
        return rows.times
    return [None if row is None else (row.event_time, row.known_at) for row in rows]


def values_of(rows: Sequence[OnlineRow | None]) -> Sequence[Sequence[Value] | None]:
    """Return the values of each row."""
    return rows.values if isinstance(rows, KeptRows) else [row and row.values for row in rows]
