"""The seam between serving and whatever keeps the latest feature values by entity."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol, Self, TypeAlias

import pyarrow as pa

from headrace.clock import EPOCH, ONE_US

Scalar: TypeAlias = None | bool | int | float | str | bytes | Decimal | dt.date | dt.datetime
Value: TypeAlias = Scalar | Sequence["Value"]
EntityKey: TypeAlias = tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class ViewState:
    """What the store holds of one feature view: its shape, and the snapshot it was published from.

    `schema` has the types and Iceberg field ids of `entity`, `columns` and the view's times.
    `known_at` of its rows already includes `delay`. The rows are the newest known before
    `as_of`; `held_back` lists the days of rows in that snapshot that were not known by then.
    """

    view: str
    entity: tuple[str, ...]
    columns: tuple[str, ...]
    schema: pa.Schema
    ttl: dt.timedelta | None
    delay: dt.timedelta
    snapshot_id: int
    as_of: dt.datetime
    published_at: dt.datetime
    held_back: tuple[dt.date, ...] = ()

    def same_shape(self, other: "ViewState") -> bool:
        """Whether rows written under `other` still mean the same under this state."""
        mine = (self.view, self.entity, self.columns, self.delay)
        same = mine == (other.view, other.entity, other.columns, other.delay)
        return same and self.schema.equals(other.schema, check_metadata=True)


Guard: TypeAlias = Callable[[ViewState | None], None]
MoveGuard: TypeAlias = Callable[[Mapping[str, ViewState | None]], None]


class OnlineRow(NamedTuple):
    """The latest values of one entity; `values` has the order of the view's columns.

    A look-up makes many: a tuple takes a fourth of the time of a frozen dataclass.
    """

    key: EntityKey
    event_time: dt.datetime
    known_at: dt.datetime
    values: tuple[Value, ...] = ()


# A row as stores keep it: key and values as `values.encode` writes them, times in us since 1970.
EncodedRow: TypeAlias = tuple[str, int, int, str]  # key, event time, known_at, values
Rows: TypeAlias = Iterable[OnlineRow | EncodedRow]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer of one look-up: rows in the order of the keys, and the state that they belong to.

    `state` is None, and so is every row, if the view was never published.
    """

    state: ViewState | None
    rows: Sequence[OnlineRow | None]


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How up to date one view of the store is."""

    view: str
    rows: int
    newest_event_time: dt.datetime | None
    newest_known_at: dt.datetime | None
    snapshot_id: int
    published_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class StoreSize:
    """How large a store is: its memory or its file, and how large it may get, if there is a limit."""

    bytes: int
    bytes_max: int | None = None


class OnlineStore(Protocol):
    """Latest values by view and entity key.

    A view that is not served, a version of one, is a view whose name has an `@`: see `stored_names`.

    `replace` and `drop` are atomic: a reader, also after a crash, sees the view as it was before or
    as it is after the write, rows and state together. A `put` is atomic per batch of
    `atomic_rows_max` rows (None: the whole call, however large): the rows of a batch become visible
    together, and batches in order. The state, and every key of `without` with its new row, change
    with the last batch. After a crash in between the state is still the one before, so that
    publishing again completes the write.

    Times have a zone; naive ones raise ValueError and nothing is written. A `guard` is called with
    the state that a write is about to replace, while no other write of the view can happen, and
    raises to refuse the write.
    """

    @property
    def atomic_rows_max(self) -> int | None:
        """How many rows of one `put` become visible together; None if all do."""
        ...

    @property
    def without_max(self) -> int | None:
        """How many keys a `put` takes away at most; None if any number."""
        ...

    def __enter__(self) -> Self:
        """Return the store."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        ...

    def put(
        self,
        state: ViewState,
        rows: Rows,
        *,
        without: Iterable[EntityKey] = (),
        guard: Guard | None = None,
    ) -> int:
        """Write rows and move the view to `state`; return how many keys changed.

        Monotonic per key: a row whose `(event_time, known_at)` is less than the stored row's is
        ignored; one that is equal replaces it. Stored rows of the keys `without` are deleted first,
        so that such a key ends with its newest row of `rows`, or with none. Idempotent.

        Raises:
            ValueError: If the view is published with another shape, or `without` has more than
                `without_max` keys; use `replace`.

        """
        ...

    def replace(self, state: ViewState, rows: Rows, *, guard: Guard | None = None) -> int:
        """Make the view hold exactly `rows` (the newest per key) and `state`; return how many."""
        ...

    def drop(self, view: str, *, guard: Guard | None = None) -> int:
        """Delete a view, as if it was never published; return how many keys it had."""
        ...

    def rename(self, moves: Sequence[tuple[str, str]], *, guard: MoveGuard | None = None) -> None:
        """Give views other names, all in one step: each move is the old name and the new one.

        The names are of versions of one view, see `stored_names`. What has a new name and is not moved
        itself is deleted; an old name that is not a new one has nothing afterwards. A reader, also
        after a crash, sees all moves or none. The `guard` gets the states by all those names.

        Raises:
            ValueError: If a view that is to be moved was never published.

        """
        ...

    def bytes_of(self, state: ViewState, sample: Sequence[EncodedRow], *, rows: int) -> int:
        """Estimate what so many rows take, from some of them in the order of writing: a pure answer."""
        ...

    def happened(
        self, view: str, spans: Sequence[tuple[dt.datetime, dt.datetime]]
    ) -> Iterator[OnlineRow]:
        """Yield the rows with an event time in a span (start included, end not), in any order.

        Their values are left out.
        """
        ...

    def get(self, view: str, keys: Sequence[EntityKey]) -> list[OnlineRow | None]:
        """Look up many keys of one view at one moment, in the order of `keys`."""
        ...

    def look_up(self, wanted: Sequence[tuple[str, Sequence[EntityKey]]]) -> list[Found]:
        """Look up keys of several views, all at one moment, each with its view's state.

        One exchange with the store, however many views and keys.
        """
        ...

    def state(self, view: str) -> ViewState | None:
        """The view's shape and snapshot, or None if it was never published."""
        ...

    def freshness(self, view: str) -> Freshness | None:
        """How up to date the view is, or None if it was never published."""
        ...

    def views(self) -> tuple[str, ...]:
        """The views that are served, by name: without their other versions."""
        ...

    def size(self) -> StoreSize:
        """How much the store takes, all views together, and what else its server keeps."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


def epoch_us(moment: dt.datetime) -> int:
    """Count microseconds since 1970 in UTC.

    Raises:
        ValueError: If `moment` has no zone.

    """
    if moment.tzinfo is None:
        msg = f"`{moment}` has no time zone; times of the online store are UTC"
        raise ValueError(msg)
    return (moment - EPOCH) // ONE_US


def from_epoch_us(count: int) -> dt.datetime:
    """Turn microseconds since 1970 into a UTC time."""
    return EPOCH + count * ONE_US


class Moments(dict[int, dt.datetime]):
    """Times by their count of microseconds, each made once: the rows of a look-up have few different ones."""

    def __missing__(self, count: int) -> dt.datetime:
        self[count] = found = from_epoch_us(count)
        return found


def column_values(state: ViewState, row: OnlineRow) -> Mapping[str, Value]:
    """Name a row's values by their columns."""
    return dict(zip(state.columns, row.values, strict=True))
