"""Footer and page headers of a Parquet file, read without decoding a page.

They tell how much memory decoding takes. pyarrow 26 crashes on some damaged footers when it is asked
for the metadata of a column chunk, so they are parsed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from headrace.ingest.sources.thrift import CompactReader, Fields, ThriftError, Value

_DICTIONARY_PAGE = 2
_DELTA_BYTE_ARRAY = 7
_BYTE_ARRAY = 6
_TRAILER_BYTES = 8  # the footer's length, and `PAR1`
# a header holds the page's least and greatest value, so it may be long
_HEADER_BYTES = (512, 16 * 1024, 1024 * 1024, 32 * 1024 * 1024)


class ParquetHeaderError(ValueError):
    """A footer or a page header does not follow the format."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Where the pages of one column lie in one row group."""

    path: str
    is_text: bool
    first_byte: int
    end_byte: int


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """One row group: its chunks are in the order of the columns."""

    rows: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The facts in a page header."""

    is_dictionary: bool
    is_prefixed: bool
    uncompressed_bytes: int
    values: int


def row_groups_of(handle: BinaryIO) -> tuple[RowGroup, ...]:
    """Read the footer.

    Raises:
        ParquetHeaderError: If it cannot be read.

    """
    handle.seek(-_TRAILER_BYTES, 2)
    length = int.from_bytes(handle.read(4), "little")
    handle.seek(-_TRAILER_BYTES - length, 2)
    content = handle.read(length)
    try:
        groups = _structs(CompactReader(content).struct().get(4))
        return tuple(
            RowGroup(
                rows=_number(group.get(3)),
                chunks=tuple(_chunk(_struct(each.get(3))) for each in _structs(group.get(1))),
            )
            for group in groups
        )
    except (IndexError, ThriftError) as error:
        msg = f"its footer cannot be read: {error}"
        raise ParquetHeaderError(msg) from error


def pages_of(handle: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """Read the headers of a column chunk's pages, in order.

    Raises:
        ParquetHeaderError: If there is none where one should be.

    """
    at = chunk.first_byte
    while at < chunk.end_byte:
        fields, length = _header(handle, at)
        kind, size, stored = (_number(fields.get(key)) for key in (1, 2, 3))
        # the header of a data page, of a dictionary page, of a data page of version 2
        told = next((inner for key in (5, 7, 8) if isinstance(inner := fields.get(key), dict)), {})
        yield Page(
            is_dictionary=kind == _DICTIONARY_PAGE,
            is_prefixed=told.get(4 if 8 in fields else 2) == _DELTA_BYTE_ARRAY,
            uncompressed_bytes=size,
            values=_number(told.get(1)),
        )
        at += length + stored


def _chunk(fields: Fields) -> Chunk:
    first, dictionary = _number(fields.get(9)), fields.get(11)
    if isinstance(dictionary, int) and 0 < dictionary < first:
        first = dictionary
    names = fields.get(3)
    parts = names if isinstance(names, list) else []
    return Chunk(
        path=b".".join(part for part in parts if isinstance(part, bytes)).decode(errors="replace"),
        is_text=fields.get(1) == _BYTE_ARRAY,
        first_byte=first,
        end_byte=first + _number(fields.get(7)),
    )


def _header(handle: BinaryIO, at: int) -> tuple[Fields, int]:
    for size in _HEADER_BYTES:
        handle.seek(at)
        reader = CompactReader(handle.read(size))
        try:
            return reader.struct(), reader.at
        except IndexError:  # longer than what was read
            continue
        except ThriftError as error:
            msg = f"a page's header cannot be read: {error}"
            raise ParquetHeaderError(msg) from error
    msg = "a page's header has no end"
    raise ParquetHeaderError(msg)


def _number(value: Value) -> int:
    if not isinstance(value, int) or value < 0:
        msg = "a header lacks a size"
        raise ParquetHeaderError(msg)
    return value


def _struct(value: Value) -> Fields:
    if not isinstance(value, dict):
        msg = "the footer does not describe a column"
        raise ParquetHeaderError(msg)
    return value


def _structs(value: Value) -> list[Fields]:
    return [_struct(each) for each in value] if isinstance(value, list) else []
