"""Check a Parquet file against its checksums without decoding values; engines check none.

A flipped bit in a page is another value to DuckDB. Files of this writer have one checksum of all
bytes before the footer; in others each page may have one of its own. The format: `PageHeader`
of parquet.thrift in Thrift's compact protocol, then the page, of which the header has the CRC-32.
"""

import zlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO

from headrace.storage.failures import unreadable
from headrace.storage.footer import Body, body_of, read_footer
from headrace.storage.inputs import is_local, open_input

_READ_BYTES = 1024 * 1024
_REMOTE_READ_BYTES = 8 * 1024 * 1024  # every read of a store is a request
_HEADER_BYTES_MAX = 64 * 1024  # statistics of a page hold two values of at most 4 KiB each
_DEPTH_MAX = 3  # a header, the header of its kind, the statistics in that
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
# of `PageHeader`: its own fields, and the struct that each kind of page has
_TYPE, _PLAIN_BYTES, _BYTES, _CRC = 1, 2, 3, 4
_STRUCT_OF = {_DATA: 5, _INDEX: 6, _DICTIONARY: 7, _DATA_V2: 8}
_NUM_VALUES = 1
_STOP, _TRUE, _FALSE = range(3)
_BOOLEANS, _INTEGERS, _BINARY, _STRUCT = (_TRUE, _FALSE), (4, 5, 6), 8, 12
_VARINT_BITS_MAX = 70
_CRC_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class _Header:
    kind: int
    plain_bytes: int
    bytes: int
    crc: int | None
    values: int


def check_pages(path: str, *, io: FileIO) -> bool:
    """Read a file once, in bounded memory, and compare all of it with its checksums.

    Returns whether every page has one: a file of another program may have none, and nothing is
    known of it then.

    Raises:
        CorruptFileError: If the file is missing, or a footer, a header or a page is damaged.
        StoreUnavailableError: If its store does not answer.

    """
    try:
        with open_input(io, path) as source:
            footer = read_footer(source, path=path)
            body = body_of(source, footer)
            if body is not None:
                return _check_body(source, body)
            return _check_columns(source, footer)
    # pyarrow raises the second for a text of a damaged footer
    except (OSError, UnicodeDecodeError, pa.ArrowException, _BadPageError) as error:
        raise unreadable(path, error) from error


class _BadPageError(Exception):
    """What is wrong with a page; `check_pages` adds the file."""


def _check_body(source: pa.NativeFile, body: Body) -> bool:
    found = _Bytes(source, 0, body.bytes).checksum(body.bytes)
    if found != body.checksum:
        msg = f"the checksum of its pages is {found:08x}, it says {body.checksum:08x}"
        raise _BadPageError(msg)
    return True


def _check_columns(source: pa.NativeFile, footer: pq.FileMetaData) -> bool:
    # what others count as the uncompressed size of a column is not always the same
    counts_bytes = (footer.created_by or "").startswith("parquet-cpp-arrow")
    is_whole = True
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        for position in range(row_group.num_columns):
            column = row_group.column(position)
            try:
                is_whole &= _check_column(source, column, counts_bytes=counts_bytes)
            except _BadPageError as error:
                msg = f"column `{column.path_in_schema}` of row group {group}: {error}"
                raise _BadPageError(msg) from error
    return is_whole


def _check_column(
    source: pa.NativeFile, column: pq.ColumnChunkMetaData, *, counts_bytes: bool
) -> bool:
    found = (column.dictionary_page_offset, column.data_page_offset)
    # pyarrow says 0 for the one that a column without rows does not have
    start = min((offset for offset in found if offset), default=0)
    pages = _Bytes(source, start, start + column.total_compressed_size)
    values = plain_bytes = 0
    is_whole = True
    while pages.position < pages.end:
        header, size = _header(pages.peek(_HEADER_BYTES_MAX))
        pages.position += size
        crc = pages.checksum(header.bytes)
        if header.crc not in (None, crc):
            msg = f"a page has the checksum {crc:08x}, its header says {header.crc:08x}"
            raise _BadPageError(msg)
        is_whole &= header.crc is not None
        plain_bytes += size + header.plain_bytes
        values += header.values if header.kind in (_DATA, _DATA_V2) else 0
    # no checksum covers a header, and one bit in it makes readers skip a page or read more of it
    _compare(values, column.num_values, what="values")
    if counts_bytes:
        _compare(plain_bytes, column.total_uncompressed_size, what="bytes uncompressed")
    return is_whole


def _compare(found: int, said: int, *, what: str) -> None:
    if found != said:
        msg = f"its pages hold {found} {what}, the footer says {said}"
        raise _BadPageError(msg)


class _Bytes:
    """A part of a file, read piece by piece from `position` on."""

    def __init__(self, source: pa.NativeFile, start: int, end: int) -> None:
        self._source, self._held, self._held_from = source, memoryview(b""), start
        self.position, self.end = start, end
        self._read_bytes = _READ_BYTES if is_local(source) else _REMOTE_READ_BYTES

    def peek(self, size: int) -> memoryview:
        """Return up to `size` next bytes, fewer only at the end."""
        size = min(size, self.end - self.position)
        at = self.position - self._held_from
        if at + size > len(self._held):
            wanted = min(max(size, self._read_bytes), self.end - self.position)
            self._held = memoryview(self._source.read_at(wanted, self.position))
            self._held_from, at = self.position, 0
            if len(self._held) < size:
                msg = "the file ends before its last page"
                raise _BadPageError(msg)
        return self._held[at : at + size]

    def checksum(self, size: int) -> int:
        """Return the CRC-32 of the next `size` bytes, and go on behind them."""
        if size > self.end - self.position:
            msg = "a page reaches beyond its column"
            raise _BadPageError(msg)
        crc = 0
        while size:
            piece = self.peek(min(size, _READ_BYTES))
            crc = zlib.crc32(piece, crc)
            self.position += len(piece)
            size -= len(piece)
        return crc


def _header(content: memoryview) -> tuple[_Header, int]:
    """Decode a page's header; return it and its length."""
    try:
        fields, size = _read_struct(content, 0, depth=1)
        kind, crc = _number(fields[_TYPE]), fields.get(_CRC)
        own = fields[_STRUCT_OF[kind]]
        return _Header(
            kind=kind,
            plain_bytes=_number(fields[_PLAIN_BYTES]),
            bytes=_number(fields[_BYTES]),
            crc=None if crc is None else _number(crc, negative=True) & _CRC_MASK,
            values=_number(own.get(_NUM_VALUES)) if isinstance(own, dict) and kind != _INDEX else 0,
        ), size
    except (LookupError, ValueError) as error:
        msg = "the header of a page cannot be decoded"
        raise _BadPageError(msg) from error


def _number(value: "_Value | None", *, negative: bool = False) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or (value < 0 and not negative):
        msg = f"{value!r} is not a number here"
        raise ValueError(msg)
    return value


def _read_struct(content: memoryview, at: int, *, depth: int) -> "tuple[dict[int, _Value], int]":
    """Decode a struct from `at` on; return its fields by number, and where it ends."""
    if depth > _DEPTH_MAX:
        msg = "it is nested too deeply"
        raise ValueError(msg)
    fields: dict[int, _Value] = {}
    number = 0
    while (head := content[at]) != _STOP:
        at += 1
        kind, step = head & 0x0F, head >> 4
        if step:
            number += step
        else:
            number, at = _zigzag(content, at)
        if kind == _STRUCT:
            fields[number], at = _read_struct(content, at, depth=depth + 1)
        elif kind in _INTEGERS:
            fields[number], at = _zigzag(content, at)
        elif kind == _BINARY:
            size, at = _varint(content, at)
            fields[number], at = size, at + size  # statistics, which are not read
        elif kind in _BOOLEANS:
            fields[number] = kind == _TRUE
        else:
            msg = f"it has a field of type {kind}"
            raise ValueError(msg)
    return fields, at + 1


def _zigzag(content: memoryview, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < _VARINT_BITS_MAX:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    msg = "a number has too many bytes"
    raise ValueError(msg)


_Value = int | dict[int, "_Value"]
