"""What one day of a sample table holds: rows, content hash, labels by state and value, profiles."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.datasets.canonical import kind_of
from headrace.datasets.content_hash import ContentHash
from headrace.datasets.lockfile import LabelCount
from headrace.datasets.profile import ColumnProfile, Profiling
from headrace.tables.version import TableVersion

STATE_COLUMN = "label_state"
PENDING = "pending"


@dataclass(frozen=True)
class Measure:
    """What to count: the columns that make the content, labels to tally, columns to profile."""

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    profiled: tuple[str, ...] = ()

    def schema_of(self, schema: pa.Schema) -> pa.Schema:
        """Pick the counted columns out of a table's schema."""
        return pa.schema([schema.field(name) for name in self.columns])


@dataclass(frozen=True)
class DayContent:
    """The content of one day; contents of days add up."""

    day: dt.date
    content: ContentHash
    tally: Mapping[tuple[str, str, str], int]
    profiles: Mapping[str, Profiling] = field(default_factory=dict[str, Profiling])


def measure_day(version: TableVersion, day: dt.date, measure: Measure) -> DayContent:
    """Read one day of a pinned snapshot.

    Raises:
        CorruptFileError: If a page of it is damaged.

    """
    batches = version.batches(columns=measure.columns, partitions=[(day,)])
    return measure_batches(batches, day=day, schema=version.schema, measure=measure)


def measure_batches(
    batches: Iterable[pa.RecordBatch], *, day: dt.date, schema: pa.Schema, measure: Measure
) -> DayContent:
    """Measure rows from anywhere as the content of `day`."""
    content = ContentHash(measure.schema_of(schema))
    tally: Counter[tuple[str, str, str]] = Counter()
    profiles = {name: Profiling() for name in measure.profiled}
    for batch in batches:
        content.update(batch)
        for label in measure.labels:
            _tally(batch, label, tally)
        for name, profile in profiles.items():
            profile.update(batch.column(name))
    return DayContent(day, content, tally, profiles)


def pending_rows(version: TableVersion, day: dt.date) -> int:
    """Count a day's samples with a pending label; reads one column."""
    if STATE_COLUMN not in version.schema.names:
        return 0
    return sum(
        pc.sum(pc.equal(batch.column(0), PENDING)).as_py() or 0
        for batch in version.batches(columns=[STATE_COLUMN], partitions=[(day,)])
    )


def kinds_of(schema: pa.Schema, columns: Sequence[str]) -> dict[str, str]:
    """Name the kind of each column, as the lockfile lists them."""
    return {name: kind_of(schema.field(name).type, column=name) for name in columns}


def label_counts(days: Iterable[DayContent]) -> tuple[LabelCount, ...]:
    """Add up the label tallies of several days."""
    total: Counter[tuple[str, str, str]] = Counter()
    for day in days:
        total.update(day.tally)
    return tuple(
        LabelCount(label=label, state=state, value=value, rows=rows)
        for (label, state, value), rows in sorted(total.items())
    )


def profiles_of(days: Sequence[DayContent], measure: Measure) -> dict[str, ColumnProfile]:
    """Say what the profiled columns look like over several days."""
    found = {name: Profiling() for name in measure.profiled}
    for day in days:
        for name, profile in found.items():
            profile.merge(day.profiles[name])
    return {name: profile.done() for name, profile in found.items()}


def _tally(batch: pa.RecordBatch, label: str, tally: Counter[tuple[str, str, str]]) -> None:
    signs = _sign_names(batch.column(label))
    states = pc.fill_null(batch.column(f"{label}_state").cast(pa.string()), "none")
    grouped = pa.table({"state": states, "value": signs}).group_by(["state", "value"])
    rows: list[dict[str, Any]] = grouped.aggregate([([], "count_all")]).to_pylist()
    for row in rows:
        tally[label, row["state"], row["value"]] += row["count_all"]


def _sign_names(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if not pa.types.is_primitive(values.type) or pa.types.is_temporal(values.type):
        present = pc.is_valid(values)  # text has no sign: it is there or it is not
        return pc.if_else(present, "positive", "null")
    sign = pc.sign(values)
    named = pc.if_else(
        pc.equal(sign, 0), "zero", pc.if_else(pc.greater(sign, 0), "positive", "negative")
    )
    if pa.types.is_floating(values.type):
        named = pc.if_else(pc.is_nan(values), "nan", named)  # NaN is of no sign
    return pc.fill_null(named, "null")
