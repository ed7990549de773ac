"""Parquet footers with a checksum: pages have one, but what says how to read them had none.

One flipped bit of a field id makes a column read as null. The format: `docs/formats/checksums.md`.
"""

import zlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import CorruptFileError

if TYPE_CHECKING:
    from pyiceberg.io import OutputStream

# Stands right before the footer, where no reader looks: an entry inside of it would be copied
# along, and be wrong, when another program reads and writes the file.
MARK = b"headrace"
_CHECKSUM_BYTES = 4
_MAGIC = b"PAR1"
_END_BYTES = 8  # the footer's length and the magic
_SEAL_BYTES = len(MARK) + _CHECKSUM_BYTES
_LOOK_BYTES = 64 * 1024  # one read finds nearly every footer


class SealingSink:
    """Where a Parquet writer writes to: passes bytes on, and adds the checksum at the end."""

    closed = False  # pyarrow asks

    def __init__(self, stream: "OutputStream") -> None:
        self._stream = stream
        self._tail: bytearray | None = None

    def write(self, content: bytes) -> int:
        """Take the next bytes of the file."""
        if self._tail is not None:
            self._tail += content
        else:
            self._stream.write(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing: the stream is flushed when it is closed."""

    def finish(self, writer: pq.ParquetWriter) -> None:
        """Close the writer and put the checksum before its footer; the stream stays open."""
        self._tail = bytearray()
        writer.close()
        tail = bytes(self._tail)
        length = int.from_bytes(tail[-_END_BYTES:-4], "little")
        pages, footer = tail[: -length - _END_BYTES], tail[-length - _END_BYTES :]
        self._stream.write(pages + MARK + _checksum(footer) + footer)


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


def _checksum(footer: bytes) -> bytes:
    return zlib.crc32(footer).to_bytes(_CHECKSUM_BYTES, "little")
