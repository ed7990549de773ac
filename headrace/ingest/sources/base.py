"""The seam between ingestion and where records come from: splits, positions, micro-batches."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import pyarrow as pa

from headrace.ingest.sources.line_numbers import LineNumbers

RECORD_BYTES_MAX = 1024 * 1024  # of one record; a longer one is refused, not read


class Seen(NamedTuple):
    """What tells, without reading it, that a file is as it was."""

    changed_ns: int
    inode: int


UNSEEN = Seen(0, 0)  # of no file: nothing tells


@dataclass(frozen=True)
class Position:
    """How far a split is taken: the next record's offset, and where its bytes start if known.

    `fingerprint` is that of the bytes before it, if known, and `seen` of the file whose end it is.
    """

    records: int = 0
    bytes: int = 0
    fingerprint: str = ""
    seen: Seen = UNSEEN


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of a source with offsets of its own, and something new in it."""

    source: str
    partition: int
    source_time: datetime
    start: Position


@dataclass(frozen=True, kw_only=True)
class Records:
    """One micro-batch as read: records of consecutive offsets, not yet decoded.

    Text sources fill `lines` (and `header` for CSV, `line_numbers` for files), columnar ones `rows`.
    Reading may go on at
    `end` once these records are taken.
    """

    first_offset: int
    end: Position
    lines: Sequence[bytes] = ()
    header: tuple[str, ...] = ()
    rows: pa.RecordBatch | None = None
    line_numbers: LineNumbers | None = None

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self.lines) if self.rows is None else self.rows.num_rows


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a source holds beyond what was taken.

    Args:
        splits: What can be taken, in the order to take it.
        unfinished: Sources whose only new record is not complete yet.
        unchanged: Positions of sources that had to be read to know that they are as they were; once
            these are remembered, the next look need not.
        missing: Why there is no source at all, if so.

    """

    splits: tuple[Split, ...]
    unfinished: tuple[str, ...] = ()
    unchanged: Mapping[str, Position] = field(default_factory=dict)
    missing: str | None = None


# how far the named sources are taken; those of which nothing was are left out
PositionsOf = Callable[[Collection[str]], Mapping[str, Position]]


class Source(Protocol):
    """Where a stream's records come from.

    Offsets of a split start at 0 and have no gaps; reading the same split from the same position
    gives the same records again.
    """

    def look(self, positions_of: PositionsOf) -> Look:
        """Find what lies beyond the positions; asks for those of all its sources at once."""
        ...

    def read(self, split: Split, *, rows_per_commit: int) -> Iterator[Records]:
        """Read from the split's start on, in memory bounded by one micro-batch.

        Raises:
            SourceFileError: If the split is not what the contract says; before the first record
                wherever that can be known.
            SourceChangedError: If what was taken of it is no longer there.

        """
        ...
