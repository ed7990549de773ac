"""Catalogs that other programs run: found by name, and their clients' errors given our names."""

import contextlib
import traceback
from collections.abc import Generator

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NotInstalledError, RESTError
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from headrace.errors import CatalogUnavailableError, SettingsError


@contextlib.contextmanager
def open_catalog(name: str) -> Generator[Catalog]:
    """Load a catalog that PyIceberg's own configuration declares; close it in the end.

    Raises:
        SettingsError: If it is not declared, or not rightly.
        CatalogUnavailableError: If it cannot be reached or refuses, now or while it is used.

    """
    try:
        with contextlib.closing(_load(name)) as catalog:
            yield catalog
    except (RESTError, RequestException, SQLAlchemyError) as error:
        raise CatalogUnavailableError(name, str(error)) from error


def _load(name: str) -> Catalog:
    try:
        with _closed_on_failure():
            return load_catalog(name)
    except (ValueError, NotInstalledError) as error:
        msg = (
            f"there is no usable catalog `{name}`: {error}; declare it in `.pyiceberg.yaml`, or in "
            f"the environment as PYICEBERG_CATALOG__{name.upper()}__URI"
        )
        raise SettingsError(msg) from error


@contextlib.contextmanager
def _closed_on_failure() -> Generator[None]:
    """Close a catalog whose constructor raises: only the traceback still refers to it.

    PyIceberg's SQL catalog connects in its constructor, and its pool keeps the connection open.
    """
    try:
        yield
    except BaseException as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            unfinished = frame.f_locals.get("self")
            if isinstance(unfinished, Catalog):
                unfinished.close()
        raise
