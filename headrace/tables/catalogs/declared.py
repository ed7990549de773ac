"""Catalogs that other programs run: found by name, and their clients' errors given our names."""

import contextlib
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
        return load_catalog(name)
    except (ValueError, NotInstalledError) as error:
        msg = (
            f"there is no usable catalog `{name}`: {error}; declare it in `.pyiceberg.yaml`, or in "
            f"the environment as PYICEBERG_CATALOG__{name.upper()}__URI"
        )
        raise SettingsError(msg) from error
