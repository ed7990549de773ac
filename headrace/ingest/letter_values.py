"""What a dead letter keeps of its record: value, key and headers as they came, so that it can be replayed."""

import io
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream import Stream
from headrace.ingest.sources.base import RECORD_BYTES_MAX, Records, TimeType
from headrace.ingest.sources.parquet_paths import named_columns

SHOWN_BYTES_MAX = 1024 * 1024  # of a columnar record as JSON; `row_ipc` holds all of it
ROW_BYTES_MAX = 64 * 1024 * 1024  # a columnar record beyond it is not kept whole
HEADERS = pa.list_(
    pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())])
)
COLUMNS = pa.schema(
    [
        pa.field("key", pa.binary()),
        pa.field("headers", HEADERS),  # in their order; a name may be repeated
        pa.field("source_time_type", pa.string()),
        pa.field("csv_header", pa.list_(pa.string())),
        pa.field("row_ipc", pa.binary()),  # an Arrow IPC stream of one row, of columnar sources
        pa.field("is_whole", pa.bool_()),
        pa.field("is_tombstone", pa.bool_()),  # the value was null, and `raw` is empty
    ]
)


def values_of(records: Records, order: Sequence[int], *, stream: Stream) -> dict[str, pa.Array]:
    """Return `raw` and the columns of `COLUMNS` for the records at these places of a batch.

    Columns keep their names in the source: the contract of a replay may name others.
    """
    count = len(order)
    raw = _raw(records, order)
    rows: list[bytes | None] = [None] * count
    if records.rows is not None:
        found = records.rows.rename_columns(list(map(stream.source_of, records.rows.schema.names)))
        rows = [_as_ipc(found, at) for at in order]
    header = list(map(stream.source_of, records.header)) or None
    tombstones = frozenset(records.tombstones)
    keys, headers = records.keys, records.headers
    return {
        "raw": pa.array(raw, pa.binary()),
        "key": pa.array([None if keys is None else keys[at] for at in order], pa.binary()),
        "headers": pa.array(
            [None if headers is None else _listed(headers[at]) for at in order], HEADERS
        ),
        "source_time_type": pa.array([records.time_type.value] * count, pa.string()),
        "csv_header": pa.array([header] * count, pa.list_(pa.string())),
        "row_ipc": pa.array(rows, pa.binary()),
        "is_whole": pa.array(
            [
                not _is_cut(records, value) if row is None and records.rows is None else bool(row)
                for value, row in zip(raw, rows, strict=True)
            ],
            pa.bool_(),
        ),
        "is_tombstone": pa.array([at in tombstones for at in order], pa.bool_()),
    }


def named_now(names: Sequence[str], stream: Stream) -> list[str]:
    """Return the fields that kept columns are by the contract of now, or their own names.

    Older letters have the names of fields, which hold where the source has no column of the field.
    """
    found = list(map(stream.field_of, names))
    return [
        name if name in stream.fields and name not in found else field
        for name, field in zip(names, found, strict=True)
    ]


def rows_now(kept: pa.RecordBatch, stream: Stream) -> pa.RecordBatch:
    """Return columnar records with the columns that the contract of now reads from them."""
    names = kept.schema.names
    sources = [stream.source_of(name) for name in named_now(names, stream)]
    return named_columns(kept.rename_columns(sources), stream)


def row_of(ipc: bytes) -> pa.RecordBatch:
    """Read a columnar record back from `row_ipc`."""
    with pa.ipc.open_stream(io.BytesIO(ipc)) as reader:
        return reader.read_next_batch()


def _listed(headers: Sequence[tuple[str, bytes | None]]) -> list[dict[str, object]]:
    return [{"name": name, "value": value} for name, value in headers]


def _is_cut(records: Records, value: bytes) -> bool:
    """Whether the reader of a file cut a line that is too long, as it does one byte beyond the limit."""
    return records.time_type is TimeType.MODIFIED and len(value) > RECORD_BYTES_MAX


def _as_ipc(rows: pa.RecordBatch, at: int) -> bytes | None:
    row = rows.take(pa.array([at], pa.int64()))  # a slice would write its whole batch
    if row.nbytes > ROW_BYTES_MAX:
        return None
    columns = [_plain(column) for column in row.columns]
    plain = pa.RecordBatch.from_arrays(columns, names=row.schema.names)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, plain.schema) as writer:
        writer.write_batch(plain)
    return sink.getvalue()


def _plain(column: pa.Array) -> pa.Array:
    is_dictionary = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def _raw(records: Records, order: Sequence[int]) -> list[bytes]:
    """Return the bytes of records; columnar records have none and are shown as JSON."""
    if records.rows is None:
        return [records.lines[at] for at in order]
    rows = records.rows.take(pa.array(np.array(order, dtype=np.int64)))
    columns = [_printable(column) for column in rows.columns]
    shown = pa.RecordBatch.from_arrays(columns, names=rows.schema.names).to_pylist()
    return [json.dumps(row, default=_as_text).encode()[:SHOWN_BYTES_MAX] for row in shown]


def _printable(column: pa.Array) -> pa.Array:
    """Convert text to bytes: text that is not UTF-8 cannot be converted to Python."""
    column = _plain(column)
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.string())  # Python's times end at microseconds
    if column.type in (pa.string(), pa.large_string(), pa.string_view()):
        return pc.binary_slice(column.cast(pa.large_binary()), 0, SHOWN_BYTES_MAX)
    return column


def _as_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
