"""What a look at the files of a stream finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from headrace.definitions.sources import FileSource
from headrace.definitions.stream import Stream
from headrace.ingest.sources.base import Position, SourcePartition


@dataclass(frozen=True, kw_only=True)
class Split:
    """A file with something new in it, beyond `start`; `source_time` is when it was modified."""

    source: str
    source_time: datetime
    start: Position

    @property
    def partition(self) -> SourcePartition:
        """The file as a partition; every file is one of its own."""
        return SourcePartition(self.source)


@dataclass(frozen=True, kw_only=True)
class Look:
    """The files of a stream, compared with how far they are taken.

    Args:
        splits: Files with something new, in the order of reading.
        unfinished: Files whose only new record is not complete yet.
        unchanged: New positions of files that were read to find out that they did not change.
        missing: Why there is no file at all, if so.

    """

    splits: tuple[Split, ...]
    unfinished: tuple[SourcePartition, ...] = ()
    unchanged: Mapping[SourcePartition, Position] = field(
        default_factory=dict[SourcePartition, Position]
    )
    missing: str | None = None


def files_of(stream: Stream) -> FileSource:
    """Return what a contract says of its files.

    Raises:
        TypeError: If the stream reads no files.

    """
    if not isinstance(stream.source, FileSource):
        msg = f"stream `{stream.name}` reads no files"
        raise TypeError(msg)
    return stream.source
