"""Decodes records of any format to columns."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.ingest.decoding.csv_lines import CsvDecoder
from headrace.ingest.decoding.decoded import INVALID_UTF8, TOO_LONG, Decoded, Violation
from headrace.ingest.decoding.frames import unwrap
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.decoding.row_bytes import rows_beyond
from headrace.ingest.sources.base import RECORD_BYTES_MAX, Records

Decoder = Callable[[Records, Stream], Decoded]


def decode(records: Records, stream: Stream) -> Decoded:
    """Decode one micro-batch by the stream's format; never raises for what a record holds."""
    return DECODERS[stream.format](records, stream)


def _decode_csv(records: Records, stream: Stream) -> Decoded:
    return CsvDecoder(stream, records.header).decode(records.lines)


def _decode_json(records: Records, stream: Stream) -> Decoded:
    framed = records.schemas is not None and records.schemas.framed
    if not (framed or records.tombstones):
        return JsonDecoder(stream).decode(records.lines)
    found = unwrap(records, framed=framed)
    places = np.sort(np.concatenate([*found.by_schema.values(), np.empty(0, np.int64)]))
    done = JsonDecoder(stream).decode([found.values[at] for at in places.tolist()])
    refused = {int(places[at]): each for at, each in done.violations.items()}
    return replace(done, index=places[done.index], violations=found.refused | refused)


def _decode_avro(records: Records, stream: Stream) -> Decoded:
    from headrace.ingest.decoding.avro_values import decode_avro  # its library is an extra

    return decode_avro(records, stream)


def _decode_protobuf(records: Records, stream: Stream) -> Decoded:
    from headrace.ingest.decoding.protobuf_values import decode_protobuf  # so is its

    return decode_protobuf(records, stream)


def _decode_columns(records: Records, stream: Stream) -> Decoded:
    if records.rows is None:  # the end of a file
        return Decoded(index=np.empty(0, np.int64), columns={}, violations={})
    return _decode_rows(records.rows, stream)


DECODERS: Mapping[str, Decoder] = MappingProxyType(
    {
        "csv": _decode_csv,
        "json": _decode_json,
        "parquet": _decode_columns,
        "avro": _decode_avro,
        "protobuf": _decode_protobuf,
    }
)


def _decode_rows(batch: pa.RecordBatch, stream: Stream) -> Decoded:
    too_long = rows_beyond(batch, RECORD_BYTES_MAX)
    if too_long:
        return _decode_rest(too_long, batch, stream)
    violations: dict[int, Violation] = {}
    columns: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name not in stream.fields and stream.unknown_fields == "ignore":
            continue
        columns[name] = _utf8_only(name, column, violations) if name in stream.fields else column
    index = np.arange(batch.num_rows, dtype=np.int64)
    if violations:
        index = np.delete(index, list(violations))
        columns = {name: column.take(pa.array(index)) for name, column in columns.items()}
    return Decoded(index=index, columns=columns, violations=violations)


def _decode_rest(too_long: list[int], batch: pa.RecordBatch, stream: Stream) -> Decoded:
    """Decode the rows that are not too long; the others are not copied."""
    kept = np.delete(np.arange(batch.num_rows), too_long)
    rest = _decode_rows(batch.take(pa.array(kept)), stream)
    reason = f"longer than {RECORD_BYTES_MAX} bytes; `raw` is its beginning"
    refused = {row: Violation(TOO_LONG, reason) for row in too_long}
    refused |= {int(kept[row]): violation for row, violation in rest.violations.items()}
    return Decoded(index=kept[rest.index], columns=rest.columns, violations=refused)


def _utf8_only(name: str, column: pa.Array, violations: dict[int, Violation]) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type not in (pa.string(), pa.large_string(), pa.string_view()):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.large_binary()).to_pylist()
        for at, value in enumerate(values):
            try:
                values[at] = None if value is None else value.decode()
            except UnicodeDecodeError:
                values[at] = None
                violations.setdefault(at, Violation(INVALID_UTF8, f"`{name}` is not UTF-8", name))
        return pa.array(values, pa.string())
    return column
