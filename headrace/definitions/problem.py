"""What is wrong with a declaration: where it stands, what it says, and what may stand there instead."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from headrace.definitions.source_lines import Document, Fault, Place


class Finding(NamedTuple):
    """A problem at a place of a document; `allowed` are the names that may stand there, if they are few."""

    place: Place
    text: str
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem with its file below the lake's root; line and column count from 1.

    Without a line it is about the file as a whole. `str` is what people read.
    """

    file: str
    line: int | None = None
    column: int | None = None
    message: str
    allowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say file, line and message."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}  {self.message}"


def problem_of(finding: Finding, document: Document, *, file: str) -> Problem:
    """Put a finding where its document has it, or has the nearest enclosing place."""
    place, text, allowed = finding
    return problem_at_mark(Fault(document.mark_of(place), text, allowed), file=file)


def problem_at_mark(fault: Fault, *, file: str) -> Problem:
    """Add the file to what is wrong in it."""
    (line, column), text, allowed = fault
    return Problem(file=file, line=line, column=column, message=text, allowed=allowed)


def shown(path: Path, root: Path) -> str:
    """Return how a file is named: below the lake's root, if it lies there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def hint(name: str, allowed: Iterable[str]) -> str:
    """Say which of the names was probably meant, or else list them."""
    known = sorted(allowed)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return "there are " + (", ".join(f"`{each}`" for each in known) or "none")
