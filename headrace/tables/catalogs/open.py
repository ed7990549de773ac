"""Opening a lake: its databases, made once and never beside files of lost ones, and its locks.

This module chooses the implementations, and no other imports them.
"""

import contextlib
import fcntl
import sqlite3
from collections.abc import Generator
from pathlib import Path

import sqlalchemy as sa
import sqlalchemy.exc
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables
from pyiceberg.io import load_file_io

from headrace.config import Settings
from headrace.errors import (
    LakeIncompleteError,
    LakeNotFoundError,
    LakeOnServersError,
    StorageError,
    TablesElsewhereError,
)
from headrace.iceberg.catalog_database import is_catalog
from headrace.iceberg.memo_catalog import CATALOG, MemoCatalog
from headrace.registry import Registry, ServerClock, address_of, error_of, is_registry
from headrace.registry.owner import bind
from headrace.storage import durable
from headrace.storage.locations import local_path
from headrace.storage.presence import has_files
from headrace.tables.catalogs.advisory_locks import AdvisoryLocks
from headrace.tables.catalogs.declared import catalog_of_lake
from headrace.tables.catalogs.file_locks import FileLocks
from headrace.tables.locks import Locks

CATALOG_NAME = "lake"
_CATALOG_WAIT_S = 30
_LOCK = "open.lock"


def refuse_absent(settings: Settings) -> None:
    """Refuse a lake that is not there; nothing is created.

    Raises:
        LakeNotFoundError: If neither database is there, nor a table.
        LakeIncompleteError: See `refuse_incomplete`.

    """
    refuse_incomplete(settings)
    if settings.catalog:  # it says itself what there is
        return
    if settings.catalog_server is not None and lost_servers(settings):
        raise LakeNotFoundError(address_of(settings.catalog_uri))
    if lost(settings):
        raise LakeNotFoundError(str(settings.state_dir))


def refuse_incomplete(settings: Settings) -> None:
    """Refuse to make a database beside files that one of its kind must have named.

    Raises:
        LakeIncompleteError: If a database is missing or empty, and the warehouse is not.

    """
    if settings.catalog:
        return
    missing = [*(str(path) for path in lost(settings)), *lost_servers(settings)]
    if missing and _has_files(settings):
        raise LakeIncompleteError(missing[0], warehouse=local_path(settings.warehouse_uri))


def lost(settings: Settings) -> list[Path]:
    """Say which database files of a lake are missing or empty."""
    files: list[Path] = []
    if settings.catalog_server is None and not settings.catalog:
        files.append(settings.catalog_file)
    if settings.registry_server is None:
        files.append(settings.registry_file)
    return [path for path in files if not _is_there(path)]


def lost_servers(settings: Settings) -> list[str]:
    """Say which databases of a lake on servers hold no catalog or registry, by their addresses."""
    found: list[str] = []
    if settings.catalog_server is not None and not is_catalog(settings.catalog_uri):
        found.append(address_of(settings.catalog_uri))
    if settings.registry_server is not None and not is_registry(settings.registry_uri):
        found.append(address_of(settings.registry_uri))
    return found


def refuse_servers(settings: Settings, *, what: str) -> None:
    """Refuse `headrace lake <what>` where the catalog is on a server, or the registry is lost there.

    Raises:
        LakeOnServersError: Naming the database.

    """
    if settings.catalog:
        raise LakeOnServersError(settings.catalog, what=what)
    if settings.catalog_server is not None:
        raise LakeOnServersError(address_of(settings.catalog_uri), what=what)
    if gone := lost_servers(settings):
        raise LakeOnServersError(gone[0], what=what)


def _has_files(settings: Settings) -> bool:
    access = {} if settings.s3 is None else settings.s3.file_io()
    return has_files(settings.warehouse_uri, load_file_io(access, settings.warehouse_uri))


def refuse_elsewhere(catalog: MemoCatalog, settings: Settings) -> None:
    """Refuse a catalog whose tables lie neither below the warehouse nor where settings allow it.

    One query of the catalog, whatever the number of tables; no metadata file is read.

    Raises:
        TablesElsewhereError: If there is such a table.

    """
    found = elsewhere(catalog, settings)
    if found:
        name, location = next(iter(found.items()))
        raise TablesElsewhereError(
            warehouse=local_path(settings.warehouse_uri),
            tables=len(found),
            example=name,
            location=local_path(location),
        )


def elsewhere(catalog: MemoCatalog, settings: Settings) -> dict[str, str]:
    """Find the tables that lie elsewhere: full name to the location of their metadata."""
    location = IcebergTables.metadata_location
    wanted = (settings.warehouse_uri, *settings.tables_also_in)
    query = sa.select(IcebergTables.table_namespace, IcebergTables.table_name, location).where(
        IcebergTables.catalog_name == CATALOG_NAME,
        *(sa.func.substr(location, 1, len(each) + 1) != f"{each}/" for each in wanted),
    )
    with catalog.engine.connect() as connection:
        rows = connection.execute(query.order_by(location)).all()
    found = {f"{namespace}.{name}": at for namespace, name, at in rows if at is not None}
    if not settings.warehouse_is_local:
        return found
    # the same folder may have several names, by links or `..`
    own = settings.warehouse.resolve()
    return {
        name: at
        for name, at in found.items()
        if not Path(local_path(at)).resolve().is_relative_to(own)
    }


@contextlib.contextmanager
def turn_to_open(settings: Settings) -> Generator[None]:
    """Take turns at making the state of a lake: two that make a catalog at once would both fail.

    Raises:
        StorageError: If the state folder cannot be written.

    """
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        if settings.warehouse_is_local and not settings.catalog:
            settings.warehouse.mkdir(parents=True, exist_ok=True)
            durable.keep_folder(str(settings.warehouse))
        handle = (settings.state_dir / _LOCK).open("w")
    except OSError as error:
        raise StorageError.of(str(settings.state_dir), error) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def open_catalog(settings: Settings) -> MemoCatalog:
    """Open the catalog, making its database if it is not there.

    Raises:
        DatabaseUnavailableError: If it is locked, full, damaged or out of reach.

    """
    if settings.catalog_server is None:
        return catalog_in(settings.catalog_file, settings)
    return _opened(settings.catalog_uri, settings, path="")


def catalog_in(file: Path, settings: Settings) -> MemoCatalog:
    """Open the catalog that a file is, making it if it is not there. Raises as `open_catalog`."""
    try:
        _use_wal(file)
    except sqlite3.Error as error:
        raise error_of(CATALOG, error, path=str(file)) from error
    return _opened(f"sqlite:///{file}?timeout={_CATALOG_WAIT_S}", settings, path=str(file))


def _opened(uri: str, settings: Settings, *, path: str) -> MemoCatalog:
    access = {} if settings.s3 is None else settings.s3.file_io()
    try:
        return MemoCatalog(CATALOG_NAME, uri=uri, warehouse=settings.warehouse_uri, **access)
    except sqlalchemy.exc.DatabaseError as error:
        said = getattr(error, "orig", error)
        raise error_of(CATALOG, said, path=path) from error


def open_databases(settings: Settings) -> tuple[Catalog, Registry]:
    """Open both databases, making what is not there yet.

    Raises:
        CatalogUnavailableError: If the catalog is another program's, and refuses.
        DatabaseUnavailableError: If one is locked, full, damaged or out of reach.
        LakeIncompleteError: See `refuse_incomplete`.
        RegistryInUseError: See `open_registry`.
        StorageError: If the state folder cannot be written.
        TablesElsewhereError: See `refuse_elsewhere`.

    """
    with turn_to_open(settings):
        refuse_incomplete(settings)
        if settings.catalog:
            access = {} if settings.s3 is None else settings.s3.file_io()
            catalog = catalog_of_lake(settings.catalog, access)
        else:
            catalog = open_catalog(settings)
        try:
            if isinstance(catalog, MemoCatalog):
                refuse_elsewhere(catalog, settings)
            return catalog, open_registry(settings)
        except BaseException:
            catalog.close()
            raise


def locks_of(catalog: Catalog, settings: Settings) -> Locks:
    """Choose how the writers of a catalog's tables take turns.

    On PostgreSQL they do across hosts. The name of the catalog, which is part of the key of its
    tables in that database, tells it from others there. Elsewhere they do on one host.
    """
    engine = getattr(catalog, "engine", None)
    if isinstance(engine, sa.Engine) and engine.dialect.name == "postgresql":
        return AdvisoryLocks(engine, lake=catalog.name)
    return FileLocks(settings.state_dir / "locks")


def clock_of(catalog: Catalog) -> ServerClock | None:
    """Return the clock of the database that a catalog is in; None if it is in none."""
    if isinstance(catalog, MemoCatalog):
        return catalog.clock
    engine = getattr(catalog, "engine", None)
    return ServerClock(engine) if isinstance(engine, sa.Engine) else None


def open_registry(settings: Settings) -> Registry:
    """Open the registry: a file beside the catalog's, or the server's database of this lake.

    Raises:
        DatabaseUnavailableError: If it is locked, full, damaged or out of reach.
        RegistryInUseError: If it is on a server and another lake uses it, as a copied one would.
        RegistryNewerError: If a newer version of headrace has changed its schema.

    """
    registry = Registry(settings.registry_uri)
    if settings.registry_server is not None:
        try:
            bind(registry, settings.catalog or settings.warehouse_uri)
        except BaseException:
            registry.close()
            raise
    return registry


def _is_there(database: Path) -> bool:
    """Whether a database was made: its file appears empty, before its first page is written."""
    try:
        return database.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError.of(str(database), error) from error


def _use_wal(path: Path) -> None:
    # readers (pages, engines) must not block the committer; the mode is kept in the file
    with contextlib.closing(sqlite3.connect(path, timeout=_CATALOG_WAIT_S)) as connection:
        connection.execute("pragma journal_mode = wal")
