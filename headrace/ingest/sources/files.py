"""The file source: files below the data folder, read in lexical order of their names.

Files may grow between runs. A file that shrank, or whose bytes are not those that were taken, is refused
by name. Names that start with `.` or `_` are unfinished files and are ignored.
"""

import os
from collections import deque
from collections.abc import Collection, Generator
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate, takewhile
from pathlib import Path

from headrace.clock import EPOCH
from headrace.definitions.sources import FileSource as DeclaredFiles
from headrace.definitions.stream import Stream
from headrace.errors import (
    SourceChangedError,
    SourceError,
    SourceFileError,
    UnknownSourceError,
)
from headrace.ingest.sources.base import (
    UNSEEN,
    Batch,
    Position,
    PositionsOf,
    ReaderStatus,
    Records,
    SourcePartition,
)
from headrace.ingest.sources.file_formats import HEAD_BYTES, other_format
from headrace.ingest.sources.file_splits import Look, Split
from headrace.ingest.sources.file_state import FileState, compare
from headrace.ingest.sources.fingerprint import Fingerprint
from headrace.ingest.sources.parquet_files import read_parquet
from headrace.ingest.sources.text_files import read_text
from headrace.ingest.sources.whole_files import read_whole

READ_BYTES = 8 * 1024 * 1024  # what is done once for each weighs more with less
_NOTHING = Position()


class FileSource:
    """The files of one stream; each file is one partition, which ends."""

    is_log = False

    def __init__(self, stream: Stream, *, data_dir: Path, read_bytes: int = READ_BYTES) -> None:
        if not isinstance(stream.source, DeclaredFiles):
            raise UnknownSourceError(stream.name, kind=type(stream.source).__name__)
        self._declared = stream.source
        self._stream, self._data_dir, self._read_bytes = stream, data_dir.absolute(), read_bytes

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> "FileReader":
        """List the files once, and read those with something new; see `Source.open`."""
        _ = follow
        return FileReader(self, self.look(positions), rows_per_commit=rows_per_commit)

    def look(self, positions: PositionsOf) -> Look:
        """List the files with something new. What is wrong with one is found by reading it."""
        files = self._files()
        taken = positions(files.keys())
        splits: list[Split] = []
        unfinished: list[SourcePartition] = []
        unchanged: dict[SourcePartition, Position] = {}
        for partition, path in files.items():
            start = taken.get(partition, _NOTHING)
            if start.is_skipped:
                continue
            found = compare(path, start)
            if found.state is FileState.READ_AGAIN and found.seen != UNSEEN:
                unchanged[partition] = replace(start, seen=found.seen)
            elif found.state is FileState.OTHER:
                if found.size_bytes > start.bytes and self._waits(path, start):
                    unfinished.append(partition)
                    continue
                time = EPOCH + timedelta(microseconds=found.modified_us)
                splits.append(Split(source=partition.source, source_time=time, start=start))
        return Look(
            splits=tuple(splits),
            unfinished=tuple(unfinished),
            unchanged=unchanged,
            missing=None if files else self.missing(),
        )

    def missing(self) -> str | None:
        """Return why there is no file at all, if so: a pattern or a folder may be misspelt."""
        if not self._data_dir.is_dir():
            return f"the data folder `{self._data_dir}` does not exist"
        if self._files():
            return None
        if (closed := self._closed()) is not None:
            return f"the folder `{closed}` may not be read by this process"
        return f"no file below `{self._data_dir}` matches `{self._declared.files}`"

    def _closed(self) -> Path | None:
        """Return the first folder before the pattern's wildcards that may not be read: a listing skips it."""
        parts = takewhile(lambda part: not set(part) & set("*?["), Path(self._declared.files).parts)
        folders = accumulate(parts, lambda folder, part: folder / part, initial=self._data_dir)
        for folder in folders:
            if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
                return folder
        return None

    def read(self, split: Split, *, rows_per_commit: int) -> Generator[Records]:
        """Read one file from the split's start on, one micro-batch at a time.

        Raises:
            SourceFileError: If the file cannot be read, or is not of the contract's format.
            SourceChangedError: If what was taken from it is no longer there.

        """
        path = self._data_dir / split.source
        if not path.is_file():
            raise SourceFileError(split.source, "it is not a file")
        size, taken = path.stat().st_size, split.start.bytes
        if size < taken or (taken and self._is_whole and size != taken):
            detail = f"it has {size} bytes, but {taken} were taken from it"
            raise SourceChangedError(split.source, detail)
        if self._stream.format == "parquet":
            return read_parquet(path, split, self._stream, rows_per_commit=rows_per_commit)
        read = read_whole if self._is_whole else read_text
        return read(path, split, self._stream, read_bytes=self._read_bytes)

    @property
    def skips_bad_files(self) -> bool:
        """Whether a file that cannot be begun is left out."""
        return self._declared.on_bad_file == "skip"

    @property
    def _is_complete(self) -> bool:
        """Whether files are complete when they appear."""
        return self._declared.are_complete or self._stream.format == "parquet"

    @property
    def _is_whole(self) -> bool:
        """Whether a file is read from its beginning, and its size never changes."""
        form = self._stream
        is_packed = self._declared.compression is not None
        return is_packed or form.format == "parquet" or form.cuts_whole_files

    def _waits(self, path: Path, start: Position) -> bool:
        """Whether all that a text file has beyond `start` is a line without its newline.

        False if what was taken has changed, or the file is not text: reading it reports that.
        """
        if self._is_complete:
            return False
        try:
            with path.open("rb") as handle:
                if not start.bytes and other_format(handle.read(HEAD_BYTES)) is not None:
                    return False
                handle.seek(start.bytes)
                if any(b"\n" in block for block in iter(lambda: handle.read(HEAD_BYTES), b"")):
                    return False
                taken = Fingerprint.of(handle, start.bytes)
        except OSError:
            return False
        return start.fingerprint in ("", str(taken))

    def _files(self) -> dict[SourcePartition, Path]:
        paths = self._data_dir.glob(self._declared.files)
        # below the folder by construction: `relative_to` costs as much as the rest of a listing
        skipped = len(self._data_dir.as_posix().rstrip("/")) + 1
        named = {path.as_posix()[skipped:]: path for path in paths}
        return {
            SourcePartition(source): named[source]
            for source in sorted(named)
            if named[source].name[0] not in "._"
        }


class FileReader:
    """Reads the files that one look found, one after the other; see `Reader`.

    Holds one open file and nothing between polls. The smallest unit is a block of a text file
    (`read_bytes`), or a batch of a Parquet file.
    """

    def __init__(self, source: FileSource, look: Look, *, rows_per_commit: int) -> None:
        self._source, self._look, self._rows_per_commit = source, look, rows_per_commit
        self._waiting = deque(look.splits)
        self._reading: Generator[Records] | None = None
        self._current: SourcePartition | None = None
        self._skipped: list[SourceError] = []
        self._closed = False

    @property
    def drained(self) -> bool:
        """Whether every file that was listed is read."""
        return self._current is None and not self._waiting

    @property
    def active(self) -> Collection[SourcePartition]:
        """The file that is being read."""
        return () if self._current is None else (self._current,)

    def status(self) -> ReaderStatus:
        """Return what the look found; how many records a file has is not known before it is read."""
        look = self._look
        return ReaderStatus(
            waiting=tuple(split.partition for split in look.splits),
            unfinished=look.unfinished,
            unchanged=look.unchanged,
            missing=look.missing,
            skipped=tuple(self._skipped),
        )

    def poll(self, max_rows: int, *, max_s: float) -> Batch | None:
        """Return the next block of a file, or that the file has ended; never waits. See `Reader`.

        Raises:
            SourceFileError: If the file cannot be read, or is not of the contract's format.
            SourceChangedError: If what was taken from it is no longer there.
            ValueError: If the reader is closed.

        """
        _ = max_rows, max_s
        if self._closed:
            msg = "the reader is closed"
            raise ValueError(msg)
        if self._reading is None:
            if not self._waiting:
                return None
            split = self._waiting.popleft()
            records = self._first(split)
            if self._current is None:
                return Batch(left_out=(split.partition,))
        else:
            records = next(self._reading, None)
        if records is not None:
            return Batch(parts=(records,))
        batch = Batch(ended=tuple(self.active))
        self._reading = self._current = None
        return batch

    def _first(self, split: Split) -> Records | None:
        """Begin a file and return its first records; leave out a bad one if the contract says so."""
        self._current = split.partition
        try:
            self._reading = self._source.read(split, rows_per_commit=self._rows_per_commit)
            return next(self._reading, None)
        except SourceError as error:
            if not self._source.skips_bad_files:
                raise
            self._skipped.append(error)
            self._reading = self._current = None
            return None

    def confirm(self) -> None:
        """Nothing to check: a changed file is found when it is read."""

    def close(self) -> None:
        """Close the open file; idempotent."""
        self._closed = True
        if self._reading is not None:
            self._reading.close()
            self._reading = None
