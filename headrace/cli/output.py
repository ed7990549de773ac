"""How commands show results: as text for people or as JSON for programs; progress goes to stderr."""

import contextlib
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import click
import typer

from headrace.cli.nouns import is_quiet
from headrace.errors import Remedy, advised

_KIB = 1024
_AGES = ((31_557_600, "y"), (86_400, "d"), (3_600, "h"), (60, "min"))
_WHOLE_FROM = 10_000  # from here on a number of four digits would be cut
_FORMAT, _CATALOG = f"{__name__}.format", f"{__name__}.catalog"  # keys of click's `Context.meta`


class Format(StrEnum):
    """What `--output` allows."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asked for, for the place where errors are shown."""

    format: Format
    catalog: str | None

    @classmethod
    def now(cls) -> "Asked":
        """Read it from the command that runs; the defaults where none does."""
        context = click.get_current_context(silent=True)
        meta = {} if context is None else context.meta
        return cls(format=meta.get(_FORMAT, Format.TEXT), catalog=meta.get(_CATALOG))


def _keep_format(context: typer.Context, value: Format) -> Format:
    context.meta[_FORMAT] = Format(value)
    return value


def _keep_catalog(context: typer.Context, value: str | None) -> str | None:
    context.meta[_CATALOG] = value
    return value


OutputOption = Annotated[
    Format,
    typer.Option("--output", help="Show text, or JSON on stdout.", callback=_keep_format),
]

CatalogOption = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        metavar="NAME",
        help="A catalog of PyIceberg's own configuration; this lake's tables if not given.",
        callback=_keep_catalog,
    ),
]


class Output(ABC):
    """Where a command's result goes; the commands of a `Remedy` go to the same catalog."""

    def __init__(self, catalog: str | None = None) -> None:
        self.catalog = catalog

    @abstractmethod
    def say(self, text: str, *, remedy: Remedy | None = None) -> None:
        """Show a sentence, and what to do, to people who want it; programs do not see it."""

    @abstractmethod
    def show(self, text: str) -> None:
        """Show a line that is the result itself to people; programs get it as a table or record."""

    @abstractmethod
    def table(
        self,
        rows: Sequence[Mapping[str, object]],
        *,
        columns: Sequence[str],
        spare: Sequence[str] = (),
        empty: str = "",
    ) -> None:
        """Show rows; text shows `columns`, JSON everything.

        In a terminal that is too narrow, text leaves `spare` columns out, the first of them first.
        `empty` is the sentence that text shows where there are no rows.
        """

    @abstractmethod
    def data(
        self, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str], empty: str = ""
    ) -> None:
        """Show rows of a user's table: columns keep their names as they are."""

    @abstractmethod
    def record(self, facts: Mapping[str, object]) -> None:
        """Show one thing's facts."""

    @abstractmethod
    def facts(self, facts: Mapping[str, object]) -> None:
        """Show one thing's facts to programs; people get what is said or shown."""


class TextOutput(Output):
    """For people."""

    def say(self, text: str, *, remedy: Remedy | None = None) -> None:
        """Print a line, unless the command is asked to be quiet."""
        if not is_quiet():
            typer.echo(advised(text, remedy, catalog=self.catalog))

    def show(self, text: str) -> None:
        """Print a line."""
        typer.echo(text)

    def table(
        self,
        rows: Sequence[Mapping[str, object]],
        *,
        columns: Sequence[str],
        spare: Sequence[str] = (),
        empty: str = "",
    ) -> None:
        """Print aligned columns, numbers to the right; in a pipe a row is always one line."""
        titles = [name.replace("_", " ") for name in columns]
        self._aligned(rows, columns=columns, titles=titles, spare=spare, empty=empty)

    def data(
        self, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str], empty: str = ""
    ) -> None:
        """Print aligned columns under their own names."""
        self._aligned(rows, columns=columns, titles=columns, spare=(), empty=empty)

    def _aligned(
        self,
        rows: Sequence[Mapping[str, object]],
        *,
        columns: Sequence[str],
        titles: Sequence[str],
        spare: Sequence[str],
        empty: str,
    ) -> None:
        from headrace.cli.columns import Column, aligned, width_shown

        if empty and not rows:
            self.say(empty)
            return
        shown = [
            Column(
                title=title,
                cells=tuple(self._text(row.get(name)) for row in rows),
                right=any(_is_number(row.get(name)) for row in rows),
                spare=spare.index(name) + 1 if name in spare else 0,
            )
            for name, title in zip(columns, titles, strict=True)
        ]
        for line in aligned(shown, width=width_shown()):
            typer.echo(line)

    def record(self, facts: Mapping[str, object]) -> None:
        """Print one aligned line per fact, more for a text that is longer than the terminal."""
        from headrace.cli.columns import Column, stacked, width_shown

        shown = [
            Column(title=name.replace("_", " "), cells=(self._text(value),))
            for name, value in facts.items()
        ]
        for line in stacked(shown, width=width_shown()):
            typer.echo(line)

    def facts(self, facts: Mapping[str, object]) -> None:
        """Nothing: a sentence or a table says them."""

    def _text(self, value: object) -> str:
        return as_text(value.on(self.catalog) if isinstance(value, Remedy) else value)


class JsonOutput(Output):
    """For programs: one JSON document per result."""

    def say(self, text: str, *, remedy: Remedy | None = None) -> None:
        """Nothing: sentences are for people."""

    def show(self, text: str) -> None:
        """Nothing: the result is also a table or a record."""

    def table(
        self,
        rows: Sequence[Mapping[str, object]],
        *,
        columns: Sequence[str],
        spare: Sequence[str] = (),
        empty: str = "",
    ) -> None:
        """Print a list of objects."""
        _ = columns, spare, empty
        self._print([dict(row) for row in rows])

    def data(
        self, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str], empty: str = ""
    ) -> None:
        """Print a list of objects."""
        self.table(rows, columns=columns, empty=empty)

    def record(self, facts: Mapping[str, object]) -> None:
        """Print one object."""
        self._print(dict(facts))

    def facts(self, facts: Mapping[str, object]) -> None:
        """Print one object."""
        self.record(facts)

    def _print(self, result: object) -> None:
        def as_json(value: object) -> object:
            if isinstance(value, Remedy):
                return value.on(self.catalog).to_dict()
            return value.isoformat() if isinstance(value, datetime) else str(value)

        typer.echo(json.dumps(result, indent=2, default=as_json))


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
        return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:,.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def as_age(moment: datetime | None, *, now: datetime) -> str:
    """Show how long ago a time was, in one unit: `12 min`; `—` for none, `0 s` for one to come."""
    if moment is None:
        return "—"
    seconds = max(0.0, (now - moment).total_seconds())
    for length, unit in _AGES:
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def as_size(count_bytes: int) -> str:
    """Show bytes in the largest unit that keeps a digit before the point."""
    if count_bytes < _KIB:
        return f"{count_bytes} B"
    if count_bytes < _KIB * _KIB:
        return f"{count_bytes / _KIB:,.1f} KiB"
    return f"{count_bytes / _KIB / _KIB:,.1f} MiB"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@contextlib.contextmanager
def progress(title: str, *, steps: int) -> Generator[Callable[[str], None]]:
    """Show a bar on stderr if it is a terminal; the yielded function takes one step and says what."""
    if not sys.stderr.isatty() or not steps or is_quiet():
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
