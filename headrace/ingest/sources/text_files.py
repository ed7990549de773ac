"""Reads CSV and JSON files: cut into lines, in blocks of bounded size.

A newline ends a record, and blank lines are not records. A last line without a newline waits, unless
the contract says that files are complete when they appear.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from headrace.definitions.stream import Stream
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest.sources.base import RECORD_BYTES_MAX, Position, Records, Seen, consecutive
from headrace.ingest.sources.file_formats import (
    BOM,
    HEAD_BYTES,
    csv_header,
    reason_of,
    refuse_no_json_lines,
    refuse_other_formats,
)
from headrace.ingest.sources.file_splits import Split, files_of
from headrace.ingest.sources.file_state import seen_of
from headrace.ingest.sources.fingerprint import Fingerprint
from headrace.ingest.sources.line_block import LineBlock
from headrace.ingest.sources.line_numbers import LineNumbers, counter_of

_SPACES = np.frombuffer(b" \t\n\r\x0b\x0c", dtype=np.uint8)


class Lines(NamedTuple):
    """The lines of one block, where they end, and the fingerprint of all bytes before that."""

    lines: Sequence[bytes]
    numbers: LineNumbers
    end: int
    fingerprint: str


# cuts what follows in an open file into blocks; the function counts the lines before
Cut = Callable[[BinaryIO, Callable[[], int]], Iterator[Lines]]


def read_text(path: Path, split: Split, stream: Stream, *, read_bytes: int) -> Generator[Records]:
    """Read the lines of one file from the split's start on.

    Args:
        path: The file.
        split: How far it is taken.
        stream: The contract.
        read_bytes: The size of a block; its lines are one micro-batch.

    Raises:
        SourceFileError: If the file cannot be read, or is not of the contract's format.
        SourceChangedError: If what was taken from it is no longer there.

    """
    try:
        with path.open("rb") as handle:
            seen = seen_of(os.fstat(handle.fileno()))
            yield from records_of(
                handle,
                split,
                stream,
                seen=seen,
                opened=lambda: path.open("rb"),
                read_bytes=read_bytes,
            )
    except OSError as error:
        raise SourceFileError(split.source, reason_of(error)) from error


def records_of(
    handle: BinaryIO,
    split: Split,
    stream: Stream,
    *,
    seen: Seen,
    opened: Callable[[], AbstractContextManager[BinaryIO]],
    read_bytes: int,
    cut: Cut | None = None,
) -> Iterator[Records]:
    """Read what an open file has beyond the split's start.

    Args:
        handle: The open file.
        split: How far it is taken.
        stream: The contract.
        seen: Of the file, for positions.
        opened: Opens it once more.
        read_bytes: The size of a block.
        cut: Cuts it into records that are no lines.

    Raises:
        SourceFileError: If the file is not of the contract's format.
        SourceChangedError: If what was taken from it is no longer there.

    """
    is_complete = files_of(stream).are_complete
    fingerprint = _taken_part(handle, split)
    header = _open_text(handle, split, stream, is_complete=is_complete)
    if header is None:
        return
    if not split.start.bytes:
        fingerprint = Fingerprint.of(handle, handle.tell())
    begun = replace(split.start, bytes=handle.tell(), seen=seen)
    before = counter_of(opened, begun.bytes, source=split.source)
    blocks = (
        _lines(
            handle,
            fingerprint,
            before=before,
            read_bytes=read_bytes,
            whole=is_complete,
            comment=stream.csv.comment_bytes,
        )
        if cut is None
        else cut(handle, before)
    )
    yield from _batches(blocks, split, replace(begun, fingerprint=str(fingerprint)), header)


def _open_text(
    handle: BinaryIO, split: Split, stream: Stream, *, is_complete: bool
) -> tuple[str, ...] | None:
    """Check the file's first bytes, read a CSV header, and seek to the split's start.

    Returns None if the header is not complete yet.
    """
    handle.seek(0)
    head = handle.read(HEAD_BYTES)
    refuse_other_formats(split.source, head, claimed=stream.format)
    body = len(BOM) if head.startswith(BOM) else 0
    handle.seek(body)
    header: tuple[str, ...] | None = ()
    if stream.format == "csv":
        header = csv_header(handle, stream, split.source, whole=is_complete)
    elif stream.json_form.layout == "lines" and not split.start.offset:
        refuse_no_json_lines(head[body:], split.source)
    if split.start.bytes:
        handle.seek(split.start.bytes - 1)
        before = handle.read(1)
        if before != b"\n" and handle.read(1) not in (b"\n", b"\r", b""):
            detail = "its last line was continued after it was taken"
            raise SourceChangedError(split.source, detail)
        handle.seek(split.start.bytes)
    return header


def _taken_part(handle: BinaryIO, split: Split) -> Fingerprint:
    """Read the bytes that were taken of a file before, and refuse other content."""
    found = Fingerprint.of(handle, split.start.bytes)
    if split.start.fingerprint and str(found) != split.start.fingerprint:
        detail = f"the {split.start.bytes} bytes that were taken from it are no longer the same"
        raise SourceChangedError(split.source, detail)
    return found


def _batches(
    blocks: Iterator[Lines], split: Split, begun: Position, header: tuple[str, ...]
) -> Iterator[Records]:
    """Number the records of a text file from `begun` on, and leave out those already taken."""
    taken = split.start.offset
    skip = taken if not split.start.bytes else 0
    reached = replace(begun, offset=taken - skip)
    waiting: Records | None = None
    for lines, numbers, end, fingerprint in blocks:
        if waiting is not None and lines:
            yield waiting
            waiting = None
        fresh, numbers = lines[skip:], numbers.beyond(skip)
        first_offset = reached.offset + len(lines) - len(fresh)
        skip -= len(lines) - len(fresh)
        reached = Position(first_offset + len(fresh), end, fingerprint, begun.seen)
        if waiting is not None:  # only blank lines followed: they belong to the batch before
            waiting = replace(waiting, end=reached)
        elif fresh:
            waiting = Records(
                partition=split.partition,
                offsets=consecutive(first_offset, len(fresh)),
                end=reached,
                times=split.source_time,
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
        yield Records(
            partition=split.partition,
            offsets=consecutive(reached.offset, 0),
            end=reached,
            times=split.source_time,
            header=header,
        )


def _lines(
    handle: BinaryIO,
    fingerprint: Fingerprint,
    *,
    before: Callable[[], int],
    read_bytes: int,
    whole: bool,
    comment: bytes,
) -> Iterator[Lines]:
    """Split into lines that are records, with the byte position after them; the last needs a newline.

    A line over `RECORD_BYTES_MAX` is cut one byte beyond it, by which the decoder recognizes it. While
    its newline is not found, one more is held: the last may be a carriage return that is no part of it.
    `fingerprint` is that of all bytes before; the last line of a `whole` file needs no newline.
    """
    rest, rest_bytes, position = b"", 0, handle.tell()
    so_far = str(fingerprint)
    seen = 0
    while block := handle.read(read_bytes):
        position += len(block)
        cut = block.rfind(b"\n") + 1
        if not cut:
            fingerprint.update(block)
            rest, rest_bytes = (rest + block)[: RECORD_BYTES_MAX + 2], rest_bytes + len(block)
            continue
        fingerprint.update(memoryview(block)[:cut])
        so_far = str(fingerprint)
        fingerprint.update(memoryview(block)[cut:])
        lines = _cut(rest + block[:cut])
        rest, rest_bytes = block[cut:][: RECORD_BYTES_MAX + 2], len(block) - cut
        kept, places = _records_in(lines, first=seen, comment=comment)
        yield Lines(kept, LineNumbers(before, places), position - rest_bytes, so_far)
        seen += len(lines)
    if rest and whole:
        kept, places = _records_in(_cut(rest + b"\n"), first=seen, comment=comment)
        yield Lines(kept, LineNumbers(before, places), position, str(fingerprint))


def _cut(text: bytes) -> LineBlock:
    """Cut text into lines, without the carriage returns before newlines."""
    return LineBlock.of_text(text.replace(b"\r\n", b"\n") if b"\r" in text else text)


def _records_in(
    lines: LineBlock, *, first: int, comment: bytes
) -> tuple[Sequence[bytes], np.ndarray]:
    """Return the lines that are records, and their numbers from `first` on."""
    begin = lines.codes[lines.starts]
    may_be_none = np.isin(begin, _SPACES) | (begin == comment[0] if comment else False)
    if lines.lengths.max() <= RECORD_BYTES_MAX and not may_be_none.any():
        return lines, np.arange(first, first + len(lines))
    pieces = list(lines)
    kept = [
        at
        for at, piece in enumerate(pieces)
        if piece and not piece.isspace() and not (comment and piece.startswith(comment))
    ]
    records = [pieces[at][: RECORD_BYTES_MAX + 1] for at in kept]
    return records, np.array(kept, dtype=np.int64) + first
