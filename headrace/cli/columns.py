"""Rows as aligned text that fits a width: a number, a name or a time is never cut.

The one rule, in this order, until a line fits: titles wrap; texts wrap, but stay readable; columns that
the command can spare are left out, and named below; texts wrap to their longest word; each row
becomes a block of its own, with all columns.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

_GAP = "  "
_TEXT_WIDTH_MIN = 24  # characters: a sentence in a narrower column takes too many lines
_WORDS_KEPT = 2  # a cell of so many words is one thing, as `1.3 MiB` or `2019-11-30 03:18:29`


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its title, its cells from top to bottom, and on which side they stand.

    `spare` says that it may be left out where there is no room, the lowest number first; 0 keeps it.
    """

    title: str
    cells: tuple[str, ...]
    right: bool = False
    spare: int = 0

    @property
    def width(self) -> int:
        """Characters that the widest cell takes on one line, or the longest word of the title."""
        return max(map(cell_len, (*self.cells, *_words(self.title))))

    @property
    def width_min(self) -> int:
        """Characters of the longest part that stays whole: narrower, and something would be cut."""
        if self.right:
            return self.width
        parts = (part for text in self.cells for part in _parts(text))
        return max(map(cell_len, (*parts, *_words(self.title))))

    @property
    def width_readable(self) -> int:
        """Characters below which its texts are spread over too many lines."""
        return max(self.width_min, min(self.width, _TEXT_WIDTH_MIN))


def width_shown() -> int | None:
    """Return how many characters a line of the terminal has; None if stdout is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def aligned(columns: Sequence[Column], *, width: int | None) -> list[str]:
    """Lay rows out side by side, the title line first, by the rule of this module.

    Args:
        columns: All with the same number of cells.
        width: Characters a line may have; None for as many as it takes, one line a row.

    """
    if width is None:
        return _lines(columns, [max(c.width, cell_len(c.title)) for c in columns])
    kept, spared = list(columns), list[str]()
    while (widths := _widths(kept, [c.width_readable for c in kept], width=width)) is None:
        spare = min((c for c in kept if c.spare), key=lambda c: c.spare, default=None)
        if spare is None:
            break
        kept.remove(spare)
        spared.append(spare.title)
    widths = widths or _widths(kept, [c.width_min for c in kept], width=width)
    if widths is None:
        return stacked(columns, width=width)
    note = f"not shown at this width: {', '.join(spared)}"
    return [*_lines(kept, widths), *([note] if spared else [])]


def stacked(columns: Sequence[Column], *, width: int | None) -> list[str]:
    """Write each row as a block of its own: a line for each column, more for a long text."""
    titles = max((cell_len(column.title) for column in columns), default=0)
    room = None if width is None else max(_TEXT_WIDTH_MIN, width - titles - len(_GAP))
    lines: list[str] = []
    for cells in zip(*(column.cells for column in columns), strict=True):
        lines += [""] if lines else []
        for column, cell in zip(columns, cells, strict=True):
            wrapped = [cell] if room is None else _wrap(cell, room)
            for title, text in zip([column.title, *[""] * len(wrapped)], wrapped, strict=False):
                lines.append(f"{_padded(title, titles, right=False)}{_GAP}{text}".rstrip())
    return lines


def _widths(
    columns: Sequence[Column], least: Sequence[int], *, width: int | None
) -> list[int] | None:
    """Give each column its width, the widest texts giving way first; None if they do not fit."""
    widths = [column.width for column in columns]
    gaps = len(_GAP) * (len(columns) - 1)
    if width is None or sum(widths) + gaps <= width:
        return _with_titles(columns, widths, spare=None if width is None else width - gaps)
    for _ in range(sum(widths) + gaps - width):
        at = max(range(len(columns)), key=lambda at: (widths[at] > least[at], widths[at]))
        if widths[at] == least[at]:
            return None
        widths[at] -= 1
    return widths


def _with_titles(columns: Sequence[Column], widths: list[int], *, spare: int | None) -> list[int]:
    """Widen columns to their titles on one line, as long as there is room, from the left."""
    for at, column in enumerate(columns):
        wanted = cell_len(column.title) - widths[at]
        if wanted > 0 and (spare is None or sum(widths) + wanted <= spare):
            widths[at] += wanted
    return widths


def _lines(columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    titles = [
        _wrap_words(column.title, width) for column, width in zip(columns, widths, strict=True)
    ]
    rows = zip(*(column.cells for column in columns), strict=True)
    wrapped = [
        [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows
    ]
    return [line for row in (titles, *wrapped) for line in _row(row, columns, widths)]


def _row(
    cells: Sequence[Sequence[str]], columns: Sequence[Column], widths: Sequence[int]
) -> list[str]:
    lines: list[str] = []
    for at in range(max(map(len, cells), default=0)):
        parts = [
            _padded(found[at] if at < len(found) else "", width, right=column.right)
            for found, width, column in zip(cells, widths, columns, strict=True)
        ]
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _words(text: str) -> list[str]:
    return text.split() or [""]


def _parts(text: str) -> list[str]:
    """What of a text stays on one line: each word of a sentence, all of a shorter text."""
    words = _words(text)
    return [text] if len(words) <= _WORDS_KEPT else words


def _wrap(text: str, width: int) -> list[str]:
    return [text] if len(_words(text)) <= _WORDS_KEPT else _wrap_words(text, width)


def _wrap_words(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in _words(text):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _padded(text: str, width: int, *, right: bool) -> str:
    room = " " * max(0, width - cell_len(text))
    return room + text if right else text + room
