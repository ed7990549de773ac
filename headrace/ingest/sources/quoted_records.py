"""CSV records of several lines: a quote that is open at the end of a line holds its newline."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.ingest.sources.base import RECORD_BYTES_MAX

_QUOTE = b'"'


class Numbered(NamedTuple):
    """A record or a line, and the number of its first line."""

    number: int
    content: bytes


@dataclass(kw_only=True)
class QuotedRecords:
    """Joins lines to records, in order. Lines are UTF-8 without their newlines.

    A quote that is not closed within `RECORD_BYTES_MAX` bytes, or by the end of the file, is a stray
    one: its line is a record of its own, which the decoder refuses, and the next line begins another.
    """

    delimiter: bytes
    comment: bytes
    _open: list[Numbered] = field(default_factory=list[Numbered])
    _open_bytes: int = 0

    def add(self, lines: Sequence[bytes], *, first: int) -> Iterator[Numbered]:
        """Yield the records that the next lines complete; `first` is the number of the first of them."""
        yield from self._joined(deque(map(Numbered, range(first, first + len(lines)), lines)))

    def end(self) -> Iterator[Numbered]:
        """Yield the records of the lines whose quote the end of the file leaves open."""
        while self._open:
            yield from self._joined(self._without_stray())

    def _joined(self, lines: deque[Numbered]) -> Iterator[Numbered]:
        while lines:
            each = lines.popleft()
            if self._open:
                is_open = _QUOTE not in each.content or self._stays_open(each.content, True)
            elif self._is_none(each.content):
                continue
            else:
                is_open = _QUOTE in each.content and self._stays_open(each.content, False)
                if not is_open:
                    yield each
                    continue
            self._hold(each)
            if not is_open:
                yield Numbered(self._open[0].number, b"\n".join(line for _, line in self._open))
                self._open, self._open_bytes = [], 0
            elif self._open_bytes > RECORD_BYTES_MAX:
                lines.extendleft(reversed(self._without_stray()))

    def _hold(self, line: Numbered) -> None:
        self._open.append(line)
        self._open_bytes += len(line.content) + 1

    def _without_stray(self) -> deque[Numbered]:
        """Return the lines that wait, of which the first is complete in itself."""
        stray, *rest = self._open
        self._open, self._open_bytes = [], 0
        # without its quotes nothing opens it again; the decoder gets it as it is
        return deque([stray._replace(content=_Stray(stray.content)), *rest])

    def _stays_open(self, line: bytes, is_open: bool) -> bool:
        return not isinstance(line, _Stray) and stays_open(line, self.delimiter, is_open=is_open)

    def _is_none(self, line: bytes) -> bool:
        """Whether a line outside of quotes is no record."""
        return not line or line.isspace() or bool(self.comment and line.startswith(self.comment))


class _Stray(bytes):
    """A line whose open quote is a stray one."""


def stays_open(line: bytes, delimiter: bytes, *, is_open: bool) -> bool:
    """Whether a quote is open at the end of a line, if one was at its beginning or none."""
    at = 0
    if not is_open:
        is_open = line.startswith(_QUOTE)
        at = int(is_open)
    while True:
        if is_open:
            close = line.find(_QUOTE, at)
            while close >= 0 and line.startswith(_QUOTE, close + 1):
                close = line.find(_QUOTE, close + 2)
            if close < 0:
                return True
            at = close + 1
        end = line.find(delimiter, at)
        if end < 0:
            return False
        at = end + len(delimiter)
        is_open = line.startswith(_QUOTE, at)
        at += is_open
