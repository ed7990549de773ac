"""A sample of files for a draft: the beginning, the middle and the end of each, in whole lines."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from headrace.errors import DraftError, SourceFileError
from headrace.ingest.sources.compressed import compression_of, plain_content
from headrace.ingest.sources.file_formats import BOM, HEAD_BYTES, looks_like_json, other_format
from headrace.ingest.sources.parquet_batches import ParquetBatches

FILES_MAX = 20
_PIECE_BYTES = 256 * 1024  # of each of three places of a file
_PARQUET_ROWS = 5_000
_PLAIN_BYTES_MAX = 16 * 1024 * 1024  # of a compressed file, whose end is far


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was read of some files: lines, or rows of Parquet files; `heads` are first lines.

    Of a topic it has `lines`: the values, without the frames that `framed` says they have.
    `tombstones` counts records without a value, which are left out.
    """

    format: str
    files: tuple[Path, ...]
    compression: str | None = None
    heads: tuple[bytes, ...] = ()
    lines: tuple[bytes, ...] = ()
    rows: tuple[pa.RecordBatch, ...] = ()
    topic: str | None = None
    framed: bool = False
    tombstones: int = 0

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
    formats = {path: _format_of(path) for path in chosen}
    format_, compression = formats[chosen[0]]
    other = next((path for path, found in formats.items() if found != formats[chosen[0]]), None)
    if other is not None:
        first = _said(format_, compression)
        detail = f"it is {_said(*formats[other])}, and `{chosen[0].name}` is {first}"
        raise DraftError(str(other), detail=detail)
    if format_ == "parquet":
        rows = tuple(batch for path in chosen for batch in _parquet_rows(path))
        return Sample(format=format_, files=chosen, rows=rows)
    heads, lines = list[bytes](), list[bytes]()
    for path in chosen:
        found = list(_lines_of(path, compression))
        heads += found[:1]
        lines += found[1:]
    if not heads:
        raise DraftError(str(chosen[0]), detail="the files are empty")
    return Sample(
        format=format_,
        files=chosen,
        compression=compression,
        heads=tuple(heads),
        lines=tuple(lines),
    )


def _said(format_: str, compression: str | None) -> str:
    return format_ if compression is None else f"{format_} in {compression}"


def _format_of(path: Path) -> tuple[str, str | None]:
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
        return "parquet", None
    other = other_format(head)
    if other is not None:
        raise DraftError(str(path), detail=f"it {other}, which cannot be read so far")
    return "json" if looks_like_json(head.removeprefix(BOM)) else "csv", compression


def _parquet_rows(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with path.open("rb") as handle, ParquetBatches(handle, source=str(path)) as opened:
            for _, batch in opened.read(0):
                yield batch.slice(0, _PARQUET_ROWS)
                break
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DraftError(str(path), detail=f"it cannot be read: {error}") from error


def _lines_of(path: Path, compression: str | None) -> Iterator[bytes]:
    if compression is None:
        with path.open("rb") as opened:
            yield from _lines(opened, os.fstat(opened.fileno()).st_size)
        return
    try:
        with plain_content(path, compression, source=path.name) as opened:
            plain = opened.read(_PLAIN_BYTES_MAX)
            if opened.read(1):
                plain = plain[: plain.rfind(b"\n") + 1]
    except SourceFileError as error:
        raise DraftError(str(path), detail=error.detail) from error
    yield from _lines(io.BytesIO(plain), len(plain))


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
