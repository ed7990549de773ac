"""A sample of files for a draft: the beginning, the middle and the end of each, in whole lines."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from headrace.errors import DraftError, SourceFileError
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.compressed import compression_of, plain_content
from headrace.ingest.sources.file_formats import (
    BOM,
    HEAD_BYTES,
    looks_like_json,
    other_format,
    wide_encoding,
)
from headrace.ingest.sources.json_documents import JsonDocuments, begins_document
from headrace.ingest.sources.parquet_batches import ParquetBatches
from headrace.ingest.sources.quoted_records import QuotedRecords
from headrace.ingest.sources.transcoded import transcoded

FILES_MAX = 20
_PIECE_BYTES = 256 * 1024  # of each of three places of a file
_PARQUET_ROWS = 5_000
_PLAIN_BYTES_MAX = 16 * 1024 * 1024  # of a compressed file, whose end is far


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was read of some files: lines, or rows of Parquet files; `heads` are first lines.

    Of a topic it has `lines`: the values, without the frames that `framed` says they have; of Avro
    values `records`, with their schemas. `tombstones` counts records without a value, which are left out. `encoding` is given where lines are
    turned to UTF-8 from it; `documents` are JSON files whose records are no lines, and `quoted` CSV
    files with newlines in quotes.
    """

    format: str
    files: tuple[Path, ...]
    compression: str | None = None
    heads: tuple[bytes, ...] = ()
    lines: tuple[bytes, ...] = ()
    rows: tuple[pa.RecordBatch, ...] = ()
    records: tuple[Records, ...] = ()
    topic: str | None = None
    framed: bool = False
    tombstones: int = 0
    encoding: str | None = None
    documents: bool = False
    quoted: bool = False

    @property
    def about(self) -> str:
        """What to call it in errors: the topic, or the first file."""
        return str(self.files[0]) if self.topic is None else self.topic


def sample_of(paths: Sequence[Path]) -> Sample:
    """Read a sample of up to 20 of the files, spread over all of them.

    Raises:
        DraftError: If there is none, or they are of different or unreadable formats.

    """
    if not paths:
        msg = "no file matches"
        raise DraftError(None, detail=msg)
    step = -(-len(paths) // FILES_MAX)
    chosen = tuple(paths[::step])
    kinds = {path: _kind_of(path) for path in chosen}
    kind = kinds[chosen[0]]
    other = next((path for path, found in kinds.items() if found != kind), None)
    if other is not None:
        detail = f"it is {kinds[other].said}, and `{chosen[0].name}` is {kind.said}"
        raise DraftError(str(other), detail=detail)
    if kind.format == "parquet":
        rows = tuple(batch for path in chosen for batch in _parquet_rows(path))
        return Sample(format=kind.format, files=chosen, rows=rows)
    heads, lines = list[bytes](), list[bytes]()
    for path in chosen:
        found = list(_lines_of(path, kind))
        heads += found[:1]
        lines += found[1:]
    if not heads:
        raise DraftError(str(chosen[0]), detail="the files are empty")
    return Sample(
        format=kind.format,
        files=chosen,
        compression=kind.compression,
        heads=tuple(heads),
        lines=tuple(lines),
        encoding=kind.encoding,
        documents=kind.documents,
    )


def with_quoted_newlines(sample: Sample, encoding: str, delimiter: str) -> Sample:
    """Read the beginnings of CSV files again, as records whose quotes may hold newlines.

    Raises:
        DraftError: If a file cannot be read any more.

    """
    heads, lines = list[bytes](), list[bytes]()
    for path in sample.files:
        joined = QuotedRecords(delimiter=delimiter.encode(), comment=b"")
        plain = _content(path, _Kind("csv", sample.compression, encoding))
        found = [each.content for each in joined.add(plain.split(b"\n"), first=0)]
        found += [each.content for each in joined.end()]
        found = [each.removesuffix(b"\r") for each in found]
        heads += found[:1]
        lines += found[1:]
    return replace(sample, heads=tuple(heads), lines=tuple(lines), encoding=encoding, quoted=True)


class _Kind(NamedTuple):
    """What a file is."""

    format: str
    compression: str | None = None
    encoding: str | None = None
    documents: bool = False

    @property
    def said(self) -> str:
        packed = "" if self.compression is None else f" in {self.compression}"
        coded = "" if self.encoding is None else f" in {self.encoding}"
        return f"{self.format}{packed}{coded}"


def _kind_of(path: Path) -> _Kind:
    try:
        with path.open("rb") as opened:
            compression = compression_of(opened.read(8))
        with plain_content(path, compression, source=path.name) as opened:
            head = opened.read(HEAD_BYTES)
    except SourceFileError as error:
        raise DraftError(str(path), detail=error.detail) from error
    except OSError as error:
        raise DraftError(str(path), detail=f"it cannot be read: {error.strerror}") from error
    if head.startswith(b"PAR1"):
        if compression is not None:
            raise DraftError(str(path), detail=f"it is a Parquet file in {compression}; unpack it")
        return _Kind("parquet")
    encoding = wide_encoding(head)
    if encoding is not None:
        return _Kind("csv", compression, encoding)
    other = other_format(head)
    if other is not None:
        raise DraftError(str(path), detail=f"it {other}, which cannot be read so far")
    head = head.removeprefix(BOM)
    if begins_document(head):
        return _Kind("json", compression, documents=True)
    return _Kind("json" if looks_like_json(head) else "csv", compression)


def _parquet_rows(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with path.open("rb") as handle, ParquetBatches(handle, source=str(path)) as opened:
            for _, batch in opened.read(0):
                yield batch.slice(0, _PARQUET_ROWS)
                break
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DraftError(str(path), detail=f"it cannot be read: {error}") from error


def _lines_of(path: Path, kind: _Kind) -> Iterator[bytes]:
    if kind.documents:
        yield from _documents(path, kind)
        return
    if kind.compression is None and kind.encoding is None:
        with path.open("rb") as opened:
            yield from _lines(opened, os.fstat(opened.fileno()).st_size)
        return
    plain = _content(path, kind)
    yield from _lines(io.BytesIO(plain), len(plain))


def _documents(path: Path, kind: _Kind) -> Iterator[bytes]:
    left = _PLAIN_BYTES_MAX
    try:
        with plain_content(path, kind.compression, source=path.name) as opened:
            if opened.read(len(BOM)) != BOM:
                opened.seek(0)
            cut = JsonDocuments(opened, source=path.name, read_bytes=_PIECE_BYTES)
            for record in cut.records():
                yield record.content
                left -= len(record.content)
                if left < 0:
                    return
    except SourceFileError as error:
        raise DraftError(str(path), detail=error.detail) from error


def _content(path: Path, kind: _Kind) -> bytes:
    """Read the beginning of a file as UTF-8 without compression, in whole lines."""
    try:
        with plain_content(path, kind.compression, source=path.name) as opened:
            text: BinaryIO = opened
            if kind.encoding is not None:
                decoded = transcoded(opened, kind.encoding, source=path.name)
                text = io.BufferedReader(decoded)  # pyright: ignore[reportArgumentType]
            plain = text.read(_PLAIN_BYTES_MAX)
            return plain[: plain.rfind(b"\n") + 1] if text.read(1) else plain
    except SourceFileError as error:
        raise DraftError(str(path), detail=error.detail) from error


def _lines(opened: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the first line, and lines of three places; a line that a place cuts is left out."""
    first = opened.read(_PIECE_BYTES).removeprefix(BOM)
    middle = (size - _PIECE_BYTES) // 2
    places = [max(_PIECE_BYTES, middle), max(_PIECE_BYTES, size - _PIECE_BYTES)]
    whole = size <= _PIECE_BYTES
    yield from _clean(first.split(b"\n") if whole else first.split(b"\n")[:-1])
    end = _PIECE_BYTES
    for place in places:
        start = max(place, end)
        if start < size:
            yield from _clean(_from(opened, start))
            end = start + _PIECE_BYTES


def _from(opened: BinaryIO, place: int) -> list[bytes]:
    opened.seek(place)
    piece = opened.read(_PIECE_BYTES)
    is_end = len(piece) < _PIECE_BYTES or not opened.read(1)
    lines = piece.split(b"\n")
    return lines[1:] if is_end else lines[1:-1]


def _clean(lines: Sequence[bytes]) -> Iterator[bytes]:
    return (line.removesuffix(b"\r") for line in lines if line and not line.isspace())
