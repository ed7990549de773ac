"""Sets of composite keys: which rows have one of the keys, which data files may hold one."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import IcebergType, IntegerType, LongType

from headrace.iceberg import partitions
from headrace.iceberg.bounds import BoundsProof
from headrace.iceberg.inspected import Inspector

NONE = -1  # the number of a row whose key is not in the set


class KeySet:
    """The distinct keys of some rows, numbered from 0. Null equals null.

    Values are compared, not hashes of them. Columns are looked up one by one, so a key may have any
    number of them, and the rows it came from are not needed again.
    """

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self.axes = [_Axis(column) for column in columns]
        self._folds: list[np.ndarray] = []
        numbers = self.axes[0].ranks
        for axis in self.axes[1:]:
            # renumbering the pairs after each column keeps numbers below the count of rows, so
            # their product with the next column's size cannot overflow
            fold, numbers = np.unique(numbers * axis.size + axis.ranks, return_inverse=True)
            self._folds.append(fold)
        self.numbers = numbers
        self.count = len(self._folds[-1]) if self._folds else self.axes[0].size

    def find(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Return the number of each row's key, `NONE` where it is not in the set: int64."""
        numbers = self.axes[0].find(columns[0])
        for axis, fold, column in zip(self.axes[1:], self._folds, columns[1:], strict=True):
            if not len(fold):
                return np.full(len(column), NONE, np.int64)
            codes = axis.find(column)
            pairs = numbers * axis.size + codes
            at = np.minimum(np.searchsorted(fold, pairs), len(fold) - 1)
            is_key = (numbers != NONE) & (codes != NONE) & (fold[at] == pairs)
            numbers = np.where(is_key, at, NONE)
        return numbers


class _Axis:
    """One column of a key set: its distinct values in order, null last, and the rank of each row."""

    def __init__(self, column: pa.Array) -> None:
        distinct = pc.unique(_storage(column))
        order = pc.sort_indices(distinct)  # nulls last
        self.values = distinct.take(order)
        self.size = len(self.values)
        self.ranks = self.find(column)

    def find(self, column: pa.Array) -> np.ndarray:
        """Return the rank of each value, `NONE` for a value that is not in the axis."""
        found = pc.index_in(_storage(column), value_set=self.values)
        return pc.fill_null(found, NONE).to_numpy(zero_copy_only=False).astype(np.int64)

    @cached_property
    def stored(self) -> list[Any]:
        """The non-null values as Iceberg stores them: times and dates are integers."""
        return _stored(self.values.drop_null()).to_pylist()

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows ordered by rank, and where each rank begins among them."""
        order = np.argsort(self.ranks, kind="stable")
        return order, np.searchsorted(self.ranks[order], np.arange(self.size + 2))

    def all(self) -> "_Span":
        return _Span(0, len(self.stored), nulls=True)

    def between(self, low: object, high: object, *, nulls: bool) -> "_Span":
        """The values from `low` to `high`; None means unbounded."""
        first = 0 if low is None else bisect.bisect_left(self.stored, low)
        last = len(self.stored) if high is None else bisect.bisect_right(self.stored, high)
        return _Span(first, max(first, last), nulls=nulls)

    def count(self, span: "_Span") -> int:
        """How many rows have a value in the span."""
        return sum(len(rows) for rows in self._pieces(span))

    def rows(self, span: "_Span") -> np.ndarray:
        """The rows that have a value in the span."""
        return np.concatenate(self._pieces(span))

    def _pieces(self, span: "_Span") -> list[np.ndarray]:
        order, starts = self.places
        pieces = [order[starts[span.first] : starts[span.last]]]
        if span.nulls:
            pieces.append(order[starts[len(self.stored)] :])
        return pieces

    def holds(self, rows: np.ndarray, span: "_Span") -> np.ndarray:
        """Which of `rows` have a value in the span."""
        ranks = self.ranks[rows]
        inside = (ranks >= span.first) & (ranks < span.last)
        return inside | (ranks == len(self.stored)) if span.nulls else inside


@dataclass(frozen=True)
class _Span:
    """Ranks of an axis from `first` up to, not including, `last`; with null if `nulls`."""

    first: int
    last: int
    nulls: bool


class KeyFilter:
    """Decides by bounds and partitions which data files and manifests may hold one of some keys.

    Bounds that may not hold for all rows are checked against the file's footer: see `BoundsProof`.
    """

    def __init__(
        self,
        keys: KeySet,
        *,
        names: Sequence[str],
        metadata: TableMetadata,
        inspector: Inspector | None = None,
    ) -> None:
        schema = metadata.schema()
        self._spec_id = metadata.default_spec_id
        self._proof = BoundsProof(metadata, names, inspector=inspector)
        self._bounds = [
            _ByBounds(axis, schema.find_field(name).field_id, schema.find_type(name))
            for axis, name in zip(keys.axes, names, strict=True)
        ]
        axes = dict(zip(names, keys.axes, strict=True))
        spec, terms = metadata.spec(), partitions.terms_of(metadata.spec(), schema)
        types = [f.field_type for f in spec.partition_type(schema).fields]
        self._places = [
            _ByPartition(axes[term.column], term, position, types[position])
            for position, term in enumerate(terms)
            if term.column in axes
        ]

    def may_hold(self, file: DataFile) -> bool:
        """Whether a data file may hold a row with one of the keys."""
        if self._is_in_range(file):
            return True
        return self._proof.is_doubtful(file) and self._is_in_range(self._proof.proved(file))

    def _is_in_range(self, file: DataFile) -> bool:
        tests = [(test.axis, test.span(file)) for test in self._bounds]
        if file.spec_id == self._spec_id:
            tests.extend((test.axis, test.span(file)) for test in self._places)
        tests.sort(key=lambda test: test[0].count(test[1]))
        (axis, span), *others = tests
        rows = axis.rows(span)
        for axis, span in others:
            rows = rows[axis.holds(rows, span)]
        return bool(len(rows))

    def may_list(self, manifest: ManifestFile) -> bool:
        """Whether a manifest may list a file with one of the keys."""
        summaries = manifest.partitions
        if summaries is None or manifest.partition_spec_id != self._spec_id:
            return True
        return all(test.may_list(summaries[test.position]) for test in self._places)


class _ByBounds:
    """The key values that the bounds of a key column allow."""

    def __init__(self, axis: _Axis, field_id: int, kind: IcebergType) -> None:
        self.axis, self._field_id = axis, field_id
        # another process may add a file that it wrote after the column was widened
        self._kind = LongType() if isinstance(kind, IntegerType) else kind

    def span(self, file: DataFile) -> _Span:
        nulls = (file.null_value_counts or {}).get(self._field_id)
        if nulls is not None and nulls == file.record_count:
            return _Span(0, 0, nulls=True)
        low = (file.lower_bounds or {}).get(self._field_id)
        high = (file.upper_bounds or {}).get(self._field_id)
        return self.axis.between(
            None if low is None else from_bytes(self._kind, low),
            None if high is None else from_bytes(self._kind, high),
            nulls=nulls != 0,
        )


class _ByPartition:
    """The key values that a partition allows, where its field derives from a key column."""

    def __init__(
        self, source: _Axis, term: partitions.Term, position: int, kind: IcebergType
    ) -> None:
        self.axis = _Axis(partitions.values_of(source.values, term).take(pa.array(source.ranks)))
        self.position, self._kind = position, kind

    def span(self, file: DataFile) -> _Span:
        value = file.partition[self.position]
        return self._only_null() if value is None else self.axis.between(value, value, nulls=False)

    def may_list(self, summary: Any) -> bool:  # noqa: ANN401  (pyiceberg's PartitionFieldSummary)
        if summary.lower_bound is None:
            return bool(self.axis.count(self._only_null()))
        low = from_bytes(self._kind, summary.lower_bound)
        high = from_bytes(self._kind, summary.upper_bound)
        span = self.axis.between(low, high, nulls=bool(summary.contains_null))
        return bool(self.axis.count(span))

    def _only_null(self) -> _Span:
        return _Span(0, 0, nulls=True)


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _stored(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        return values.cast(pa.int64())
    return values.cast(pa.int32()) if pa.types.is_date32(kind) else values
