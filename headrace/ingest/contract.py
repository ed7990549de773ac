"""Applies the contract to decoded records: typed rows for the table, violations for the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.durations import format_duration
from headrace.definitions.stream import EVENT_TIME, Stream
from headrace.definitions.stream_field import StreamField
from headrace.definitions.stream_times import FixedTime
from headrace.definitions.types import TIMESTAMP
from headrace.iceberg.schema import is_wider
from headrace.ingest.arrow_arrays import bits
from headrace.ingest.decoding.decoded import (
    FUTURE_TIME,
    MISSING_REQUIRED,
    WRONG_LENGTH,
    Decoded,
    Violation,
    refusal,
    unknown,
)
from headrace.ingest.list_texts import convert_lists, lengths_of
from headrace.ingest.number_forms import convert_numbers, is_number
from headrace.ingest.time_forms import convert_field
from headrace.ingest.values import Converted


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The result for one micro-batch: `index` is the place of each row; every record is in one of both."""

    index: np.ndarray
    rows: pa.Table
    violations: dict[int, Violation]


def check(decoded: Decoded, stream: Stream, *, not_after: datetime | None = None) -> Checked:
    """Convert every declared field to its type, and refuse records that break the contract.

    Rows keep their order and have the table's columns except row coordinates and a stamped
    `known_at`. Of several violations a record reports the first, in the contract's order.

    Args:
        decoded: The records.
        stream: The contract.
        not_after: The latest event time to accept. One wrong clock beyond it would move the watermark
            past all later events, and labels would mature too early.

    """
    count = len(decoded.index)
    found: dict[int, Violation] = {}
    columns: dict[str, pa.Array] = {}
    for name, field in stream.fields.items():
        column = decoded.columns.get(name)
        if column is None:
            column = pa.nulls(count, field.type.arrow)
        done = _converted(column, field, stream)
        for row, violation in _violations(name, field, column, done):
            found.setdefault(row, violation)
        columns[stream.column_of(name)] = done.values
    if stream.time_field is None:
        columns[EVENT_TIME] = pa.repeat(_time_of_all(stream), count)
    elif not_after is not None:
        _refuse_future(columns[EVENT_TIME], stream, not_after, found)
    if stream.unknown_fields in ("dead_letter", "evolve"):
        _refuse_unknown(decoded, stream, found)
    rows = pa.table(columns)
    index = decoded.index
    violations = dict(decoded.violations)
    if found:
        violations |= {int(index[row]): violation for row, violation in found.items()}
        kept = np.ones(count, dtype=bool)
        kept[list(found)] = False
        index, rows = index[kept], rows.filter(bits(kept))
    return Checked(index=index, rows=rows, violations=violations)


def _violations(
    name: str, field: StreamField, column: pa.Array, done: Converted
) -> Iterator[tuple[int, Violation]]:
    """Yield what is wrong with the values of a field, by row."""
    for row, code in done.errors.items():
        yield row, refusal(name, code, column[row], declared=field.type.text)
    if field.length is not None:
        for row, why in lengths_of(done.values, field.length).items():
            yield row, Violation(WRONG_LENGTH, f"`{name}` {why}", name)
    if field.required:
        for row in _missing(done):
            yield row, Violation(MISSING_REQUIRED, f"`{name}` is missing, and it is required", name)


def _converted(column: pa.Array, field: StreamField, stream: Stream) -> Converted:
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text and pa.types.is_list(field.type.arrow):
        return convert_lists(column, field.type.arrow)
    if stream.csv.plain_numbers or not is_text or not is_number(field.type.arrow):
        return convert_field(column, field)
    return convert_numbers(column, field.type.arrow, stream.csv)


def _time_of_all(stream: Stream) -> pa.Scalar:
    """Return the event time of records that have none."""
    declared = stream.event_time
    at = declared.constant if isinstance(declared, FixedTime) else datetime.now(UTC)
    return pa.scalar(at, TIMESTAMP)


def _missing(done: Converted) -> list[int]:
    if not done.values.null_count:
        return []
    rows = np.flatnonzero(done.values.is_null().to_numpy(zero_copy_only=False))
    return [int(row) for row in rows if int(row) not in done.errors]


def _refuse_future(
    event_times: pa.Array, stream: Stream, not_after: datetime, found: dict[int, Violation]
) -> None:
    beyond = pc.fill_null(pc.greater(event_times, pa.scalar(not_after, TIMESTAMP)), False)
    if not pc.any(beyond).as_py():
        return
    for row in np.flatnonzero(beyond.to_numpy(zero_copy_only=False)):
        value = event_times[int(row)].as_py()
        reason = (
            f"`{stream.time_field}` is `{value.isoformat()}`, more than "
            f"{format_duration(stream.allowed_clock_skew)} in the future"
        )
        found.setdefault(int(row), Violation(FUTURE_TIME, reason, stream.time_field))


def _refuse_unknown(decoded: Decoded, stream: Stream, found: dict[int, Violation]) -> None:
    for name, column in decoded.columns.items():
        if name in stream.fields:
            continue
        for row in np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)):
            if int(row) not in found:
                found[int(row)] = unknown(name, stream)


def latest(rows: pa.Table, column: str) -> int | None:
    """Return the greatest time of a column in epoch microseconds; None without rows."""
    return pc.max(rows.column(column)).cast(pa.int64()).as_py() if rows.num_rows else None


def contract_breaks(stream: Stream, schema: pa.Schema) -> list[str]:
    """Name the declared columns that a table lacks or holds with another type; a wider type is fine."""
    return [
        field.name
        for field in stream.table_schema()
        if field.name not in schema.names
        or not _can_hold(schema.field(field.name).type, field.type)
    ]


def _can_hold(found: pa.DataType, declared: pa.DataType) -> bool:
    found, declared = _as_iceberg(found), _as_iceberg(declared)
    return found == declared or is_wider(declared, found)


def _as_iceberg(kind: pa.DataType) -> pa.DataType:
    """Ignore what Arrow distinguishes and Iceberg does not: large offsets, names of list elements."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_as_iceberg(kind.value_type))
    return pa.string() if pa.types.is_large_string(kind) else kind
