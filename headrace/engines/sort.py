"""Sorting more rows than memory holds: through a file of their own, then by DuckDB."""

import contextlib
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import StorageError, StorageFullError
from headrace.identifiers import quote, quote_text

_BATCH_ROWS = 65_536
_POSITION = "position_{}"
_NO_ROOM = ("failed to offload data block", "No space left on device")  # in DuckDB's words


def sort_rows(
    connection: duckdb.DuckDBPyConnection,
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    by: Sequence[str],
    folder: Path,
) -> Iterator[pa.RecordBatch]:
    """Yield rows in the order of SQL terms, equal ones as they came.

    Memory is what the connection may hold and about twice as much. DuckDB would keep the Arrow
    buffers of a stream it reads from alive, beyond its limit, as soon as it spills: 2.1 GB for 20M
    rows instead of 0.8 (1.5.5, measured). It reads a file instead, in no more time.

    What `batches` raises comes out as it is.

    Raises:
        StorageError: If the rows cannot be written to `folder`, as when it is full.

    """
    position = next(name for name in map(_POSITION.format, count()) if name not in schema.names)
    numbered = schema.append(pa.field(position, pa.int64(), nullable=False))
    path = folder / f"{uuid.uuid4().hex}.parquet"
    columns = ", ".join(quote(name) for name in schema.names)
    order = ", ".join((*by, quote(position)))
    try:
        _write(batches, path, numbered)
        # what came as a UUID must not come back as a text
        connection.execute("set arrow_lossless_conversion = true")
        yield from connection.sql(
            f"select {columns} from read_parquet({quote_text(str(path))}) order by {order}"
        ).to_arrow_reader(_BATCH_ROWS)
    except (duckdb.Error, pa.ArrowException) as error:
        if any(said in str(error) for said in _NO_ROOM):
            raise StorageFullError.at(str(folder), str(error)) from error
        raise
    finally:
        connection.execute("reset arrow_lossless_conversion")
        path.unlink(missing_ok=True)


def _write(batches: Iterable[pa.RecordBatch], path: Path, numbered: pa.Schema) -> None:
    with _naming(path):
        writer = pq.ParquetWriter(
            path, numbered, compression="lz4", use_dictionary=False, write_statistics=False
        )
    start = 0
    try:
        for batch in batches:  # what this raises is no error of the file
            numbers = pa.array(np.arange(start, start + batch.num_rows))
            start += batch.num_rows
            rows = pa.Table.from_arrays([*batch.columns, numbers], schema=numbered)
            with _naming(path):
                writer.write_table(rows)
        with _naming(path):
            writer.close()
    except BaseException:
        with contextlib.suppress(OSError):  # without room its footer cannot be written either
            writer.close()
        raise


@contextlib.contextmanager
def _naming(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError.of(str(path), error) from error
