"""Reads texts of another encoding as UTF-8, so that a newline is one byte and marks the end of a line."""

import codecs
import io
from typing import BinaryIO

from headrace.errors import SourceFileError
from headrace.ingest.sources.forward_only import ForwardOnly

_READ_BYTES = 256 * 1024
_WIDE = ("utf-16", "utf-32")  # of which every ASCII character has a zero byte


def transcoded(handle: BinaryIO, encoding: str, *, source: str) -> io.RawIOBase:
    """Return the text of a binary file as UTF-8, without a byte order mark.

    Half of a surrogate pair becomes bytes that are no UTF-8, so that its record is refused and no other.

    Raises:
        SourceFileError: From its reads: if the bytes are not of the encoding, or end within a character.

    """
    return _Transcoded(handle, encoding, source)


class _Transcoded(ForwardOnly):
    """The text of a file; going back begins again."""

    def __init__(self, handle: BinaryIO, encoding: str, source: str) -> None:
        super().__init__()
        self._handle, self._encoding, self._source = handle, encoding, source
        self._begin()

    def _begin(self) -> None:
        self._handle.seek(0)
        wide = self._encoding.startswith(_WIDE)
        self._decoder = codecs.getincrementaldecoder(self._encoding)(
            "surrogatepass" if wide else "strict"
        )
        self._text, self._at, self._read_bytes, self._is_read = b"", 0, 0, False

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self._text and not self._is_read:
            self._fill()
        block, self._text = self._text[: len(buffer)], self._text[len(buffer) :]
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)

    def _fill(self) -> None:
        block = self._handle.read(_READ_BYTES)
        self._is_read = not block
        try:
            text = self._decoder.decode(block, final=self._is_read)
        except UnicodeError as error:
            place = self._read_bytes + getattr(error, "start", 0)
            detail = f"it is not {self._encoding} text near byte {place} ({_reason(error)})"
            raise SourceFileError(self._source, detail) from error
        self._read_bytes += len(block)
        self._text = text.removeprefix("\ufeff" if not self._at else "").encode(
            "utf-8", "surrogatepass"
        )


def _reason(error: UnicodeError) -> str:
    return getattr(error, "reason", None) or str(error)[:80]


def refuse_narrow(head: bytes, encoding: str, *, source: str) -> None:
    """Refuse a file whose beginning has no zero byte, where every ASCII character has one.

    Decoded it would be letters of other scripts, and no header.

    Raises:
        SourceFileError: If so.

    """
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head[len(codecs.BOM_UTF16_LE) :] if marked else head
    if encoding.startswith(_WIDE) and text and b"\x00" not in text:
        detail = f"it is not {encoding} text, which the contract says: it has no zero byte"
        raise SourceFileError(source, f"{detail}; declare `csv: {{encoding: …}}` as the files are")
