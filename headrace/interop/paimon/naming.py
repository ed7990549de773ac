"""Gives the errors of pypaimon headrace's names; it has several roots, and raises Python's own."""

import contextlib
from collections.abc import Generator

import pyarrow as pa

from headrace.errors import PaimonReadError, PaimonWarehouseError


@contextlib.contextmanager
def naming(table: str) -> Generator[None]:
    """Name what pypaimon and the files of a table raise.

    Raises:
        PaimonReadError: For each of it.

    """
    from pypaimon.catalog.catalog_exception import CatalogException

    try:
        yield
    except (
        CatalogException,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        KeyError,
        TypeError,
        EOFError,
        pa.ArrowException,
    ) as error:
        raise PaimonReadError(table, str(error) or type(error).__name__) from error


@contextlib.contextmanager
def naming_warehouse(uri: str) -> Generator[None]:
    """Name what pypaimon raises for a warehouse.

    Raises:
        PaimonWarehouseError: For each of it.

    """
    from pypaimon.catalog.catalog_exception import CatalogException

    try:
        yield
    except (CatalogException, OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise PaimonWarehouseError(uri, str(error) or type(error).__name__) from error
