"""Naming the damaged file behind what an engine raises: its own words name neither file nor remedy."""

import contextlib
from collections.abc import Callable, Collection, Generator

import duckdb
import pyarrow as pa

from headrace.errors import CorruptFileError, UnsupportedTableError
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import TableVersion

# these say something of the query or the machine, never of a file
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

    All files are read again then, also those that were sound before. Where all are sound the
    engine's error comes out as it is.
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
                except CorruptFileError as damage:
                    raise damage from error
        raise


def _decode(version: TableVersion) -> None:
    # one bit in the header of a page, which has no checksum in files of other programs
    with contextlib.suppress(UnsupportedTableError):  # rows deleted by value
        for _ in version.batches():
            pass
