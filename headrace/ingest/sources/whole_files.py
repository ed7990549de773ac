"""Reads text files whose bytes are no lines: compressed, of another encoding, or records of many lines.

Such a file is complete when it appears. It is read from its beginning each time, and counts as taken at
its end: bytes and fingerprint of positions are those of the file, as of Parquet files.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headrace.definitions.stream import Stream
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest.sources.base import RECORD_BYTES_MAX, Position, Records, consecutive
from headrace.ingest.sources.compressed import plain_content
from headrace.ingest.sources.file_formats import BOM, HEAD_BYTES, reason_of
from headrace.ingest.sources.file_splits import Split, files_of
from headrace.ingest.sources.file_state import refuse_written, seen_of
from headrace.ingest.sources.fingerprint import Fingerprint
from headrace.ingest.sources.json_documents import JsonDocuments
from headrace.ingest.sources.kept_text import KeptText
from headrace.ingest.sources.line_numbers import LineNumbers
from headrace.ingest.sources.quoted_records import Numbered, QuotedRecords
from headrace.ingest.sources.text_files import Cut, Lines, records_of
from headrace.ingest.sources.transcoded import refuse_narrow, transcoded

_CHECK_BYTES = 1024 * 1024


@contextmanager
def text_content(path: Path, stream: Stream, *, source: str) -> Generator[BinaryIO]:
    """Open the text of a file as lines can be cut from it: decompressed, and UTF-8 if it has to be.

    Raises:
        SourceFileError: While it is open too: if the content is damaged or of another form than declared.
        OSError: If the file cannot be opened.

    """
    with plain_content(path, files_of(stream).compression, source=source) as handle:
        if not stream.csv.is_cut_as_utf8:
            yield handle
            return
        refuse_narrow(handle.read(HEAD_BYTES), stream.csv.encoding, source=source)
        decoded = transcoded(handle, stream.csv.encoding, source=source)
        with BufferedReader(decoded, _CHECK_BYTES) as text:
            yield text


def read_whole(path: Path, split: Split, stream: Stream, *, read_bytes: int) -> Generator[Records]:
    """Read the records of one file, without those taken before; see `read_text`.

    The file is read through once before, so that a damaged one is refused whole. A text that has to be
    made, by decompression or from another encoding, is kept from then on disk if it has room.

    Raises:
        SourceFileError: If the file cannot be read, is damaged, or is not of the contract's format.
        SourceChangedError: If what was taken from it is no longer there.

    """
    cut = cut_of(stream, source=split.source, read_bytes=read_bytes)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            end = Position(0, status.st_size, seen=seen_of(status))
            end = replace(end, fingerprint=str(Fingerprint.of(file, status.st_size)))
            if split.start.fingerprint not in ("", end.fingerprint):
                detail = "its content is no longer what was taken from it"
                raise SourceChangedError(split.source, detail)
            start = replace(split, start=Position(split.start.offset))
            with _checked(path, stream, split.source) as opened, opened() as handle:
                found = records_of(
                    handle,
                    start,
                    stream,
                    seen=end.seen,
                    opened=opened,
                    read_bytes=read_bytes,
                    cut=cut,
                )
                for records in _at_ends_of(found, end, split):
                    refuse_written(file, status, split.source)
                    yield records
    except OSError as error:
        raise SourceFileError(split.source, reason_of(error)) from error


@contextmanager
def _checked(
    path: Path, stream: Stream, source: str
) -> Generator[Callable[[], AbstractContextManager[BinaryIO]]]:
    """Read a file to its end, if that can tell that it is damaged; give what opens its text.

    Raises:
        SourceFileError: If it is.

    """
    with ExitStack() as kept:
        opened: Callable[[], AbstractContextManager[BinaryIO]] = partial(path.open, "rb")
        if stream.csv.is_cut_as_utf8 or files_of(stream).compression is not None:
            opened = partial(text_content, path, stream, source=source)
            with opened() as handle:
                text = kept.enter_context(KeptText.of(handle))
            opened = opened if text is None else text.opened
        if stream.json_form.layout == "documents":
            with opened() as handle:
                handle.seek(len(BOM) if handle.read(len(BOM)) == BOM else 0)
                cut = JsonDocuments(handle, source=source, read_bytes=_CHECK_BYTES)
                deque(cut.records(), maxlen=0)
        yield opened


def cut_of(stream: Stream, *, source: str, read_bytes: int) -> Cut | None:
    """Return what cuts files into records that may have several lines; None where lines are records."""
    if stream.json_form.layout == "documents":

        def documents(handle: BinaryIO, before: Callable[[], int]) -> Iterator[Lines]:
            cut = JsonDocuments(handle, source=source, read_bytes=read_bytes)
            return _in_blocks(cut.records(), before, read_bytes)

        return documents
    if stream.csv.quoted_newlines:

        def quoted(handle: BinaryIO, before: Callable[[], int]) -> Iterator[Lines]:
            form = stream.csv
            joined = QuotedRecords(delimiter=form.delimiter.encode(), comment=form.comment_bytes)
            return _in_blocks(_joined(handle, joined), before, read_bytes)

        return quoted
    return None


def _joined(handle: BinaryIO, records: QuotedRecords) -> Iterator[Numbered]:
    for number, line in enumerate(_bounded(handle)):
        yield from records.add((line,), first=number)
    yield from records.end()


def _bounded(handle: BinaryIO) -> Iterator[bytes]:
    """Yield lines without their newlines; of one beyond the limit its beginning, which is too long."""
    while line := handle.readline(RECORD_BYTES_MAX + 2):
        is_whole = line.endswith(b"\n")
        while not is_whole and (more := handle.readline(RECORD_BYTES_MAX)):
            is_whole = more.endswith(b"\n")
        yield line.removesuffix(b"\n")


def _in_blocks(
    records: Iterator[Numbered], before: Callable[[], int], read_bytes: int
) -> Iterator[Lines]:
    """Group records to blocks of about `read_bytes`. Places in the file are not known, and not needed."""
    lines, numbers, size = list[bytes](), list[int](), 0
    for number, record in records:
        lines.append(record.removesuffix(b"\r")[: RECORD_BYTES_MAX + 1])
        numbers.append(number)
        size += len(record) + 1
        if size >= read_bytes:
            yield Lines(lines, LineNumbers(before, np.array(numbers, dtype=np.int64)), size, "")
            lines, numbers, size = list[bytes](), list[int](), 0
    if lines:
        yield Lines(lines, LineNumbers(before, np.array(numbers, dtype=np.int64)), size, "")


def _at_ends_of(found: Iterable[Records], end: Position, split: Split) -> Iterator[Records]:
    """Give batches positions in the compressed file, which is taken with the last one."""
    waiting: Records | None = None
    for records in found:
        if waiting is not None:
            yield replace(waiting, end=replace(end, offset=waiting.end.offset, bytes=0))
        waiting = records
    if waiting is None:  # of a file without a record: it is empty, or a header
        waiting = Records(
            partition=split.partition,
            offsets=consecutive(split.start.offset, 0),
            end=split.start,
            times=split.source_time,
        )
    yield replace(waiting, end=replace(end, offset=waiting.end.offset))
