"""The dead-letter table: records that could not become rows, whole, with the reason and where they came from."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import COORDINATES, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.iceberg.column_metrics import WHOLE_SOURCES
from headrace.identifiers import TableName
from headrace.ingest.coordinates import coordinates_of
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.letter_values import COLUMNS, values_of
from headrace.ingest.sources.base import Records, SourcePartition
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake

TABLE = TableName("dead_letters", "records")
SCHEMA = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("contract_version", pa.int32(), nullable=False),
        *COORDINATES,
        pa.field("error_code", pa.string(), nullable=False),
        pa.field("field", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.binary(), nullable=False),
        pa.field("recorded_at", TIMESTAMP, nullable=False),
        pa.field("source_line", pa.int64()),
        *COLUMNS,
    ]
)


def open_table(lake: OpenLake) -> LakeTable:
    """Return the dead-letter table, partitioned by stream; it is created or gains new columns."""
    return declare_table(lake, TABLE, SCHEMA, partition_by=("stream",), defaults=WHOLE_SOURCES)


def rows_of(
    records: Records, violations: Mapping[int, Violation], *, stream: Stream
) -> pa.RecordBatch:
    """Return the dead letters of one micro-batch, in the order of the records.

    Args:
        records: The micro-batch.
        violations: Why records are refused, by their place in it.
        stream: The contract.

    """
    order = sorted(violations)
    kept = values_of(records, order, stream=stream)
    found = [violations[at] for at in order]
    count = len(order)
    columns = {
        "stream": pa.repeat(stream.name, count),
        "contract_version": pa.array([stream.version] * count, pa.int32()),
        **coordinates_of(records, np.array(order, dtype=np.int64)),
        "error_code": [violation.code for violation in found],
        "field": pa.array([violation.field for violation in found], pa.string()),
        "reason": [violation.reason for violation in found],
        "recorded_at": pa.array([datetime.now(UTC)] * count, TIMESTAMP),
        "source_line": pa.array(_source_lines(records, order), pa.int64()),
        **kept,
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def committed_offsets(
    table: LakeTable, stream: Stream, *, partition: SourcePartition, since: int
) -> set[int]:
    """Return the offsets of a partition, from `since` on, whose records are dead letters already."""
    columns = COORDINATES.names[:3]
    found: set[int] = set()
    for batch in table.head().batches(columns=columns, partitions=[(stream.name,)]):
        values = (batch.column(name).to_pylist() for name in columns)
        for source, number, offset in zip(*values, strict=True):
            if (source, number) == partition and offset >= since:
                found.add(offset)
    return found


def _source_lines(records: Records, order: Sequence[int]) -> list[int] | list[None]:
    numbers = records.line_numbers
    return [None] * len(order) if numbers is None else numbers.of(order)
