"""How many bytes rows take in a store, from a sample of them."""

import sqlite3
from collections.abc import Sequence

from headrace.serving.redis_rows import packed
from headrace.serving.sqlite_rows import SCHEMA, upsert_of
from headrace.serving.store import EncodedRow

_ENTRY_BYTES = 24  # three pointers of a hash's entry
_GRAIN_BYTES = 16  # allocators round up to it, or hold so much more for themselves
_HEADERS = ((32, 1), (256, 3), (65_536, 5))  # of a text by its length


def bytes_on_sqlite(sample: Sequence[EncodedRow], *, rows: int) -> int:
    """Return about how long the file gets by so many rows, written in the order of `sample`.

    While they are written, the log beside the file has them too.
    """
    if not sample:
        return 0
    scratch = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for statement in SCHEMA.split(";"):
            scratch.execute(statement)
        empty = _length(scratch)
        scratch.executemany(upsert_of(1), sample)
        return (_length(scratch) - empty) * rows // len(sample)
    finally:
        scratch.close()


def bytes_on_redis(sample: Sequence[EncodedRow], *, rows: int) -> int:
    """Return about how much memory a hash of so many rows uses, as Redis 6 and 7 lay it out."""
    if not sample:
        return 0
    texts = sum(_text_bytes(row[0]) + _text_bytes(packed(row)) for row in sample)
    slots = 1 << max(rows - 1, 0).bit_length()  # doubled whenever there are as many entries
    return (texts // len(sample) + _rounded(_ENTRY_BYTES)) * rows + 8 * slots


def _text_bytes(text: str) -> int:
    length = len(text.encode())
    header = next((size for limit, size in _HEADERS if length < limit), 9)
    return _rounded(header + length + 1)


def _rounded(count: int) -> int:
    # malloc keeps 8 bytes of its own; jemalloc's classes are 16 apart where rows are
    return -(-(count + 8) // _GRAIN_BYTES) * _GRAIN_BYTES


def _length(database: sqlite3.Connection) -> int:
    (pages,) = database.execute("pragma page_count").fetchone()
    (page_bytes,) = database.execute("pragma page_size").fetchone()
    return int(pages) * int(page_bytes)
