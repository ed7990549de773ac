"""What the columns of a version look like: nulls, mean, spread and values by bucket; they add up.

Buckets are the same for all versions, so that two profiles are compared without reading a row again.
`docs/formats/dataset-lockfile.md` says which there are.
"""

import math
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

Array = Any  # pyarrow ships no types; any pa.Array
_TEXT_BUCKETS = 16
_ROOT_HALF = 0.5**0.5


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """A column of a version: `buckets` count the values that are not null.

    `mean` and `deviation` (of the population) are those of finite numbers, and of lists those of
    their lengths; None without any, and where they are too large to be squared and added.
    """

    rows: int
    nulls: int
    mean: float | None
    deviation: float | None
    buckets: Mapping[str, int]

    @property
    def null_share(self) -> float | None:
        """Nulls for each row; None without rows."""
        return self.nulls / self.rows if self.rows else None


@dataclass
class Profiling:
    """Takes the values of a column, in any order and split; those of several days are merged."""

    rows: int = 0
    nulls: int = 0
    numbers: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of the distances from the mean
    buckets: Counter[str] = field(default_factory=Counter[str])

    def update(self, values: Array) -> None:
        """Add values of one type; those of a type without buckets count as null or not."""
        self.rows += len(values)
        self.nulls += values.null_count
        values = values.drop_null()
        if pt.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pt.is_list(values.type) or pt.is_large_list(values.type):
            values = pc.list_value_length(values)
        if pt.is_string(values.type) or pt.is_large_string(values.type):
            self._add_texts(values)
        elif pt.is_boolean(values.type):
            self._add_numbers(values.cast(pa.int8()).to_numpy().astype(np.float64))
        elif (
            pt.is_integer(values.type) or pt.is_floating(values.type) or pt.is_decimal(values.type)
        ):
            floats = values.cast(pa.float64(), safe=False)
            self._add_numbers(floats.to_numpy(zero_copy_only=False))

    def merge(self, other: "Profiling") -> None:
        """Add all that another one has taken."""
        self.rows += other.rows
        self.nulls += other.nulls
        self.buckets.update(other.buckets)
        self._combine(other.numbers, other.mean, other.squares)

    def done(self) -> ColumnProfile:
        """Say what the values look like."""
        known = self.numbers > 0 and math.isfinite(self.squares)  # JSON has no infinity
        return ColumnProfile(
            rows=self.rows,
            nulls=self.nulls,
            mean=self.mean if known else None,
            deviation=(self.squares / self.numbers) ** 0.5 if known else None,
            buckets=dict(sorted(self.buckets.items())),
        )

    def _add_texts(self, texts: Array) -> None:
        counted = texts.value_counts()
        each_of = (counted.field(name).to_pylist() for name in ("values", "counts"))
        for text, rows in zip(*each_of, strict=True):
            self.buckets[f"h{zlib.crc32(text.encode()) % _TEXT_BUCKETS}"] += rows

    def _add_numbers(self, floats: npt.NDArray[np.float64]) -> None:
        finite = floats[np.isfinite(floats)]
        for name, rows in (
            ("nan", np.isnan(floats).sum()),
            ("inf", (floats == np.inf).sum()),
            ("-inf", (floats == -np.inf).sum()),
            ("zero", (finite == 0).sum()),
        ):
            if rows:
                self.buckets[name] += int(rows)
        for sign, part in (("", finite[finite > 0]), ("n", -finite[finite < 0])):
            fraction, exponent = np.frexp(part)
            halves = 2 * exponent - 2 + (fraction >= _ROOT_HALF)
            for half, rows in zip(*np.unique(halves, return_counts=True), strict=True):
                self.buckets[f"{sign}{half / 2:g}"] += int(rows)
        if len(finite):
            with np.errstate(over="ignore", invalid="ignore"):  # `done` tells
                mean = float(finite.mean())
                squares = float(((finite - mean) ** 2).sum())
            self._combine(len(finite), mean, squares)

    def _combine(self, numbers: int, mean: float, squares: float) -> None:
        """Combine two means and spreads without losing digits to large sums (Chan et al.)."""
        total = self.numbers + numbers
        if not total:
            return
        apart = mean - self.mean
        self.squares += squares + apart * apart * self.numbers * numbers / total
        self.mean += apart * numbers / total
        self.numbers = total
