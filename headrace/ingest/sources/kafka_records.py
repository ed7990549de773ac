"""From the client's messages to records: offsets, values, times, keys and headers of one partition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Self, overload

import numpy as np
import pyarrow as pa
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from headrace.definitions.types import TIMESTAMP
from headrace.ingest.arrow_arrays import array_of
from headrace.ingest.sources.base import Position, Records, SourcePartition, TimeType
from headrace.ingest.sources.holes import Hole, HoleKind, merged
from headrace.ingest.sources.schemas import Schemas

# the years 1 to 9999; a producer's clock may say anything
_FIRST_MS, _END_MS = -62_135_596_800_000, 253_402_300_800_000
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, kw_only=True)
class Messages:
    """Messages of one partition in the order of their offsets; each is asked once for what it holds.

    Args:
        messages: As the client gave them.
        offsets: Of each.
        stamps: The kind of its time and the time in milliseconds; one row each.
        values: Of each; None where it is null.

    """

    messages: list[Message]
    offsets: np.ndarray
    stamps: np.ndarray
    values: list[bytes | None]

    @classmethod
    def of(cls, messages: list[Message]) -> Self:
        """Ask messages without errors, of any partitions, for what they hold."""
        count = len(messages)
        stamps = chain.from_iterable(map(Message.timestamp, messages))
        return cls(
            messages=messages,
            offsets=np.fromiter(map(Message.offset, messages), np.int64, count),  # pyright: ignore[reportArgumentType]
            stamps=np.fromiter(stamps, np.int64, 2 * count).reshape(-1, 2),
            values=list(map(Message.value, messages)),  # pyright: ignore[reportArgumentType]
        )

    @classmethod
    def joined(cls, parts: Sequence["Messages"]) -> "Messages":
        """Put messages of one partition one behind the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            messages=list(chain.from_iterable(part.messages for part in parts)),
            offsets=np.concatenate([np.empty(0, np.int64), *(part.offsets for part in parts)]),
            stamps=np.concatenate([np.empty((0, 2), np.int64), *(part.stamps for part in parts)]),
            values=list(chain.from_iterable(part.values for part in parts)),
        )

    def between(self, first: int, end: int) -> "Messages":
        """Return those from one place to another."""
        return Messages(
            messages=self.messages[first:end],
            offsets=self.offsets[first:end],
            stamps=self.stamps[first:end],
            values=self.values[first:end],
        )

    def only(self, kept: np.ndarray) -> "Messages":
        """Return those for which `kept` is true."""
        places = np.flatnonzero(kept).tolist()
        return Messages(
            messages=[self.messages[place] for place in places],
            offsets=self.offsets[kept],
            stamps=self.stamps[kept],
            values=[self.values[place] for place in places],
        )

    @property
    def bytes(self) -> int:
        """The size of all values."""
        return sum(map(len, filter(None, self.values)))

    def __len__(self) -> int:
        return len(self.messages)


@dataclass
class Fetched:
    """What was fetched of one partition, in the order of the offsets."""

    parts: list[Messages] = field(default_factory=list[Messages])

    def __len__(self) -> int:
        return sum(map(len, self.parts))


@dataclass(frozen=True, kw_only=True)
class ValueRules:
    """What a contract says of a topic's values, beyond its fields."""

    schemas: Schemas | None = None
    ignore_tombstones: bool = False

    def applied(self, records: Records) -> Records:
        """Name the schemas of the values, and leave out those that the contract leaves out."""
        if self.schemas is not None:
            records = replace(records, schemas=self.schemas)
        return without_tombstones(records) if self.ignore_tombstones else records


def by_partition(messages: list[Message]) -> Iterator[tuple[int, Messages]]:
    """Group messages without errors by partition; keeps their order."""
    numbers = np.fromiter(map(Message.partition, messages), np.int64, len(messages))  # pyright: ignore[reportArgumentType]
    found = Messages.of(messages)
    # answers of brokers are of one partition, so there are few runs
    starts: list[int] = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    for first, end in zip(starts, [*starts[1:], len(messages)], strict=True):
        yield int(numbers[first]), found.between(first, end)


def records_of(
    partition: SourcePartition,
    found: Messages,
    *,
    end: Position,
    holes: tuple[Hole, ...],
) -> Records:
    """Make records of messages whose times are of one type."""
    values = found.values
    tombstones: tuple[int, ...] = ()
    if None in values:
        tombstones = tuple(at for at, value in enumerate(values) if value is None)
        values = [b"" if value is None else value for value in values]
    return Records(
        partition=partition,
        offsets=found.offsets,
        end=end,
        times=_times(found.stamps),
        time_type=_type_of(found.stamps[0, 0]) if len(found) else TimeType.CREATED,
        lines=values,  # pyright: ignore[reportArgumentType]
        tombstones=tombstones,
        keys=_Keys(found.messages),
        headers=_Headers(found.messages),
        holes=holes,
    )


def without_tombstones(records: Records) -> Records:
    """Leave out records without a value; each is a hole."""
    if not records.tombstones:
        return records
    gone = sorted(records.tombstones)
    kept = np.delete(np.arange(records.count), gone)
    places = kept.tolist()
    holes = [Hole(at, at + 1, HoleKind.TOMBSTONE) for at in records.offsets[gone].tolist()]
    return replace(
        records,
        offsets=records.offsets[kept],
        times=records.times_of(kept),
        lines=[records.lines[at] for at in places],
        tombstones=(),
        keys=None if records.keys is None else [records.keys[at] for at in places],
        headers=None if records.headers is None else [records.headers[at] for at in places],
        holes=merged(sorted([*records.holes, *holes])),
    )


def one_type(found: Messages) -> int:
    """Count the first messages whose times are of the same type."""
    if not len(found):
        return 0
    are_appended = found.stamps[:, 0] == TIMESTAMP_LOG_APPEND_TIME
    others = np.flatnonzero(are_appended != are_appended[0])
    return int(others[0]) if len(others) else len(found)


def _type_of(kind: int) -> TimeType:
    return TimeType.APPENDED if kind == TIMESTAMP_LOG_APPEND_TIME else TimeType.CREATED


def _times(stamps: np.ndarray) -> pa.Array:
    kinds, times_ms = stamps[:, 0], stamps[:, 1]
    known = (
        (kinds != TIMESTAMP_NOT_AVAILABLE)
        & (times_ms != -1)
        & (times_ms >= _FIRST_MS)
        & (times_ms < _END_MS)
    )
    return array_of(np.where(known, times_ms, 0) * 1000, TIMESTAMP, known)


class _Keys(Sequence[bytes | None]):
    """The keys of messages, read when they are asked for: most are not."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes | None]: ...
    def __getitem__(self, at: int | slice) -> bytes | None | Sequence[bytes | None]:
        if isinstance(at, slice):
            return _Keys(self._messages[at])
        return _as_bytes(self._messages[at].key())


class _Headers(Sequence[Headers]):
    """The headers of messages, read when they are asked for.

    Not reading those of every record also keeps clear of the client's fault of losing references to
    None in headers without a value.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, at: int) -> Headers: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Headers]: ...
    def __getitem__(self, at: int | slice) -> Headers | Sequence[Headers]:
        if isinstance(at, slice):
            return _Headers(self._messages[at])
        found = self._messages[at].headers() or []
        return [(name, _as_bytes(value)) for name, value in found]


def _as_bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
