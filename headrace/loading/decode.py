"""Decoding: row groups of Parquet files into the numbers of one window, checked page by page."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlparse

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headrace.datasets.files import PlannedFile
from headrace.errors import CorruptFileError, NullValueError
from headrace.loading.columns import Ragged, as_floats, as_ids, as_ragged, one_array, take_ragged
from headrace.loading.plan import Segment
from headrace.loading.spec import FeatureSpec, is_text
from headrace.tables.footer import read_footer

_FIELD_ID = b"PARQUET:field_id"
_FOOTERS_KEPT = 64  # a footer of 64 columns and 8 row groups is about 100 KB
_FILL_ROWS = 2_048  # rows filled at a time: a block of 60 columns stays in the L2 cache


@dataclass(frozen=True)
class Block:
    """Columns of one number type: apart, as decoded, or as rows of a matrix, when shuffled."""

    columns: tuple[NDArray[Any], ...] | None
    rows: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The decoded rows of one window, in epoch order.

    `floats` holds dense, then label, then weight columns; `ids` the sparse columns.
    """

    rows: int
    floats: Block
    ids: Block
    ragged: tuple[Ragged, ...]
    keys: pa.Array | None
    cpu_ns: int


@dataclass(frozen=True)
class _Footer:
    metadata: pq.FileMetaData
    names: dict[str, str]  # column of the table -> its name in this file; absent if older than it


@dataclass(frozen=True)
class _Part:
    floats: list[NDArray[Any]]
    ids: list[NDArray[np.int64]]
    ragged: list[Ragged]
    keys: pa.Array | None


class WindowReader:
    """Reads windows of one file plan; safe to use from several threads at once.

    A column is found by its Iceberg field id where file and table carry one, else by name, so a
    rename does not lose it. A column that a file is too old to have reads as null.
    """

    def __init__(
        self, files: Sequence[PlannedFile], *, spec: FeatureSpec, schema: pa.Schema
    ) -> None:
        self._files, self._spec, self._schema = files, spec, schema
        self._dictionaries = [
            name for name in spec.sparse if files and is_text(schema.field(name).type)
        ]
        self._footers: OrderedDict[str, _Footer] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, segments: Sequence[Segment], order: NDArray[np.int64] | None) -> Window:
        """Decode the segments end to end, then put row `order[i]` at place i.

        Raises:
            CorruptFileError: If a file is missing or damaged, or no longer the planned one.
            NullValueError: If a label, weight or key is null.

        """
        started = time.thread_time_ns()
        parts = [self._part(segment) for segment in segments]
        ragged = [_join_ragged(columns) for columns in zip(*(p.ragged for p in parts), strict=True)]
        keys = [part.keys for part in parts if part.keys is not None]
        key = pa.concat_arrays(keys) if keys else None
        if order is not None:
            ragged = [take_ragged(column, order) for column in ragged]
            key = None if key is None else key.take(pa.array(order))
        return Window(
            rows=sum(segment.stop - segment.start for segment in segments),
            floats=_block([part.floats for part in parts], np.dtype(np.float32), order),
            ids=_block([part.ids for part in parts], np.dtype(np.int64), order),
            ragged=tuple(ragged),
            keys=key,
            cpu_ns=time.thread_time_ns() - started,
        )

    def _part(self, segment: Segment) -> _Part:
        file, spec = self._files[segment.file], self._spec
        columns = self._columns(file, segment)

        def required(
            name: str, convert: Callable[[pa.Array], NDArray[Any]] = as_floats
        ) -> NDArray[Any]:
            if columns[name].null_count:
                raise NullValueError(name, rows=columns[name].null_count, path=file.path)
            return convert(columns[name])

        needed = [*spec.label, *([spec.weight] if spec.weight else [])]
        key = None
        if spec.key is not None:
            required(spec.key, lambda _: np.empty(0))
            key = columns[spec.key]
            key = key.dictionary_decode() if spec.key in self._dictionaries else key
        return _Part(
            floats=[
                *(
                    as_floats(columns[name], missing=spec.missing_number(name))
                    for name in spec.dense
                ),
                *(required(name) for name in needed),
            ],
            ids=[as_ids(columns[name], missing=spec.missing_id(name)) for name in spec.sparse],
            ragged=[
                as_ragged(columns[name], missing=spec.missing_id(name)) for name in spec.sequence
            ],
            keys=key,
        )

    def _columns(self, file: PlannedFile, segment: Segment) -> dict[str, pa.Array]:
        with reading(file.path), open_data_file(file.path) as source:
            footer = self._footer(file, source)
            dictionaries = [
                footer.names[name] for name in self._dictionaries if name in footer.names
            ]
            parquet = pq.ParquetFile(
                source,
                metadata=footer.metadata,
                page_checksum_verification=True,
                read_dictionary=dictionaries,
                pre_buffer=False,
            )
            table = parquet.read_row_group(
                segment.row_group,
                columns=[footer.names[name] for name in self._spec.columns if name in footer.names],
                use_threads=False,
            )
        # A page's checksum does not cover its header: one flipped bit makes Arrow skip the page.
        planned = file.row_group_rows[segment.row_group]
        for column in table.columns:
            if len(column) != planned:
                detail = f"a column of a row group holds {len(column)} of its {planned} rows"
                raise CorruptFileError(file.path, detail)
        rows = segment.stop - segment.start
        found: dict[str, pa.Array] = {}
        for name in self._spec.columns:
            if name in footer.names:
                column = table.column(footer.names[name]).slice(segment.start, rows)
                found[name] = one_array(column)
            else:
                found[name] = pa.nulls(rows, self._schema.field(name).type)
        return found

    def _footer(self, file: PlannedFile, source: pa.NativeFile) -> _Footer:
        with self._lock:
            footer = self._footers.get(file.path)
        if footer is None:
            metadata = read_footer(source, path=file.path)
            groups = tuple(metadata.row_group(at).num_rows for at in range(metadata.num_row_groups))
            if groups != file.row_group_rows:
                detail = f"its row groups hold {groups} rows, the plan says {file.row_group_rows}"
                raise CorruptFileError(file.path, detail)
            names = _names_in_file(self._spec, self._schema, metadata.schema.to_arrow_schema())
            footer = _Footer(metadata, names)
            with self._lock:
                self._footers[file.path] = footer
                if len(self._footers) > _FOOTERS_KEPT:
                    self._footers.popitem(last=False)
        return footer


@contextmanager
def reading(path: str) -> Generator[None]:
    """Turn what a damaged or missing file raises into `CorruptFileError`."""
    try:
        yield
    except FileNotFoundError as error:
        detail = "it is not there; was its snapshot expired or the file moved?"
        raise CorruptFileError(path, detail) from error
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise CorruptFileError(path, str(error)) from error


def open_data_file(path: str) -> pa.NativeFile:
    """Open a file by the address Iceberg recorded for it: a plain path or a URI."""
    parsed = urlparse(path)
    if parsed.scheme in ("", "file"):
        return pa.OSFile(parsed.path if parsed.scheme else path)
    filesystem, inner = cast("tuple[Any, str]", pafs.FileSystem.from_uri(path))
    return filesystem.open_input_file(inner)


def read_schema(files: Sequence[PlannedFile]) -> pa.Schema:
    """The columns of a plan: those of its last file, then those only its first file still has.

    Two footers are enough to refuse a wrong spec before anything is decoded, whatever the number of
    files; a plan's last file is of the latest partition.

    Raises:
        CorruptFileError: If one of the two footers cannot be read.

    """
    fields: dict[str, pa.Field] = {}
    for file in (files[-1], files[0]):
        with reading(file.path), open_data_file(file.path) as source:
            schema = pq.read_schema(source)
        known = {field_id for f in fields.values() if (field_id := _field_id(f)) is not None}
        for field in schema:
            if field.name not in fields and _field_id(field) not in known:
                fields[field.name] = field
    return pa.schema(list(fields.values()))


def _field_id(field: pa.Field) -> bytes | None:
    return (field.metadata or {}).get(_FIELD_ID)


def _names_in_file(spec: FeatureSpec, schema: pa.Schema, physical: pa.Schema) -> dict[str, str]:
    by_id = {_field_id(field): field.name for field in physical}
    found: dict[str, str] = {}
    for name in spec.columns:
        field_id = _field_id(schema.field(name))
        if field_id is not None and None not in by_id:
            if field_id in by_id:
                found[name] = by_id[field_id]
        elif name in physical.names:
            found[name] = name
    return found


def _join_ragged(columns: Sequence[Ragged]) -> Ragged:
    if len(columns) == 1:
        return columns[0]
    lengths = np.concatenate([np.diff(column.offsets) for column in columns])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Ragged(pa.concat_arrays([column.values for column in columns]), offsets)


def _block(
    parts: list[list[NDArray[Any]]], dtype: np.dtype[Any], order: NDArray[np.int64] | None
) -> Block:
    """Join the columns of several parts.

    Shuffled rows are gathered from one row-major matrix: 41 ns a row of 40 columns, where
    gathering column by column takes 212 (measured).
    """
    if order is None:
        columns = zip(*parts, strict=True)
        return Block(tuple(c[0] if len(c) == 1 else np.concatenate(c) for c in columns), None)
    matrix = np.empty((len(order), len(parts[0])), dtype)
    at = 0
    for columns in parts:
        rows = len(columns[0]) if columns else 0
        for low in range(0, rows, _FILL_ROWS):
            high = min(low + _FILL_ROWS, rows)
            for place, column in enumerate(columns):
                matrix[at + low : at + high, place] = column[low:high]
        at += rows
    return Block(None, matrix.take(order, axis=0))
