"""The seam between serving and whatever keeps the latest feature values by entity."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

import pyarrow as pa

Scalar: TypeAlias = None | bool | int | float | str | bytes | Decimal | dt.date | dt.datetime
Value: TypeAlias = Scalar | Sequence["Value"]
EntityKey: TypeAlias = tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class ViewState:
    """What the store holds of one feature view: its shape, and the snapshot it was brought up to.

    `schema` has the types and Iceberg field ids of `entity`, `columns` and the view's times.
    `known_at` of its rows already includes `delay`. They are the newest known before `as_of`;
    `held_back` are the days of rows in that snapshot that were not.
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


@dataclass(frozen=True, kw_only=True)
class OnlineRow:
    """The latest values of one entity; `values` has the order of the view's columns."""

    key: EntityKey
    event_time: dt.datetime
    known_at: dt.datetime
    values: tuple[Value, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How far one view of the store has come."""

    view: str
    rows: int
    newest_event_time: dt.datetime | None
    newest_known_at: dt.datetime | None
    snapshot_id: int
    published_at: dt.datetime


class OnlineStore(Protocol):
    """Latest values by view and entity key.

    Writes are atomic: a reader, and whoever comes after a crash, sees a view before or after a
    write, rows and state together. Times are zone-aware; naive ones raise ValueError and nothing
    is written. A `guard` is called with the state that a write takes the place of, when no other
    write can come between, and raises to refuse it.
    """

    def put(
        self,
        state: ViewState,
        rows: Iterable[OnlineRow],
        *,
        without: Iterable[EntityKey] = (),
        guard: Guard | None = None,
    ) -> int:
        """Write rows and move the view to `state`; return how many keys changed.

        Monotonic per key: a row whose `(event_time, known_at)` is less than the stored row's is
        ignored; one that equals it takes its place. Stored rows of the keys `without` go first, so
        that such a key ends with its newest of `rows`, or with none. Idempotent.

        Raises:
            ValueError: If the view is there with another shape; use `replace`.

        """
        ...

    def replace(
        self, state: ViewState, rows: Iterable[OnlineRow], *, guard: Guard | None = None
    ) -> int:
        """Make the view hold exactly `rows` (the newest per key) and `state`; return how many."""
        ...

    def drop(self, view: str, *, guard: Guard | None = None) -> int:
        """Forget a view as if it was never published; return how many keys it had."""
        ...

    def happened(
        self, view: str, spans: Sequence[tuple[dt.datetime, dt.datetime]]
    ) -> Iterator[OnlineRow]:
        """Yield the rows whose event time lies in a span (start included, end not), in no order.

        Without their values.
        """
        ...

    def get(self, view: str, keys: Sequence[EntityKey]) -> list[OnlineRow | None]:
        """Look up many keys of one view at one moment, in the order of `keys`."""
        ...

    def state(self, view: str) -> ViewState | None:
        """The view's shape and snapshot, or None if it was never published."""
        ...

    def freshness(self, view: str) -> Freshness | None:
        """How far the view has come, or None if it was never published."""
        ...

    def views(self) -> tuple[str, ...]:
        """The published views, by name."""
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
    return (moment - _EPOCH) // _MICROSECOND


def from_epoch_us(count: int) -> dt.datetime:
    """Turn microseconds since 1970 into a UTC time."""
    return _EPOCH + count * _MICROSECOND


def column_values(state: ViewState, row: OnlineRow) -> Mapping[str, Value]:
    """Name a row's values by their columns."""
    return dict(zip(state.columns, row.values, strict=True))


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
