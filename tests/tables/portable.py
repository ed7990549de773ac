"""What all of DuckDB, PyIceberg, Trino, parquet-java (Spark, Flink) and Polars read of Parquet."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

# Trino 476 reads neither BROTLI nor LZ4_RAW, which pyarrow calls LZ4
CODECS = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"})
# the delta encodings belong to data pages of version 2, which older vectorized readers refuse
ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"})
PHYSICAL_TYPES = frozenset(
    {"BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}
)
# how the header of a data page of version 1 begins: field 1, an i32, is 0
_DATA_PAGE_V1 = b"\x15\x00"


def not_portable(path: Path) -> list[str]:
    """Say what of a Parquet file some engine does not read; nothing if all read all of it."""
    return sorted(set(_found(path)))


def _found(path: Path) -> Iterator[str]:
    content, footer = path.read_bytes(), pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        for at in range(footer.num_columns):
            chunk = footer.row_group(group).column(at)
            if chunk.compression not in CODECS:
                yield f"codec {chunk.compression}"
            if chunk.physical_type not in PHYSICAL_TYPES:
                yield f"type {chunk.physical_type}"
            yield from (f"encoding {each}" for each in set(chunk.encodings) - ENCODINGS)
            if content[chunk.data_page_offset :][:2] != _DATA_PAGE_V1:
                yield "data pages of version 2"
