"""The streams and sample sets that a command names: found among the declarations, or refused by name."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from headrace.errors import NotDeclaredError

if TYPE_CHECKING:
    from headrace.config import Settings
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
        NotDeclaredError: Listing the streams there are.

    """
    from headrace.config import Settings

    settings = Settings.load()
    (stream,) = streams_named([name], settings)
    return settings, stream


def streams_named(names: Sequence[str] | None, settings: "Settings") -> "list[Stream]":
    """Return the streams of these names, each once; all if none is named.

    Raises:
        NotDeclaredError: Listing the streams there are.

    """
    from headrace.definitions.load import load_streams

    known = load_streams(settings)
    return [_one(known, name, kind="stream") for name in dict.fromkeys(names or known)]


def sample_set_named(name: str, settings: "Settings") -> "SampleSet":
    """Return the sample set of this name.

    Raises:
        NotDeclaredError: Listing the sample sets there are.

    """
    from headrace.definitions.load import load_sample_sets

    return _one(load_sample_sets(settings), name, kind="sample set")


def window_rows_named(name: str) -> "tuple[Settings, WindowRows]":
    """Return the settings and the rows of the window view of this name.

    Raises:
        NotDeclaredError: Listing the window views there are.

    """
    from headrace.config import Settings
    from headrace.definitions.load import load_streams, load_window_views
    from headrace.definitions.window_rows import WindowRows

    settings = Settings.load()
    windows = _one(load_window_views(settings), name, kind="window view")
    streams = load_streams(settings).values()
    stream = next(each for each in streams if str(each.table) == windows.events)
    return settings, WindowRows.of(windows, stream)


def _one(known: Mapping[str, _Declared], name: str, *, kind: str) -> _Declared:
    if name not in known:
        raise NotDeclaredError(kind, name, known=tuple(known))
    return known[name]
