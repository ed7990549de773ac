"""Chooses the source of a stream by what its contract declares; the only importer of the sources."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from headrace.config import Settings
from headrace.definitions.base import Declaration
from headrace.definitions.stream import FileSource as DeclaredFiles
from headrace.definitions.stream import Stream
from headrace.errors import UnknownSourceError
from headrace.ingest.sources.base import Source
from headrace.ingest.sources.files import FileSource


def open_source(stream: Stream, settings: Settings) -> Source:
    """Return the source that a stream's contract declares; nothing is read or connected yet.

    Raises:
        UnknownSourceError: If this version has no source of the declared kind.

    """
    kind = type(stream.source)
    if kind not in _KINDS:
        raise UnknownSourceError(stream.name, kind=kind.__name__)
    return _KINDS[kind](stream, settings)


def _files(stream: Stream, settings: Settings) -> Source:
    return FileSource(stream, data_dir=settings.data_dir)


_KINDS: Mapping[type[Declaration], Callable[[Stream, Settings], Source]] = MappingProxyType(
    {DeclaredFiles: _files}
)
