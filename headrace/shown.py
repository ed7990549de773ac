"""How results show themselves in a notebook: small tables of HTML, and texts cut to a length."""

from collections.abc import Mapping, Sequence
from html import escape

_CELL_CHARS_MAX = 60
_COLUMNS_MAX, _ROWS_MAX = 20, 20


def facts_html(facts: Mapping[str, str]) -> str:
    """Return named facts as a table in HTML, one a row; names and texts are escaped and cut."""
    rows = (f"<tr>{_cell(name, 'th')}{_cell(text, 'td')}</tr>" for name, text in facts.items())
    return f"<table>{''.join(rows)}</table>"


def rows_html(names: Sequence[str], rows: Sequence[Sequence[str]], *, total: int = 0) -> str:
    """Return rows as a table in HTML: at most 20 columns and 20 rows, with a note of what is left out.

    Args:
        names: The columns.
        rows: Their texts, which are escaped and cut.
        total: How many rows there are, if `rows` are only the first of them.

    """
    lines = [names, *rows[:_ROWS_MAX]]
    body = "".join(
        f"<tr>{''.join(_cell(text, 'td' if at else 'th') for text in line[:_COLUMNS_MAX])}</tr>"
        for at, line in enumerate(lines)
    )
    left = {"rows": max(total, len(rows)) - len(lines) + 1, "columns": len(names) - _COLUMNS_MAX}
    note = ", ".join(f"{count:,} more {what}" for what, count in left.items() if count > 0)
    return f"<table>{body}</table>" + (f"<p>{note}</p>" if note else "")


def cut(text: str) -> str:
    """Return a text on one line and of at most 60 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _CELL_CHARS_MAX else line[: _CELL_CHARS_MAX - 1] + "…"


def _cell(text: str, kind: str) -> str:
    return f"<{kind}>{escape(cut(text))}</{kind}>"
