"""Parquet footers with a checksum: pages have one, but what says how to read them had none.

One flipped bit of a field id makes a column read as null. A second checksum is of all that stands
before: engines check no page, and one pass over the bytes finds what they would not. The format:
`docs/formats/checksums.md`.
"""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import CorruptFileError

if TYPE_CHECKING:
    from pyiceberg.io import OutputStream

# Stands right before the footer, where no reader looks: an entry inside of it would be copied
# along, and be wrong, when another program reads and writes the file.
MARK = b"headrace"
BODY_MARK = b"hr.pages"
_CHECKSUM_BYTES = 4
_MAGIC = b"PAR1"
_END_BYTES = 8  # the footer's length and the magic
_SEAL_BYTES = len(MARK) + _CHECKSUM_BYTES  # that of the pages, which stands before it, is as long
_LOOK_BYTES = 64 * 1024  # one read finds nearly every footer


@dataclass(frozen=True)
class Body:
    """What stands before the checksums of a file: its length, and the CRC-32 it must have."""

    bytes: int
    checksum: int


class SealingSink:
    """Where a Parquet writer writes to: passes bytes on, and adds the checksums at the end."""

    closed = False  # pyarrow asks

    def __init__(self, stream: "OutputStream") -> None:
        self._stream, self._body = stream, 0
        self._tail: bytearray | None = None

    def write(self, content: bytes) -> int:
        """Take the next bytes of the file."""
        if self._tail is not None:
            self._tail += content
        else:
            self._body = zlib.crc32(content, self._body)
            self._stream.write(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing: the stream is flushed when it is closed."""

    def finish(self, writer: pq.ParquetWriter) -> None:
        """Close the writer and put the checksums before its footer; the stream stays open."""
        self._tail = bytearray()
        writer.close()
        tail = bytes(self._tail)
        length = int.from_bytes(tail[-_END_BYTES:-4], "little")
        pages, footer = tail[: -length - _END_BYTES], tail[-length - _END_BYTES :]
        body = zlib.crc32(pages, self._body).to_bytes(_CHECKSUM_BYTES, "little")
        self._stream.write(pages + BODY_MARK + body + MARK + _checksum(footer) + footer)


def read_footer(source: pa.NativeFile, *, path: str) -> pq.FileMetaData:
    """Read and check the footer of an open Parquet file; files of other programs pass unchecked.

    Raises:
        CorruptFileError: If the footer is not what was written.
        OSError, pyarrow.ArrowException: If it cannot be read.

    """
    size = source.size()
    end = source.read_at(min(size, _LOOK_BYTES), max(0, size - _LOOK_BYTES))
    length = int.from_bytes(end[-_END_BYTES:-4], "little")
    whole = length + _END_BYTES
    if end[-4:] != _MAGIC or whole > size:
        raise CorruptFileError(path, "it does not end as a Parquet file does")
    needed = min(size, whole + _SEAL_BYTES)
    if needed > len(end):
        end = source.read_at(needed, size - needed)
    seal, footer = end[-needed:-whole], end[-whole:]
    if seal.startswith(MARK) and not seal.endswith(_checksum(footer)):
        raise CorruptFileError(path, "its footer does not match the checksum before it")
    return pq.read_metadata(pa.BufferReader(_MAGIC + footer))


def body_of(source: pa.NativeFile, footer: pq.FileMetaData) -> Body | None:
    """Return what an open file says about all before its footer; None if it says nothing.

    Raises:
        OSError, pyarrow.ArrowException: If it cannot be read.

    """
    start = source.size() - _END_BYTES - footer.serialized_size - 2 * _SEAL_BYTES
    if start < 0:
        return None
    said = source.read_at(2 * _SEAL_BYTES, start)
    if not said.startswith(BODY_MARK) or said[_SEAL_BYTES:][: len(MARK)] != MARK:
        return None
    return Body(start, int.from_bytes(said[len(BODY_MARK) : _SEAL_BYTES], "little"))


def _checksum(footer: bytes) -> bytes:
    return zlib.crc32(footer).to_bytes(_CHECKSUM_BYTES, "little")
