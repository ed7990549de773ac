"""JSON files of whole documents: an array of records, or records one after the other, over any lines."""

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from headrace.errors import SourceFileError
from headrace.ingest.sources.base import RECORD_BYTES_MAX
from headrace.ingest.sources.quoted_records import Numbered

BUFFER_BYTES_MAX = 16 * RECORD_BYTES_MAX  # of one record, while its end is looked for
# a text ends on its line; a quote alone is one that does not, or not in what was read so far
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*"|[{}\[\]]|"')
_BLANK = re.compile(rb"[ \t\r\n]*")
_NEXT_TO_SIGN = re.compile(rb"(?<=[{}\[\],:])[ \t\r]*\n\s*|\s*\n\s*(?=[{}\[\],:])")
_NEWLINES = re.compile(rb"\s*\n\s*")


class JsonDocuments:
    """Cuts the plain content of one file into records.

    What is inside of a record is not looked at, except for its texts and brackets.
    """

    def __init__(self, handle: BinaryIO, *, source: str, read_bytes: int) -> None:
        self._handle, self._source, self._read_bytes = handle, source, read_bytes
        self._text, self._at, self._line = b"", 0, 0
        self._is_read = False

    @property
    def line(self) -> int:
        """The number of the line that is reached, from 0."""
        return self._line

    def records(self) -> Iterator[Numbered]:
        """Yield each record on one line, with the number of its first line, from 0.

        Raises:
            SourceFileError: If the file is cut off, or holds something else than records.

        """
        is_array = self._next() == b"["
        if is_array:
            self._skip(1)
        first = True
        while (sign := self._next()) and sign != b"]":
            if is_array and not first:
                if sign != b",":
                    msg = f"{_shown(sign)} where `,` or `]` follows a record"
                    raise self._wrong(msg)
                self._skip(1)
                sign = self._next()
            if sign != b"{":
                raise self._wrong(f"{_shown(sign)} where a record begins" if sign else _CUT)
            yield self._record()
            first = False
        if is_array:
            if sign != b"]":
                raise self._wrong(_CUT)
            self._skip(1)
        if sign := self._next():
            msg = f"{_shown(sign)} behind the last record"
            raise self._wrong(msg)

    def _next(self) -> bytes:
        """Return the next byte that is no blank, without taking it; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._skip(0 if blank is None else blank.end() - self._at)
            if self._at < len(self._text):
                return self._text[self._at : self._at + 1]
            if not self._more():
                return b""

    def _record(self) -> Numbered:
        depth, scanned = 0, self._at
        while True:
            for token in _TOKEN.finditer(self._text, scanned):
                found = token[0]
                if found == b'"':  # its end is not read yet, or is not on its line
                    if self._text.find(b"\n", token.end()) >= 0:
                        msg = "a text that does not end on its line"
                        raise self._wrong(msg)
                    break
                scanned = token.end()
                depth += (found in b"{[") - (found in b"}]")
                if depth == 0:
                    return self._taken(scanned)
            if len(self._text) - self._at > BUFFER_BYTES_MAX:
                msg = f"a record of more than {BUFFER_BYTES_MAX} bytes"
                raise self._wrong(msg)
            begun = self._at
            if not self._more():
                raise self._wrong(_CUT)
            scanned -= begun - self._at

    def _taken(self, end: int) -> Numbered:
        number, text = self._line, self._text[self._at : end]
        self._skip(end - self._at)
        if b"\n" in text:  # no text holds one, so a record may stand on one line
            text = _NEWLINES.sub(b" ", _NEXT_TO_SIGN.sub(b"", text))
        return Numbered(number, text[: RECORD_BYTES_MAX + 1])

    def _skip(self, count: int) -> None:
        self._line += self._text.count(b"\n", self._at, self._at + count)
        self._at += count

    def _more(self) -> bool:
        """Read on; drop what was taken. Whether there was more."""
        block = b"" if self._is_read else self._handle.read(self._read_bytes)
        self._is_read = not block
        self._text, self._at = self._text[self._at :] + block, 0
        return bool(block)

    def _wrong(self, what: str) -> SourceFileError:
        return SourceFileError(self._source, f"it has {what}, on line {self._line + 1}")


_CUT = "no end: it is cut off"


def begins_document(head: bytes) -> bool:
    """Whether a file begins with an array of objects, or with an object that no line of it is alone."""
    if re.match(rb"\s*\[\s*\{", head):
        return True
    cut = JsonDocuments(io.BytesIO(head), source="", read_bytes=len(head) + 1)
    try:
        first = next(cut.records(), None)
    except SourceFileError:
        return False
    lines = head.split(b"\n")[: cut.line + 1]
    return first is not None and cut.line > first.number and not any(map(_is_record, lines))


def _is_record(line: bytes) -> bool:
    try:
        return bool(line.strip().startswith(b"{") and json.loads(line))
    except (ValueError, RecursionError):
        return False


def _shown(sign: bytes) -> str:
    return f"`{sign.decode(errors='replace')}`"
