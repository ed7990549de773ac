"""How commands show results: as text for people or as JSON for programs; progress goes to stderr."""

import contextlib
import json
import re
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

_KIB = 1024
# those that take `--catalog`, as messages quote them
_NEXT_COMMAND = re.compile(r"(?<=`)headrace (?:tables|maintain)\b[^`]*(?=`)")


class Format(StrEnum):
    """What `--output` allows."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Format, typer.Option("--output", help="Show text, or JSON on stdout.")]


def on_catalog(text: str, catalog: str | None) -> str:
    """Add the catalog that a command works on to the commands a text tells to run next."""
    if catalog is None:
        return text
    return _NEXT_COMMAND.sub(lambda found: f"{found[0]} --catalog {catalog}", text)


class Output(ABC):
    """Where a command's result goes; commands that it names go to the same catalog."""

    def __init__(self, catalog: str | None = None) -> None:
        self._catalog = catalog

    def _echo(self, text: str) -> None:
        typer.echo(on_catalog(text, self._catalog))

    @abstractmethod
    def say(self, text: str) -> None:
        """Show a sentence to people; programs do not see it."""

    @abstractmethod
    def table(self, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str]) -> None:
        """Show rows; text shows `columns`, JSON everything."""

    @abstractmethod
    def record(self, facts: Mapping[str, object]) -> None:
        """Show one thing's facts."""


class TextOutput(Output):
    """For people."""

    def say(self, text: str) -> None:
        """Print a line."""
        self._echo(text)

    def table(self, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str]) -> None:
        """Print aligned columns, numbers to the right; in a pipe a row is always one line."""
        from headrace.cli.columns import Column, aligned

        shown = [
            Column(
                title=name.replace("_", " "),
                cells=tuple(on_catalog(as_text(row.get(name)), self._catalog) for row in rows),
                right=any(_is_number(row.get(name)) for row in rows),
            )
            for name in columns
        ]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in aligned(shown, width=width):
            typer.echo(line)

    def record(self, facts: Mapping[str, object]) -> None:
        """Print one aligned line per fact."""
        width = max((len(name) for name in facts), default=0)
        for name, value in facts.items():
            self._echo(f"{name.replace('_', ' '):<{width}}  {as_text(value)}")


class JsonOutput(Output):
    """For programs: one JSON document per result."""

    def say(self, text: str) -> None:
        """Nothing: sentences are for people."""

    def table(self, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str]) -> None:
        """Print a list of objects."""
        _ = columns
        self._echo(json.dumps([dict(row) for row in rows], indent=2, default=_as_json))

    def record(self, facts: Mapping[str, object]) -> None:
        """Print one object."""
        self._echo(json.dumps(dict(facts), indent=2, default=_as_json))


def output_of(wanted: Format, *, catalog: str | None = None) -> Output:
    """Return the output for a `--output` value, and a `--catalog` value."""
    return JsonOutput(catalog) if wanted is Format.JSON else TextOutput(catalog)


def as_text(value: object) -> str:
    """Show one value: thousands separated, times in UTC to the second, `—` for nothing."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def as_size(count_bytes: int) -> str:
    """Show bytes in the largest unit that keeps a digit before the point."""
    if count_bytes < _KIB:
        return f"{count_bytes} B"
    if count_bytes < _KIB * _KIB:
        return f"{count_bytes / _KIB:,.1f} KiB"
    return f"{count_bytes / _KIB / _KIB:,.1f} MiB"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextlib.contextmanager
def progress(title: str, *, steps: int) -> Generator[Callable[[str], None]]:
    """Show a bar on stderr if it is a terminal; the yielded function takes one step and says what."""
    if not sys.stderr.isatty() or not steps:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=steps, at="")
        yield lambda at: bar.update(task, advance=1, at=at)
