"""The order of an epoch and each rank's share of it: pure functions of metadata; no file is read.

An epoch is one sequence of row groups, in table order or permuted by the seed. It is cut into
`splits` equal lanes, the canonical splits (at most as many as row groups), and position p of the
epoch is the next row of lane p mod splits. A global batch is the next `batch_size * world_size`
positions, grouped by lane, and rank r takes the r-th part of it. So the order does not depend on
ranks, every rank gets the same number of rows, and a rank opens only the lanes of its part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headrace.datasets.files import PlannedFile
from headrace.loading.shuffle import Shuffle, permutation, stream_key

Remainder = Literal["keep", "drop", "pad"]


@dataclass(frozen=True)
class Segment:
    """Rows `start` to `stop` of one row group."""

    file: int
    row_group: int
    start: int
    stop: int


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of one window, after shuffling; `lane` is the window's lane."""

    lane: int
    window: int
    start: int
    stop: int


@dataclass(frozen=True)
class BatchPlan:
    """One batch of one rank; `stop` is the epoch position after this batch on all ranks."""

    pieces: tuple[Piece, ...]
    padding: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which part of each global batch a rank takes, and how the last, partial one is treated.

    `remainder`: "keep" yields it short (one rank only), "drop" leaves it out, "pad" fills it with
    rows from the start of the epoch and counts them in `Batch.padding`.
    """

    batch_size: int
    rank: int = 0
    world_size: int = 1
    remainder: Remainder = "keep"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            msg = f"`batch_size` is {self.batch_size}, but must be positive"
            raise ValueError(msg)
        if not 0 <= self.rank < self.world_size:
            msg = f"`rank` is {self.rank}, but must be from 0 to world_size - 1 = {self.world_size - 1}"
            raise ValueError(msg)
        if self.remainder not in ("keep", "drop", "pad"):
            msg = f"`remainder` is `{self.remainder}`; allowed are `keep`, `drop` and `pad`"
            raise ValueError(msg)
        if self.remainder == "keep" and self.world_size > 1:
            msg = (
                "with several ranks a short last batch would differ between ranks; "
                "choose remainder=`drop` or `pad`"
            )
            raise ValueError(msg)

    @property
    def global_batch(self) -> int:
        """Rows of all ranks together in one step."""
        return self.batch_size * self.world_size

    def batch_count(self, rows: int) -> int:
        """Batches of an epoch, the same on every rank."""
        full, rest = divmod(rows, self.global_batch)
        return full + (rest > 0 and self.remainder != "drop")

    def rows_dropped(self, rows: int) -> int:
        """Rows of an epoch that no rank gets."""
        return rows % self.global_batch if self.remainder == "drop" else 0

    def rows_padded(self, rows: int) -> int:
        """Rows that are repeated, over all ranks."""
        return -rows % self.global_batch if self.remainder == "pad" else 0


class EpochOrder:
    """The global order of one epoch: a function of files, shuffle, epoch and splits alone."""

    def __init__(
        self, files: Sequence[PlannedFile], *, shuffle: Shuffle | None, epoch: int, splits: int
    ) -> None:
        file_of = [at for at, file in enumerate(files) for _ in file.row_group_rows]
        group_of = [at for file in files for at in range(len(file.row_group_rows))]
        rows_of = [rows for file in files for rows in file.row_group_rows]
        rows = np.array(rows_of, np.int64)
        order = np.arange(len(rows_of))
        if shuffle is not None:
            order = permutation(len(rows_of), key=stream_key(shuffle.seed, epoch, "row groups"))
        self.rows = int(rows.sum())
        # Lanes shorter than a row group would only cause row groups to be decoded twice.
        self.splits = splits = max(1, min(splits, int(np.count_nonzero(rows))))
        self._file, self._group = np.array(file_of, np.int64), np.array(group_of, np.int64)
        lanes = (self.rows - np.arange(splits) + splits - 1) // splits
        self._lane_start = _starts(lanes)
        self._order, self._group_start = order, _starts(rows[order])
        # A segment ends where a row group or a lane ends; empty row groups are dropped here.
        bounds = np.unique(np.concatenate([self._group_start, self._lane_start]))
        self._segment_start = bounds
        self._window_start = bounds
        if shuffle is not None:
            share = -(-shuffle.window_rows // splits)
            lane = np.searchsorted(self._lane_start, bounds[:-1], side="right") - 1
            nth = (bounds[:-1] - self._lane_start[lane]) // share
            first = np.ones(len(lane), bool)
            first[1:] = (lane[1:] != lane[:-1]) | (nth[1:] != nth[:-1])
            self._window_start = np.append(bounds[:-1][first], self.rows)

    def window_rows(self, window: int) -> int:
        """Rows of one window."""
        return int(self._window_start[window + 1] - self._window_start[window])

    def segments(self, window: int) -> tuple[Segment, ...]:
        """The segments to read for one window, in epoch order."""
        low, high = self._window_start[window], self._window_start[window + 1]
        first, last = np.searchsorted(self._segment_start, [low, high])
        found: list[Segment] = []
        for at in range(int(first), int(last)):
            start, stop = int(self._segment_start[at]), int(self._segment_start[at + 1])
            place = int(np.searchsorted(self._group_start, start, side="right")) - 1
            group, origin = int(self._order[place]), int(self._group_start[place])
            found.append(
                Segment(
                    int(self._file[group]), int(self._group[group]), start - origin, stop - origin
                )
            )
        return tuple(found)

    def batches(self, share: Share, *, start: int = 0) -> Iterator[BatchPlan]:
        """Plan a rank's batches from epoch position `start` on."""
        size = share.global_batch
        first, last = share.rank * share.batch_size, (share.rank + 1) * share.batch_size
        for position in range(start, self.rows, size):
            stop = min(position + size, self.rows)
            if stop - position == size:
                ranges, padding = self._ranges(position, stop), 0
            elif share.remainder == "drop":
                return
            else:
                ranges, missing = self._ranges(position, stop), position + size - stop
                if share.remainder == "keep":
                    missing = 0
                padding = min(missing, share.batch_size, max(0, last - (stop - position)))
                while missing > 0:
                    ranges += self._ranges(0, min(missing, self.rows))
                    missing -= self.rows
            yield BatchPlan(self._pieces(ranges, first, last), padding, stop)

    def _ranges(self, position: int, stop: int) -> list[tuple[int, int, int]]:
        """Map epoch positions to ranges of the sequence, by lane: (lane, start, stop)."""
        found: list[tuple[int, int, int]] = []
        for lane in range(self.splits):
            origin = int(self._lane_start[lane])
            low = max(0, -((lane - position) // self.splits))
            high = max(0, -((lane - stop) // self.splits))
            if high > low:
                found.append((lane, origin + low, origin + high))
        return found

    def _pieces(
        self, ranges: list[tuple[int, int, int]], first: int, last: int
    ) -> tuple[Piece, ...]:
        """Select rows `first` to `last` of the ranges, split at window boundaries."""
        found: list[Piece] = []
        passed = 0
        for lane, low, high in ranges:
            begin, end = max(low, low + first - passed), min(high, low + last - passed)
            passed += high - low
            while begin < end:
                window = int(np.searchsorted(self._window_start, begin, side="right")) - 1
                origin = int(self._window_start[window])
                upto = min(end, int(self._window_start[window + 1]))
                found.append(Piece(lane, window, begin - origin, upto - origin))
                begin = upto
        return tuple(found)


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
