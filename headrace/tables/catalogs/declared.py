"""Catalogs that other programs run: found by name, and their clients' errors given our names."""

import contextlib
import functools
import traceback
from collections.abc import Callable, Generator, Mapping

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitStateUnknownException,
    NotInstalledError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
)
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from headrace.errors import (
    CatalogUnavailableError,
    DatabaseUnavailableError,
    SettingReason,
    SettingsError,
)
from headrace.iceberg.memo_catalog import CATALOG

_CALLS = (
    "commit_table",
    "create_namespace",
    "create_namespace_if_not_exists",
    "create_table",
    "create_table_transaction",
    "drop_table",
    "list_namespaces",
    "list_tables",
    "load_table",
    "namespace_exists",
    "register_table",
    "table_exists",
)


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


def catalog_of_lake(said: str, properties: Mapping[str, str]) -> Catalog:
    """Load the catalog that a lake's settings name, whose calls raise our errors.

    `said` is a name that PyIceberg's configuration declares, or a type and an address, as in
    `rest+http://host:8181`. Only the errors of SQL and REST catalogs have names.

    Raises:
        CatalogUnavailableError: If it refuses or cannot be reached.
        SettingsError: If it is not declared, or not rightly.

    """
    kind, plus, uri = said.partition("+")
    try:
        if plus:
            catalog = _load("lake", {**properties, "type": kind, "uri": uri})
        else:
            catalog = _load(said, properties)
    except (RESTError, RequestException, SQLAlchemyError) as error:
        raise CatalogUnavailableError(said, str(error)) from error
    for name in _CALLS:
        setattr(catalog, name, _naming(getattr(catalog, name), said))
    return catalog


def _naming(call: Callable[..., object], catalog: str) -> Callable[..., object]:
    @functools.wraps(call)
    def named(*arguments: object, **keywords: object) -> object:
        try:
            return call(*arguments, **keywords)
        except CommitStateUnknownException:
            raise  # the committer looks what became of it
        except (ServerError, ServiceUnavailableError, RequestException, SQLAlchemyError) as error:
            raise DatabaseUnavailableError(CATALOG, str(error)) from error
        except RESTError as error:
            raise CatalogUnavailableError(catalog, str(error)) from error

    return named


def _load(name: str, properties: Mapping[str, str] | None = None) -> Catalog:
    try:
        with _closed_on_failure():
            return load_catalog(name, **(properties or {}))
    except (ValueError, NotInstalledError) as error:
        msg = (
            f"there is no usable catalog `{name}`: {error}; declare it in `.pyiceberg.yaml`, or in "
            f"the environment as PYICEBERG_CATALOG__{name.upper()}__URI"
        )
        raise SettingsError(msg, setting=name, reason=SettingReason.MISSING) from error


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
                with contextlib.suppress(AttributeError):  # it has not come to what it closes
                    unfinished.close()
        raise
