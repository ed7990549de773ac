"""Rows of a Parquet file in batches of bounded bytes, sized by its page headers before decoding.

A file of a few KB may decode to any amount of memory: pages compress, and a dictionary or a shared
prefix stores a long value once for many rows.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.errors import SourceFileError
from headrace.ingest.sources.parquet_pages import (
    Chunk,
    Page,
    ParquetHeaderError,
    RowGroup,
    pages_of,
    row_groups_of,
)
from headrace.ingest.values import shown

ROWS_MAX = 65_536
BATCH_BYTES_MAX = 64 * 1024 * 1024
# pyarrow puts 1,024 values of any length into a page, DuckDB 100 MB
PAGE_BYTES_MAX = 256 * 1024 * 1024
_WIDTH_BYTES = 8  # of a value in memory, or of where a text begins


class ParquetBatches:
    """The rows of one file, in pages and batches that stay below their limits."""

    def __init__(self, handle: BinaryIO, *, source: str) -> None:
        """Read an open file, which stays open.

        Raises:
            OSError, pa.ArrowException: If it is not a Parquet file.

        """
        self._handle, self._source = handle, source
        self._file = pq.ParquetFile(handle, page_checksum_verification=True)
        self._columns = self._file.schema

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def schema(self) -> pa.Schema:
        """The columns, as Arrow reads them."""
        return self._file.schema_arrow

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return self._file.metadata.num_rows

    def read(self, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read from row `start` on, each batch with the number of its first row.

        Row groups before `start` are not touched.

        Raises:
            SourceFileError: If a page is larger than `PAGE_BYTES_MAX`, before any page is decoded.
            OSError, pa.ArrowException: If the file is damaged.

        """
        offset, skipped = 0, 0
        groups = self._row_groups()
        while skipped < len(groups) and offset + groups[skipped].rows <= start:
            offset += groups[skipped].rows
            skipped += 1
        sizes = [(at, self._rows_at_once(at, groups[at])) for at in range(skipped, len(groups))]
        for size, alike in groupby(sizes, key=lambda each: each[1]):
            wanted = [at for at, _ in alike]
            for batch in self._file.iter_batches(batch_size=size, row_groups=wanted):
                begin = max(start - offset, 0)
                if begin < batch.num_rows:
                    yield offset + begin, batch.slice(begin)
                offset += batch.num_rows

    def _row_groups(self) -> tuple[RowGroup, ...]:
        try:
            groups = row_groups_of(self._handle)
        except ParquetHeaderError as error:
            raise self._unreadable(error) from error
        columns = len(self._columns)
        if any(len(group.chunks) != columns for group in groups):
            raise self._unreadable(ParquetHeaderError("a row group lacks columns"))
        return groups

    def _unreadable(self, error: ParquetHeaderError) -> SourceFileError:
        return SourceFileError(self._source, f"it is not a readable Parquet file ({error})")

    def _rows_at_once(self, at: int, group: RowGroup) -> int:
        """Return how many rows of a row group fit into one batch in the worst case."""
        limits = [self._judge(group, column) for column in range(len(group.chunks))]
        plain = sum(limit.row_bytes for limit in limits)
        dictionaries = {
            each.path: each.dictionary_bytes for each in limits if each.dictionary_bytes
        }
        # one value may be as long as its dictionary, until the dictionary is read
        if (plain + sum(dictionaries.values())) * ROWS_MAX > BATCH_BYTES_MAX and dictionaries:
            dictionaries = self._longest(at, dictionaries)
        worst = plain + sum(dictionaries.values())
        return max(1, min(ROWS_MAX, int(BATCH_BYTES_MAX // max(1.0, worst))))

    def _judge(self, group: RowGroup, at: int) -> "_Limit":
        """Read the page headers of one column chunk.

        Raises:
            SourceFileError: If they cannot be read, or a page is too large.

        """
        chunk, column = group.chunks[at], self._columns.column(at)
        limit = _Limit(chunk, width_bytes=max(_WIDTH_BYTES, column.length or 0))
        try:
            for page in pages_of(self._handle, chunk):
                if page.uncompressed_bytes > PAGE_BYTES_MAX:
                    detail = (
                        f"a page of its column {shown(chunk.path)} has {page.uncompressed_bytes} "
                        f"bytes; at most {PAGE_BYTES_MAX} are read at once, write smaller pages"
                    )
                    raise SourceFileError(self._source, detail)
                limit.add(page)
        except ParquetHeaderError as error:
            raise self._unreadable(error) from error
        if column.max_repetition_level:
            limit.spread(group.rows)
        return limit

    def _longest(self, group: int, by_dictionary: dict[str, int]) -> dict[str, int]:
        """Read the dictionaries of one row group, and return the bytes of their longest values."""
        paths = list(by_dictionary)
        with pq.ParquetFile(
            self._handle, metadata=self._file.metadata, read_dictionary=paths, pre_buffer=False
        ) as file:
            batches = file.iter_batches(batch_size=1, row_groups=[group], columns=paths)
            batch = next(batches, None)
        if batch is None:
            return by_dictionary
        longest = dict(by_dictionary)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            found = _dictionary_of(column)
            if name in longest and found is not None:
                longest[name] = pc.max(pc.binary_length(found)).as_py() or 0
        return longest


class _Limit:
    """The most memory that a column chunk can take: bytes for each row, without and by dictionary."""

    def __init__(self, chunk: Chunk, *, width_bytes: int) -> None:
        self.path, self._is_text, self._width_bytes = chunk.path, chunk.is_text, width_bytes
        self.row_bytes = 0.0
        self.dictionary_bytes = 0
        self._largest_bytes = self._all_bytes = 0

    def add(self, page: Page) -> None:
        if page.is_dictionary:
            if self._is_text:
                self.dictionary_bytes = max(self.dictionary_bytes, page.uncompressed_bytes)
            return
        size = max(page.uncompressed_bytes, page.values * self._width_bytes)
        self._largest_bytes = max(self._largest_bytes, size)
        self._all_bytes += size
        # with shared prefixes one value may be as long as its page
        each = size if page.is_prefixed else size / max(1, page.values)
        self.row_bytes = max(self.row_bytes, each)

    def spread(self, rows: int) -> None:
        """Allow for a row of lists that is as long as a page."""
        few = self._all_bytes <= BATCH_BYTES_MAX
        self.row_bytes = self._all_bytes / max(1, rows) if few else self._largest_bytes


def _dictionary_of(column: pa.Array) -> pa.Array | None:
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.values
    return column.dictionary if pa.types.is_dictionary(column.type) else None
