"""Rows as aligned text that fits a width: text wraps, numbers and names are never cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

_GAP = "  "


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its title, its cells from top to bottom, and on which side they stand."""

    title: str
    cells: tuple[str, ...]
    right: bool = False

    @property
    def width(self) -> int:
        """Characters that the widest cell takes on one line."""
        return max(map(cell_len, (self.title, *self.cells)))

    @property
    def width_min(self) -> int:
        """Characters of the longest word: narrower, and something would be cut."""
        if self.right:
            return self.width
        return max(cell_len(word) for text in (self.title, *self.cells) for word in _words(text))


def aligned(columns: Sequence[Column], *, width: int | None) -> list[str]:
    """Lay rows out side by side, the title line first; one row below the other if that needs room.

    Args:
        columns: All with the same number of cells.
        width: Characters a line may have; None for as many as it takes, one line a row.

    """
    widths = _widths(columns, width=width)
    if widths is None:
        return _stacked(columns)
    titles = [column.title for column in columns]
    rows = list(zip(*(column.cells for column in columns), strict=True))
    return [line for row in (titles, *rows) for line in _row(row, columns, widths)]


def _widths(columns: Sequence[Column], *, width: int | None) -> list[int] | None:
    """Give each column its width, the widest texts giving way first; None if they do not fit."""
    widths = [column.width for column in columns]
    if width is None:
        return widths
    least = [column.width_min for column in columns]
    over = sum(widths) + len(_GAP) * (len(columns) - 1) - width
    while over > 0:
        at = max(range(len(columns)), key=lambda at: (widths[at] > least[at], widths[at]))
        if widths[at] == least[at]:
            return None
        widths[at] -= 1
        over -= 1
    return widths


def _row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    wrapped = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines: list[str] = []
    for at in range(max(map(len, wrapped))):
        parts = [
            _padded(found[at] if at < len(found) else "", width, right=column.right)
            for found, width, column in zip(wrapped, widths, columns, strict=True)
        ]
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _stacked(columns: Sequence[Column]) -> list[str]:
    """Write each row as a block of its own: one line for each column."""
    width = max(cell_len(column.title) for column in columns)
    lines: list[str] = []
    for cells in zip(*(column.cells for column in columns), strict=True):
        lines += [""] if lines else []
        lines += [
            f"{_padded(column.title, width, right=False)}{_GAP}{cell}".rstrip()
            for column, cell in zip(columns, cells, strict=True)
        ]
    return lines


def _words(text: str) -> list[str]:
    return text.split() or [""]


def _wrap(text: str, width: int) -> list[str]:
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
