"""Reads Parquet files whole, as bounded batches of columns."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest.sources.base import Position, Records, consecutive
from headrace.ingest.sources.file_formats import check_parquet, first_line, reason_of
from headrace.ingest.sources.file_splits import Split
from headrace.ingest.sources.file_state import refuse_written, seen_of
from headrace.ingest.sources.fingerprint import Fingerprint
from headrace.ingest.sources.parquet_batches import ParquetBatches
from headrace.ingest.sources.parquet_paths import named_columns


def read_parquet(
    path: Path, split: Split, stream: Stream, *, rows_per_commit: int
) -> Generator[Records]:
    """Read the rows of one file from the split's start on.

    A file of more rows than `rows_per_commit` is read through once before the first row is returned,
    so that a damaged one is refused whole.

    Raises:
        SourceFileError: If the file cannot be read, or its columns are not those of the contract.
        SourceChangedError: If what was taken from it is no longer there.

    """
    try:
        with path.open("rb") as handle:
            yield from _rows(handle, split, stream, rows_per_commit=rows_per_commit)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are not text
        if isinstance(error, OSError) and error.errno is not None:
            raise SourceFileError(split.source, reason_of(error)) from error
        # pyarrow reports damage as either, without an errno
        detail = f"it is not a readable Parquet file ({first_line(error)})"
        raise SourceFileError(split.source, detail) from error


def _rows(
    handle: BinaryIO, split: Split, stream: Stream, *, rows_per_commit: int
) -> Generator[Records]:
    status = os.fstat(handle.fileno())
    size, seen = status.st_size, seen_of(status)
    fingerprint = str(Fingerprint.of(handle, size))
    if split.start.fingerprint not in ("", fingerprint):
        detail = "its content is no longer what was taken from it"
        raise SourceChangedError(split.source, detail)
    with ParquetBatches(handle, source=split.source) as file:
        rows, start = file.rows, split.start.offset
        if rows < start:
            detail = f"it has {rows} records, but {start} were taken from it"
            raise SourceChangedError(split.source, detail)
        check_parquet(file.schema, stream, split.source)
        if rows - start > rows_per_commit:
            for _ in file.read():
                pass
        for offset, batch in file.read(start):
            end = offset + batch.num_rows
            refuse_written(handle, status, split.source)
            yield Records(
                partition=split.partition,
                offsets=consecutive(offset, batch.num_rows),
                end=Position(end, size if end == rows else 0, fingerprint, seen),
                times=split.source_time,
                rows=named_columns(batch, stream),
            )
        if rows == start:
            yield Records(
                partition=split.partition,
                offsets=consecutive(rows, 0),
                end=Position(rows, size, fingerprint, seen),
                times=split.source_time,
            )
