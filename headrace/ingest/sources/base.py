"""The seam between ingestion and where records come from: sources, readers, positions and batches."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa

from headrace.definitions.types import TIMESTAMP
from headrace.errors import SourceError
from headrace.ingest.sources.holes import Hole
from headrace.ingest.sources.line_numbers import LineNumbers
from headrace.ingest.sources.schemas import Schemas

RECORD_BYTES_MAX = 1024 * 1024  # of one record; a longer one is refused, not read
_KEY_SEPARATOR = "//"  # part of no normalized path and of no topic name


class Seen(NamedTuple):
    """The change time and inode of a file; if both are equal, the file is not read again."""

    changed_ns: int
    inode: int


UNSEEN = Seen(0, 0)  # equal to those of no file


class SourcePartition(NamedTuple):
    """A part of a source with offsets of its own: a file, or one partition of a topic."""

    source: str
    partition: int = 0

    @property
    def key(self) -> str:
        """The name of this partition in table properties; the source's own name for partition 0."""
        if not self.partition:
            return self.source
        return f"{self.source}{_KEY_SEPARATOR}{self.partition}"

    @classmethod
    def of_key(cls, key: str) -> Self:
        """Parse what `key` returned."""
        source, separator, partition = key.rpartition(_KEY_SEPARATOR)
        return cls(source, int(partition)) if separator else cls(key)


@dataclass(frozen=True)
class Position:
    """How far a partition is taken.

    Args:
        offset: The next offset to read. Every record below it is taken, or never existed.
        bytes: Where the record at `offset` starts in a file; 0 if not known.
        fingerprint: By which the source recognizes what was taken before `offset`, such as a hash of
            the bytes before `bytes`; empty if not known.
        seen: Of the file, if `offset` is its end.
        is_skipped: Whether a person said to leave the file out.

    """

    offset: int = 0
    bytes: int = 0
    fingerprint: str = ""
    seen: Seen = UNSEEN
    is_skipped: bool = False


# Positions of the given partitions. Partitions of which nothing was taken are left out.
PositionsOf = Callable[[Collection[SourcePartition]], Mapping[SourcePartition, Position]]


class TimeType(Enum):
    """Which clock the source time of a record comes from."""

    MODIFIED = "modified"  # of the file
    CREATED = "created"  # the producer's
    APPENDED = "appended"  # the broker's


@dataclass(frozen=True, kw_only=True)
class Records:
    """Consecutive records of one partition, not yet decoded.

    Text sources fill `lines` (CSV files `header` too, files `line_numbers`), columnar ones `rows`.

    Args:
        partition: Where the records come from.
        offsets: The offset of each record: int64, strictly increasing. Gaps are allowed.
        end: Where reading continues once these records are taken. It is greater than the last
            offset, and may lie beyond a gap.
        times: The source time, of all records or of each (`timestamp[us, UTC]`); null where the
            producer gave none.
        time_type: Which clock gave `times`.
        lines: The value of each record; empty where it is null.
        tombstones: The places of records whose value is null, which deletes their key.
        header: The column names of a CSV file.
        rows: The records as columns, in place of `lines`.
        line_numbers: Which line of its file each record is.
        keys: The key of each record, of sources that have keys.
        headers: The headers of each record in their order; a name may be repeated.
        schemas: Those that framed values name, or the one of all values.
        holes: All offsets between where reading started and `end` that hold no record, in order.
            Sources without gaps have none.

    """

    partition: SourcePartition
    offsets: np.ndarray
    end: Position
    times: datetime | pa.Array
    time_type: TimeType = TimeType.MODIFIED
    lines: Sequence[bytes] = ()
    tombstones: Collection[int] = ()
    header: tuple[str, ...] = ()
    rows: pa.RecordBatch | None = None
    line_numbers: LineNumbers | None = None
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[Sequence[tuple[str, bytes | None]]] | None = None
    schemas: Schemas | None = None
    holes: tuple[Hole, ...] = ()

    @property
    def count(self) -> int:
        """The number of records."""
        return len(self.lines) if self.rows is None else self.rows.num_rows

    def times_of(self, at: Sequence[int] | np.ndarray) -> pa.Array:
        """Return the source times of the records at these places of the batch."""
        if isinstance(self.times, datetime):
            return pa.repeat(pa.scalar(self.times, TIMESTAMP), len(at))
        return self.times.take(pa.array(at, pa.int64()))


def consecutive(first: int, count: int) -> np.ndarray:
    """Number records that have no gaps."""
    return np.arange(first, first + count, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The result of one poll.

    Args:
        parts: Records of one or more partitions, each partition at most once.
        ended: Partitions that this reader has read to their end, such as files. They hold the
            watermark back no longer. Partitions of a log never end.
        left_out: Partitions that this reader passed over, such as files that the contract leaves out.

    """

    parts: tuple[Records, ...] = ()
    ended: tuple[SourcePartition, ...] = ()
    left_out: tuple[SourcePartition, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReaderStatus:
    """What a source holds beyond the positions that a reader was opened at.

    Args:
        waiting: Partitions with something to take, in the order of reading.
        lag: How many offsets each partition is behind its end, never negative. Partitions whose lag
            the source does not know are left out.
        unfinished: Partitions whose only new record is not complete yet.
        unchanged: New positions of sources that were read to find out that they did not change. Once
            these are remembered, the next reader does not read them.
        missing: Why the source has no partition at all, if so.
        next: Where each partition of a log goes on: the next offset to read. Sources of files have none.
        skipped: Why sources were left out so far, of a contract that says to go on without them.
        unreachable: Why the source did not answer when it was asked last, if so: `lag` and `waiting`
            are then those of before.
        topic_id: Of a log that brokers have given one; a topic that is created again has another.

    """

    waiting: tuple[SourcePartition, ...] = ()
    lag: Mapping[SourcePartition, int] = field(default_factory=dict[SourcePartition, int])
    unfinished: tuple[SourcePartition, ...] = ()
    unchanged: Mapping[SourcePartition, Position] = field(
        default_factory=dict[SourcePartition, Position]
    )
    missing: str | None = None
    next: Mapping[SourcePartition, int] = field(default_factory=dict[SourcePartition, int])
    skipped: tuple[SourceError, ...] = ()
    unreachable: SourceError | None = None
    topic_id: str = ""


class Reader(Protocol):
    """Reads a source from given positions on; used by one thread, in the process that opened it.

    Memory is bounded: what a reader holds between polls is at most what one poll returns, or a number
    of bytes that the source states. A reader that fetches ahead pauses its partitions when that bound
    is reached. Not polling is how a caller slows a reader down.
    """

    @property
    def drained(self) -> bool:
        """Whether each partition is read to the end offset that it had when the reader was opened.

        The reader's position counts, not the last record: a log may end in offsets without records.
        """
        ...

    @property
    def active(self) -> Collection[SourcePartition]:
        """Partitions that may still return events, and so hold the watermark back.

        A partition that was read to its end is not active. One that the reader paused is.
        """
        ...

    def status(self) -> ReaderStatus:
        """Return what there is to take; reads no record."""
        ...

    def poll(self, max_rows: int, *, max_s: float) -> Batch | None:
        """Return the next records.

        Offsets of a partition never go back within one reader. Opening another reader at any `end`
        that was returned gives the records after it again.

        Args:
            max_rows: Stop adding records at this number. The smallest unit that a source reads, such
                as a block of a file, is not split and may exceed it.
            max_s: How many seconds to wait for a first record.

        Returns:
            The batch, or None if there was nothing to return within `max_s`.

        Raises:
            SourceError: If the source cannot be read or is not what the contract says. The reader
                can then only be closed.
            ValueError: If the reader is closed.

        """
        ...

    def confirm(self) -> None:
        """Check that the source still is the one whose records were returned; before each commit.

        Raises:
            SourceError: If it was replaced meanwhile, so that offsets mean other records.

        """
        ...

    def close(self) -> None:
        """Release files and connections; idempotent."""
        ...


class Source(Protocol):
    """Where a stream's records come from.

    Reading a partition from the same position gives the same records with the same offsets.
    """

    @property
    def is_log(self) -> bool:
        """Whether its partitions go on, as those of a topic, and are few; files end."""
        ...

    def missing(self) -> str | None:
        """Return why there is nothing to read at all, if so; reads no record."""
        ...

    def open(self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False) -> Reader:
        """Start reading at the given positions, and note the end offset of each partition.

        Args:
            positions: Called with all partitions that the source has.
            rows_per_commit: After so many rows of one partition they may be committed. A source that
                can tell whether a longer partition is damaged does so before returning its first row.
            follow: Read on beyond these ends, and take in partitions that are added. `drained` then
                says whether the ends known last are reached. Files do not follow: they are opened again.

        Raises:
            SourceError: If the source cannot be reached.

        """
        ...
