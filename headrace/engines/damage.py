"""Finds the damaged file behind an engine's error, which names neither a file nor a remedy."""

import contextlib
from collections.abc import Callable, Collection, Generator

import duckdb
import pyarrow as pa

from headrace.engines.extensions import open_in_memory
from headrace.engines.s3_secrets import let_read_stores
from headrace.errors import CorruptFileError, StoreUnavailableError, UnsupportedTableError
from headrace.storage.failures import unreadable
from headrace.storage.locations import local_path
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import BATCH_ROWS, TableVersion

# these errors are about the query or the machine, never about a file
_NOT_OF_FILES = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConstraintException,
    duckdb.ConversionException,
    duckdb.InterruptException,
    duckdb.OutOfMemoryException,
    duckdb.ParserException,
    duckdb.SyntaxException,
)


@contextlib.contextmanager
def naming_damage(
    verified: VerifiedFiles, read: Callable[[], Collection[TableVersion]]
) -> Generator[None]:
    """Raise `CorruptFileError` for an engine's error if a file of the versions it read is damaged.

    It then reads all files again, including those that were sound before, and at last one by one
    in an engine of its own: pyarrow forgives damage of files without checksums that DuckDB does
    not. If all are sound, the engine's error is raised unchanged.

    Raises:
        CorruptFileError: Naming the file.
        StoreUnavailableError: If all are sound and their store did not answer.

    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if not isinstance(error, _NOT_OF_FILES):
            for version in read():
                try:
                    version.check_metadata()
                    verified.verify(version, again=True)
                    _decode(version)
                    _decode_in_engine(version)
                except CorruptFileError as damage:
                    raise damage from error
        if isinstance(error, duckdb.HTTPException):  # it tried as often as it may
            raise StoreUnavailableError(_store_of(read()), str(error)) from error
        raise


def _store_of(read: Collection[TableVersion]) -> str:
    return next((each.metadata.location for each in read), "s3://")


def _decode(version: TableVersion) -> None:
    # finds a flipped bit in a page header, which has no checksum in files of other programs
    with contextlib.suppress(UnsupportedTableError):  # rows deleted by value
        for _ in version.batches():
            pass


def _decode_in_engine(version: TableVersion) -> None:
    everything = (each for file in version.files() for each in (file.data_file, *file.deletes))
    paths = {local_path(each.file_path) for each in everything}
    with open_in_memory() as connection:
        let_read_stores(connection, version)
        for path in sorted(paths):
            try:
                rows = connection.from_parquet(path, binary_as_string=False).to_arrow_reader(
                    BATCH_ROWS
                )
                for _ in rows:
                    pass
            except _NOT_OF_FILES:
                continue
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise unreadable(path, error) from error
