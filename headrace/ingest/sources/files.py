"""The file source: files below the data folder, in lexical order, as bounded micro-batches.

CSV and JSON files are lines: a newline ends a record, always, and lines of blanks are no records. A
last line without one waits, unless the contract says that files are complete when they appear.
Files may grow between runs; a file that shrank or whose bytes are not those that were taken is refused
by name. Names that start with `.` or `_` are unfinished files and are left alone.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest.sources.base import (
    RECORD_BYTES_MAX,
    UNSEEN,
    Look,
    Position,
    PositionsOf,
    Records,
    Split,
)
from headrace.ingest.sources.csv_record import CsvRecordError, split_record
from headrace.ingest.sources.file_state import FileState, compare, seen_of
from headrace.ingest.sources.fingerprint import Fingerprint
from headrace.ingest.sources.line_numbers import LineNumbers, counter_of, places_of
from headrace.ingest.sources.parquet_batches import ParquetBatches
from headrace.ingest.values import holds, shown

READ_BYTES = 4 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = Position()
_BOM = b"\xef\xbb\xbf"
_MAGIC = {
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


class _Lines(NamedTuple):
    """Lines as read, where they end, and the fingerprint of all up to there."""

    lines: list[bytes]
    numbers: LineNumbers
    end: int
    fingerprint: str


class FileSource:
    """The files of one stream."""

    def __init__(self, stream: Stream, *, data_dir: Path, read_bytes: int = READ_BYTES) -> None:
        self._stream, self._data_dir, self._read_bytes = stream, data_dir.absolute(), read_bytes

    def look(self, positions_of: PositionsOf) -> Look:
        """List the files with something new, by name; what is wrong with one, reading it tells."""
        files = self._files()
        positions = positions_of(files.keys())
        splits: list[Split] = []
        unfinished: list[str] = []
        unchanged: dict[str, Position] = {}
        for source, path in files.items():
            start = positions.get(source, _NOTHING)
            found = compare(path, start)
            if found.state is FileState.READ_AGAIN and found.seen != UNSEEN:
                unchanged[source] = replace(start, seen=found.seen)
            elif found.state is FileState.OTHER:
                if found.size_bytes > start.bytes and self._waits(path, start):
                    unfinished.append(source)
                    continue
                time = _EPOCH + timedelta(microseconds=found.modified_us)
                splits.append(Split(source=source, partition=0, source_time=time, start=start))
        return Look(
            splits=tuple(splits),
            unfinished=tuple(unfinished),
            unchanged=unchanged,
            missing=None if files else self.missing(),
        )

    def missing(self) -> str | None:
        """Say why there is not a single file, if so: a pattern or a folder may be misspelt."""
        if not self._data_dir.is_dir():
            return f"the data folder `{self._data_dir}` does not exist"
        if self._files():
            return None
        return f"no file below `{self._data_dir}` matches `{self._stream.source.files}`"

    def read(self, split: Split, *, rows_per_commit: int) -> Iterator[Records]:
        """Read one file from the split's start on.

        A Parquet file that needs more than one commit is read through once before the first, so
        that a damaged one is refused whole.

        Raises:
            SourceFileError: If the file cannot be read, or is not of the contract's format.
            SourceChangedError: If what was taken from it is no longer there.

        """
        path = self._data_dir / split.source
        if not path.is_file():
            raise SourceFileError(split.source, "it is not a file")
        size, taken = path.stat().st_size, split.start.bytes
        if size < taken or (taken and self._stream.format == "parquet" and size != taken):
            detail = f"it has {size} bytes, but {taken} were taken from it"
            raise SourceChangedError(split.source, detail)
        if self._stream.format == "parquet":
            return self._parquet(path, split, rows_per_commit=rows_per_commit)
        return self._text(path, split)

    @property
    def _is_complete(self) -> bool:
        """Whether files are complete when they appear."""
        return self._stream.source.complete_files or self._stream.format == "parquet"

    def _waits(self, path: Path, start: Position) -> bool:
        """Whether all that a text file has beyond `start` is a line without its newline.

        Not if what was taken has changed, or the file is no text: reading it will tell.
        """
        if self._is_complete:
            return False
        try:
            with path.open("rb") as handle:
                if not start.bytes and _other_format(handle.read(_HEAD_BYTES)) is not None:
                    return False
                handle.seek(start.bytes)
                if any(b"\n" in block for block in iter(lambda: handle.read(_HEAD_BYTES), b"")):
                    return False
                taken = Fingerprint.of(handle, start.bytes)
        except OSError:
            return False
        return start.fingerprint in ("", str(taken))

    def _files(self) -> dict[str, Path]:
        paths = self._data_dir.glob(self._stream.source.files)
        # below the folder by construction: `relative_to` costs as much as all else of a listing
        skipped = len(self._data_dir.as_posix().rstrip("/")) + 1
        named = {path.as_posix()[skipped:]: path for path in paths}
        return {
            source: named[source] for source in sorted(named) if named[source].name[0] not in "._"
        }

    def _text(self, path: Path, split: Split) -> Iterator[Records]:
        try:
            with path.open("rb") as handle:
                seen = seen_of(os.fstat(handle.fileno()))
                fingerprint = _taken_part(handle, split)
                header = self._open_text(handle, split)
                if header is None:
                    return
                if not split.start.bytes:
                    fingerprint = Fingerprint.of(handle, handle.tell())
                begun = replace(split.start, bytes=handle.tell(), seen=seen)
                blocks = _lines(
                    handle,
                    fingerprint,
                    before=counter_of(path, begun.bytes, source=split.source),
                    read_bytes=self._read_bytes,
                    whole=self._is_complete,
                )
                yield from _batches(
                    blocks, split, replace(begun, fingerprint=str(fingerprint)), header
                )
        except OSError as error:
            raise SourceFileError(split.source, _reason(error)) from error

    def _open_text(self, handle: BinaryIO, split: Split) -> tuple[str, ...] | None:
        """Check the file's first bytes, read a CSV header, and stand at the split's start.

        None if the header is not complete yet.
        """
        handle.seek(0)
        head = handle.read(_HEAD_BYTES)
        _refuse_other_formats(split.source, head, claimed=self._stream.format)
        body = len(_BOM) if head.startswith(_BOM) else 0
        handle.seek(body)
        header: tuple[str, ...] | None = ()
        if self._stream.format == "csv":
            header = _csv_header(handle, self._stream, split.source, whole=self._is_complete)
        elif not split.start.records and head.strip() and not _looks_like_json(head[body:]):
            raise SourceFileError(split.source, "no line of its beginning is a JSON object")
        if split.start.bytes:
            handle.seek(split.start.bytes - 1)
            before = handle.read(1)
            if before != b"\n" and handle.read(1) not in (b"\n", b"\r", b""):
                detail = "its last line was continued after it was taken"
                raise SourceChangedError(split.source, detail)
            handle.seek(split.start.bytes)
        return header

    def _parquet(self, path: Path, split: Split, *, rows_per_commit: int) -> Iterator[Records]:
        try:
            with path.open("rb") as handle:
                status = os.fstat(handle.fileno())
                size, seen = status.st_size, seen_of(status)
                fingerprint = str(Fingerprint.of(handle, size))
                if split.start.fingerprint not in ("", fingerprint):
                    detail = "its content is no longer what was taken from it"
                    raise SourceChangedError(split.source, detail)
                with ParquetBatches(handle, source=split.source) as file:
                    rows, start = file.rows, split.start.records
                    if rows < start:
                        detail = f"it has {rows} records, but {start} were taken from it"
                        raise SourceChangedError(split.source, detail)
                    _check_parquet(file.schema, self._stream, split.source)
                    if rows - start > rows_per_commit:
                        for _ in file.read():
                            pass
                    for offset, batch in file.read(start):
                        end = offset + batch.num_rows
                        done = size if end == rows else 0
                        _refuse_written(handle, status, split.source)
                        position = Position(end, done, fingerprint, seen)
                        yield Records(first_offset=offset, end=position, rows=batch)
                    if rows == start:
                        position = Position(rows, size, fingerprint, seen)
                        yield Records(first_offset=rows, end=position)
        except (pa.ArrowException, OSError, ValueError) as error:  # names that are no text, too
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceFileError(split.source, _reason(error)) from error
            # pyarrow reports damage as either, without an errno
            detail = f"it is not a readable Parquet file ({_first_line(error)})"
            raise SourceFileError(split.source, detail) from error


def _refuse_written(handle: BinaryIO, before: os.stat_result, source: str) -> None:
    """Refuse a file that was written to since it was opened: its batches may be of two contents."""
    now = os.fstat(handle.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise SourceChangedError(source, "it was written to while it was read")


def _taken_part(handle: BinaryIO, split: Split) -> Fingerprint:
    """Read what was taken of a file before, and refuse another content."""
    found = Fingerprint.of(handle, split.start.bytes)
    if split.start.fingerprint and str(found) != split.start.fingerprint:
        detail = f"the {split.start.bytes} bytes that were taken from it are no longer the same"
        raise SourceChangedError(split.source, detail)
    return found


def _batches(
    blocks: Iterator[_Lines], split: Split, begun: Position, header: tuple[str, ...]
) -> Iterator[Records]:
    """Number the records of a text file that begin at `begun`, and leave out those that were taken."""
    taken = split.start.records
    skip = taken if not split.start.bytes else 0
    reached = replace(begun, records=taken - skip)
    waiting: Records | None = None
    for lines, numbers, end, fingerprint in blocks:
        if waiting is not None and lines:
            yield waiting
            waiting = None
        fresh, numbers = lines[skip:], numbers.beyond(skip)
        first_offset = reached.records + len(lines) - len(fresh)
        skip -= len(lines) - len(fresh)
        reached = Position(first_offset + len(fresh), end, fingerprint, begun.seen)
        if waiting is not None:  # only blanks followed: they belong to what came before
            waiting = replace(waiting, end=reached)
        elif fresh:
            waiting = Records(
                first_offset=first_offset,
                end=reached,
                lines=fresh,
                header=header,
                line_numbers=numbers,
            )
    if skip:
        detail = f"it has {taken - skip} records, but {taken} were taken from it"
        raise SourceChangedError(split.source, detail)
    if waiting is not None:
        yield waiting
    elif reached.bytes != split.start.bytes:
        yield Records(first_offset=reached.records, end=reached, header=header)


def _lines(
    handle: BinaryIO,
    fingerprint: Fingerprint,
    *,
    before: Callable[[], int],
    read_bytes: int,
    whole: bool,
) -> Iterator[_Lines]:
    """Split into non-blank lines, with the byte position after them; the last needs a newline.

    A line over `RECORD_BYTES_MAX` is cut just beyond it, which tells the decoder. `fingerprint` is
    that of all before, and the last line of a `whole` file needs no newline.
    """
    rest, rest_bytes, position = b"", 0, handle.tell()
    so_far = str(fingerprint)
    seen = 0
    while block := handle.read(read_bytes):
        position += len(block)
        pieces = block.split(b"\n")
        pieces[0] = rest + pieces[0]
        if len(pieces) > 1:
            rest_bytes = len(pieces[-1])
            fingerprint.update(memoryview(block)[: len(block) - rest_bytes])
            so_far = str(fingerprint)
            fingerprint.update(memoryview(block)[len(block) - rest_bytes :])
        else:
            rest_bytes += len(block)
            fingerprint.update(block)
        rest = pieces.pop()[: RECORD_BYTES_MAX + 1]
        kept = _clean(pieces)
        numbers = LineNumbers(before, places_of(len(kept), pieces, first=seen))
        yield _Lines(kept, numbers, position - rest_bytes, so_far)
        seen += len(pieces)
    if rest and whole:
        kept = _clean([rest])
        numbers = LineNumbers(before, places_of(len(kept), [rest], first=seen))
        yield _Lines(kept, numbers, position, str(fingerprint))


def _clean(pieces: list[bytes]) -> list[bytes]:
    return [
        piece[: RECORD_BYTES_MAX + 1].removesuffix(b"\r")
        for piece in pieces
        if piece and not piece.isspace()
    ]


def _refuse_other_formats(source: str, head: bytes, *, claimed: str) -> None:
    other = _other_format(head)
    if other is not None:
        detail = f"it {other}, not {claimed.upper()}"
        raise SourceFileError(source, detail)


def _other_format(head: bytes) -> str | None:
    """Say what a file is by its first bytes, if it is not text."""
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            return f"is {what}"
    return "holds binary data" if b"\x00" in head else None


def _looks_like_json(head: bytes) -> bool:
    return any(line.lstrip().startswith(b"{") for line in head.split(b"\n"))


def _csv_header(
    handle: BinaryIO, stream: Stream, source: str, *, whole: bool
) -> tuple[str, ...] | None:
    """Read the header; None if it is not there yet, or only a part of it."""
    line = b""
    while not line.strip():
        line = handle.readline(RECORD_BYTES_MAX + 1)
        if not line:
            return () if whole else None  # an empty file: no header, and no records either
    if len(line) > RECORD_BYTES_MAX:
        detail = f"its header is longer than {RECORD_BYTES_MAX} bytes"
        raise SourceFileError(source, detail)
    if not whole and not line.endswith(b"\n"):
        return None
    try:
        header = tuple(split_record(line.decode().rstrip("\r\n")))
    except (UnicodeDecodeError, CsvRecordError) as error:
        detail = f"its first line is not a CSV header ({error})"
        raise SourceFileError(source, detail) from error
    _refuse_repeated(header, source, what="its header")
    _refuse_missing(header, stream, source, what="its header")
    return header


def _check_parquet(schema: pa.Schema, stream: Stream, source: str) -> None:
    _refuse_repeated(schema.names, source, what="its schema")
    _refuse_missing(tuple(schema.names), stream, source, what="it")
    for name, field in stream.fields.items():
        found = schema.get_field_index(name)
        if found >= 0 and not holds(schema.field(found).type, field.type.arrow):
            detail = (
                f"its column `{name}` is `{schema.field(found).type}`, "
                f"which cannot become `{field.type.text}`"
            )
            raise SourceFileError(source, detail)


def _refuse_repeated(names: Iterable[str], source: str, *, what: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        detail = f"{what} has {shown(min(repeated))} twice"
        raise SourceFileError(source, detail)


def _refuse_missing(names: tuple[str, ...], stream: Stream, source: str, *, what: str) -> None:
    for name, field in stream.fields.items():
        if field.required and name not in names:
            shown = ", ".join(f"`{other}`" for other in names[:20])
            detail = f"{what} has no column `{name}`, which is required; there are {shown}"
            raise SourceFileError(source, detail)


def _reason(error: OSError) -> str:
    return f"it cannot be read ({error.strerror or _first_line(error)})"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
