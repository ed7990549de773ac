"""The seam between ingestion and where records come from: splits, positions, micro-batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True)
class Position:
    """How far a split is taken: the next record's offset, and where its bytes start if known."""

    records: int = 0
    bytes: int = 0


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

    Text sources fill `lines` (and `header` for CSV), columnar ones `rows`. Reading may go on at
    `end` once these records are taken.
    """

    first_offset: int
    end: Position
    lines: Sequence[bytes] = ()
    header: tuple[str, ...] = ()
    rows: pa.RecordBatch | None = None

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self.lines) if self.rows is None else self.rows.num_rows


class Source(Protocol):
    """Where a stream's records come from.

    Offsets of a split start at 0 and have no gaps; reading the same split from the same position
    gives the same records again.
    """

    def splits(self, positions: Mapping[str, Position]) -> tuple[Split, ...]:
        """List the splits with records beyond `positions`, in the order to take them."""
        ...

    def read(self, split: Split, *, rows_per_commit: int) -> Iterator[Records]:
        """Read from the split's start on, in memory bounded by one micro-batch.

        Raises:
            SourceFileError: If the split is not what the contract says; before the first record
                wherever that can be known.

        """
        ...
