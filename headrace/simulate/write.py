"""Sinks of records: an interface for later brokers, and files as a log shipper writes them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
import pyarrow as pa

from headrace.simulate.plan import SECOND_US
from headrace.simulate.render import Form


@dataclass(frozen=True, kw_only=True)
class Landing:
    """Consecutive records written to one file; `offset` is the position of the first."""

    source: str
    offset: int
    rows: int


class Sink(Protocol):
    """Receives the records of a stream in order of arrival."""

    def write(self, form: Form, lines: pa.Array, received_at: np.ndarray) -> Sequence[Landing]:
        """Append records; the landings cover them in order."""
        ...

    def close(self) -> None:
        """Make everything written durable and visible."""
        ...


@dataclass
class _OpenFile:
    index: int
    source: str
    handle: BinaryIO
    rows: int = 0


class FileSink:
    """One file per stream and landing interval, named by the interval's start.

    Names sort by time, so that the order of files, and of rows in them, is the order of arrival.
    Records from before the first or after the last interval go to the first or the last file. An
    interval without records has no file.
    """

    def __init__(self, folder: Path, *, start_us: int, end_us: int, landing_us: int) -> None:
        self._folder, self._start_us, self._landing_us = folder, start_us, landing_us
        self._last = (end_us - start_us - 1) // landing_us
        self._open: dict[str, _OpenFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, form: Form, lines: pa.Array, received_at: np.ndarray) -> Sequence[Landing]:
        """Append records; `received_at` must not decrease from call to call."""
        index = np.clip((received_at - self._start_us) // self._landing_us, 0, self._last)
        bounds = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(lines)]
        landings: list[Landing] = []
        for first, end in itertools.pairwise(bounds):
            if first == end:
                continue
            file = self._file(form, int(index[first]))
            file.handle.write(text_of(lines.slice(first, end - first)))
            landings.append(Landing(source=file.source, offset=file.rows, rows=end - first))
            file.rows += end - first
        return landings

    def close(self) -> None:
        """Close the last file of every stream."""
        while self._open:
            self._open.popitem()[1].handle.close()

    def _file(self, form: Form, index: int) -> _OpenFile:
        current = self._open.get(form.stream)
        if current is not None and current.index == index:
            return current
        if current is not None:
            current.handle.close()
        start_us = self._start_us + index * self._landing_us
        source = f"{form.stream}/{stamp(start_us)}.{form.suffix}"
        path = self._folder / source
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("xb")
        handle.write(form.header.encode())
        self._open[form.stream] = _OpenFile(index=index, source=source, handle=handle)
        return self._open[form.stream]


def stamp(time_us: int) -> str:
    """Format a whole second so that names sort by time: `20260105T010000Z`."""
    return datetime.fromtimestamp(time_us // SECOND_US, tz=UTC).strftime("%Y%m%dT%H%M%SZ")


def text_of(lines: pa.Array) -> memoryview:
    """Return the bytes of all lines, concatenated, without a copy."""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)
    first, last = int(ends[lines.offset]), int(ends[lines.offset + len(lines)])
    return memoryview(data)[first:last]


def write_declarations(folder: Path, files: Mapping[str, str]) -> None:
    """Write the lake's declarations: relative path to text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
