"""The streams and sample sets that a command names: found among the declarations, or refused by name."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from headrace.errors import DefinitionError, NotDeclaredError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.broken import BrokenFile
    from headrace.definitions.sample_set import SampleSet
    from headrace.definitions.stream import Stream
    from headrace.definitions.window_rows import WindowRows

_Declared = TypeVar("_Declared")

StreamNames = Annotated[
    list[str] | None, typer.Argument(metavar="[STREAM]...", help="Streams; all if none is named.")
]
StreamName = Annotated[str, typer.Argument(metavar="STREAM", help="A declared stream.")]


def stream_named(name: str) -> "tuple[Settings, Stream]":
    """Return the settings and the stream of this name.

    Raises:
        DefinitionError: If its declaration cannot be used.
        NotDeclaredError: Listing the streams there are.

    """
    from headrace.config import Settings

    settings = Settings.load()
    (stream,) = streams_named([name], settings)
    return settings, stream


def streams_named(names: Sequence[str] | None, settings: "Settings") -> "list[Stream]":
    """Return the streams of these names, each once; all that can be used if none is named.

    A file that cannot be used stops only the commands that may be about it: warns of the others.

    Raises:
        DefinitionError: If the declaration of a stream that is named cannot be used.
        NotDeclaredError: Listing the streams there are.

    """
    from headrace.definitions.load import inspect_declarations

    found = inspect_declarations(settings)
    return _chosen(names, found.streams, found.broken_streams, kind="stream")


def are_streams_broken(settings: "Settings") -> bool:
    """Whether the file of a stream cannot be used."""
    from headrace.definitions.load import inspect_declarations

    return bool(inspect_declarations(settings).broken_streams)


def sample_set_named(name: str, settings: "Settings") -> "SampleSet":
    """Return the sample set of this name, and warn of files of others that cannot be used.

    Raises:
        DefinitionError: If its declaration cannot be used.
        NotDeclaredError: Listing the sample sets there are.

    """
    (found,) = sample_sets_named([name], settings)
    return found


def sample_set_of(table: str, settings: "Settings") -> "SampleSet | None":
    """Return the sample set that is built into a table; None if there is none."""
    from headrace.definitions.load import inspect_declarations

    found = inspect_declarations(settings).sample_sets.values()
    return next((each for each in found if str(each.table) == table), None)


def keyed_stream(name: str, settings: "Settings") -> "Stream | None":
    """Return the stream of a keyed table, which is named `paimon:a.b`; None of another name.

    Raises:
        NotDeclaredError: Listing the keyed tables there are.

    """
    from headrace.definitions.keyed_form import SUBJECT
    from headrace.definitions.load import inspect_declarations

    if not name.startswith(SUBJECT):
        return None
    streams = inspect_declarations(settings).streams.values()
    found = {f"{SUBJECT}{each.keyed_table}": each for each in streams if each.keyed_table}
    return _chosen([name], found, (), kind="keyed table")[0]


def sample_sets_named(names: Sequence[str] | None, settings: "Settings") -> "list[SampleSet]":
    """Return the sample sets of these names; all that can be used if none is named.

    Raises:
        DefinitionError: If the declaration of one that is named cannot be used.
        NotDeclaredError: Listing the sample sets there are.

    """
    from headrace.definitions.load import inspect_declarations

    found = inspect_declarations(settings)
    return _chosen(names, found.sample_sets, found.broken_sample_sets, kind="sample set")


def window_rows_named(name: str) -> "tuple[Settings, WindowRows]":
    """Return the settings and the rows of the window view of this name.

    Raises:
        NotDeclaredError: Listing the window views there are.

    """
    from headrace.config import Settings
    from headrace.definitions.load import load_streams, load_window_views
    from headrace.definitions.window_rows import WindowRows

    settings = Settings.load()
    (windows,) = _chosen([name], load_window_views(settings), (), kind="window view")
    streams = load_streams(settings).values()
    stream = next(each for each in streams if str(each.table) == windows.events)
    return settings, WindowRows.of(windows, stream)


def _chosen(
    names: Sequence[str] | None,
    known: Mapping[str, _Declared],
    broken: "Sequence[BrokenFile]",
    *,
    kind: str,
) -> list[_Declared]:
    for name in names or ():
        suspects = [each for each in broken if each.may_declare(name)]
        if name not in known and suspects:
            raise DefinitionError(tuple(text for each in suspects for text in each.problems))
        if name not in known:
            raise NotDeclaredError(kind, name, known=tuple(known))
    for problem in (text for each in broken for text in each.problems):
        typer.echo(f"warning: {problem}", err=True)
    return [known[name] for name in dict.fromkeys(names or known)]
