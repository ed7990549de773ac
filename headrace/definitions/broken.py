"""Files whose declaration cannot be used, and the table that they were about."""

import re
from dataclasses import dataclass
from pathlib import Path

from headrace.definitions.problem import Problem
from headrace.definitions.source_lines import FILE_BYTES_MAX
from headrace.errors import InvalidNameError
from headrace.identifiers import TableName

_NAME_LINE = re.compile(
    r"""^(?:stream|samples):[ \t]*["']?([a-z0-9_]+)["']?[ \t]*(?:#.*)?$""", re.MULTILINE
)
_TABLE_LINE = re.compile(r"""^table:[ \t]*["']?([a-z0-9_.]+)["']?[ \t]*(?:#.*)?$""", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class BrokenFile:
    """A file whose declaration cannot be used.

    Args:
        path: The file.
        kind: What it should declare, such as `a stream`.
        table: The table that it declares; None if that cannot be read.
        found: What is wrong.

    """

    path: Path
    kind: str
    table: TableName | None
    found: tuple[Problem, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Each with file and line."""
        return tuple(map(str, self.found))

    def may_declare(self, name: str) -> bool:
        """Whether the file may be the declaration of this name: by its own, or by its text."""
        return name in {self.path.stem, *_NAME_LINE.findall(_text_of(self.path))}


def _text_of(path: Path) -> str:
    """Read a file that may not be YAML; empty if it cannot be read."""
    if not path.is_file():  # opening a named pipe would wait for its writer
        return ""
    try:
        with path.open("rb") as handle:
            return handle.read(FILE_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""


def broken_table(path: Path) -> TableName | None:
    """Find the table in the text of a file that may not be YAML; None if it names none, or several."""
    found = set(_TABLE_LINE.findall(_text_of(path)))
    if len(found) != 1:
        return None
    try:
        return TableName.parse(found.pop())
    except InvalidNameError:
        return None
