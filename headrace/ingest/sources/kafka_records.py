"""From the client's messages to records: offsets, values, times, keys and headers of one partition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
import pyarrow as pa
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from headrace.definitions.types import TIMESTAMP
from headrace.ingest.sources.base import Position, Records, SourcePartition, TimeType
from headrace.ingest.sources.holes import Hole, HoleKind, merged
from headrace.ingest.sources.schemas import Schemas

# the years 1 to 9999; a producer's clock may say anything
_FIRST_MS, _END_MS = -62_135_596_800_000, 253_402_300_800_000
Headers = Sequence[tuple[str, bytes | None]]


@dataclass
class Fetched:
    """Messages of one partition in the order of their offsets."""

    messages: list[Message] = field(default_factory=list[Message])
    offsets: list[np.ndarray] = field(default_factory=list[np.ndarray])

    def add(self, messages: list[Message], offsets: np.ndarray) -> None:
        """Append messages."""
        self.messages += messages
        self.offsets.append(offsets)


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


def by_partition(messages: Sequence[Message]) -> Iterator[tuple[int, list[Message], np.ndarray]]:
    """Group messages without errors by partition; keeps their order."""
    numbers = np.array([each.partition() for each in messages], dtype=np.int64)
    offsets = np.array([each.offset() for each in messages], dtype=np.int64)
    # answers of brokers are of one partition, so there are few runs
    starts: list[int] = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    for first, end in zip(starts, [*starts[1:], len(messages)], strict=True):
        yield int(numbers[first]), list(messages[first:end]), offsets[first:end]


def records_of(
    partition: SourcePartition,
    fetched: Fetched,
    *,
    end: Position,
    holes: tuple[Hole, ...],
) -> Records:
    """Make records of messages whose times are of one type."""
    messages = fetched.messages
    values = [each.value() for each in messages]
    tombstones: tuple[int, ...] = ()
    if None in values:
        tombstones = tuple(at for at, value in enumerate(values) if value is None)
        values = [b"" if value is None else value for value in values]
    stamps = [each.timestamp() for each in messages]
    return Records(
        partition=partition,
        offsets=np.concatenate(fetched.offsets) if messages else np.empty(0, np.int64),
        end=end,
        times=_times(stamps),
        time_type=_type_of(stamps[0][0]) if stamps else TimeType.CREATED,
        lines=values,  # pyright: ignore[reportArgumentType]
        tombstones=tombstones,
        keys=_Keys(messages),
        headers=_Headers(messages),
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


def one_type(fetched: Fetched) -> int:
    """Count the first messages whose times are of the same type."""
    kinds = [each.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME for each in fetched.messages]
    return kinds.index(not kinds[0]) if kinds and (not kinds[0]) in kinds else len(kinds)


def split_at(fetched: Fetched, count: int) -> tuple[Fetched, Fetched]:
    """Divide messages in two."""
    offsets = np.concatenate(fetched.offsets)
    return (
        Fetched(fetched.messages[:count], [offsets[:count]]),
        Fetched(fetched.messages[count:], [offsets[count:]]),
    )


def _type_of(kind: int) -> TimeType:
    return TimeType.APPENDED if kind == TIMESTAMP_LOG_APPEND_TIME else TimeType.CREATED


def _times(stamps: Sequence[tuple[int, int]]) -> pa.Array:
    pairs = np.array(stamps, dtype=np.int64).reshape(-1, 2)
    kinds, times_ms = pairs[:, 0], pairs[:, 1]
    known = (
        (kinds != TIMESTAMP_NOT_AVAILABLE)
        & (times_ms != -1)
        & (times_ms >= _FIRST_MS)
        & (times_ms < _END_MS)
    )
    times_us = np.where(known, times_ms, 0) * 1000
    valid = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    # not `pa.array`: it imports pandas, where that is installed, which takes a second
    return pa.Array.from_buffers(TIMESTAMP, len(known), [valid, pa.py_buffer(times_us)])


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
