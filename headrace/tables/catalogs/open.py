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

from headrace.config import Settings
from headrace.errors import (
    LakeIncompleteError,
    LakeNotFoundError,
    StorageError,
    TablesElsewhereError,
)
from headrace.iceberg.memo_catalog import CATALOG, MemoCatalog
from headrace.registry import Registry, address_of, error_of, is_registry
from headrace.registry.owner import bind
from headrace.storage import durable
from headrace.storage.locations import local_path
from headrace.tables.catalogs.advisory_locks import AdvisoryLocks
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
    if lost(settings):
        raise LakeNotFoundError(str(settings.state_dir))


def refuse_incomplete(settings: Settings) -> None:
    """Refuse to make a database beside files that one of its kind must have named.

    Raises:
        LakeIncompleteError: If a database is missing or empty, and the warehouse is not.

    """
    missing = [str(path) for path in lost(settings)]
    if settings.registry_server is not None and not is_registry(settings.registry_uri):
        missing.append(address_of(settings.registry_uri))
    if missing and any(path.is_file() for path in settings.warehouse.rglob("*")):
        raise LakeIncompleteError(missing[0], warehouse=str(settings.warehouse))


def lost(settings: Settings) -> list[Path]:
    """Say which database files of a lake are missing or empty."""
    files = [settings.catalog_file]
    if settings.registry_server is None:
        files.append(settings.registry_file)
    return [path for path in files if not _is_there(path)]


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
            warehouse=str(settings.warehouse),
            tables=len(found),
            example=name,
            location=local_path(location),
        )


def elsewhere(catalog: MemoCatalog, settings: Settings) -> dict[str, str]:
    """Find the tables that lie elsewhere: full name to the location of their metadata."""
    location = IcebergTables.metadata_location
    wanted = (f"file://{settings.warehouse}", *settings.tables_also_in)
    query = sa.select(IcebergTables.table_namespace, IcebergTables.table_name, location).where(
        IcebergTables.catalog_name == CATALOG_NAME,
        *(sa.func.substr(location, 1, len(each) + 1) != f"{each}/" for each in wanted),
    )
    with catalog.engine.connect() as connection:
        rows = connection.execute(query.order_by(location)).all()
    # the same folder may have several names, by links or `..`
    own = settings.warehouse.resolve()
    return {
        f"{namespace}.{name}": at
        for namespace, name, at in rows
        if at is not None and not Path(local_path(at)).resolve().is_relative_to(own)
    }


@contextlib.contextmanager
def turn_to_open(settings: Settings) -> Generator[None]:
    """Take turns at making the state of a lake: two that make a catalog at once would both fail.

    Raises:
        StorageError: If the state folder cannot be written.

    """
    try:
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
    return catalog_in(settings.catalog_file, settings)


def catalog_in(file: Path, settings: Settings) -> MemoCatalog:
    """Open the catalog that a file is, making it if it is not there. Raises as `open_catalog`."""
    try:
        _use_wal(file)
        return MemoCatalog(
            CATALOG_NAME,
            uri=f"sqlite:///{file}?timeout={_CATALOG_WAIT_S}",
            warehouse=f"file://{settings.warehouse}",
        )
    except (sqlite3.Error, sqlalchemy.exc.DatabaseError) as error:
        said = getattr(error, "orig", error)
        raise error_of(CATALOG, said, path=str(file)) from error


def open_databases(settings: Settings) -> tuple[MemoCatalog, Registry]:
    """Open both databases, making what is not there yet.

    Raises:
        DatabaseUnavailableError: If one is locked, full, damaged or out of reach.
        LakeIncompleteError: See `refuse_incomplete`.
        RegistryInUseError: See `open_registry`.
        StorageError: If the state folder cannot be written.
        TablesElsewhereError: See `refuse_elsewhere`.

    """
    with turn_to_open(settings):
        refuse_incomplete(settings)
        catalog = open_catalog(settings)
        try:
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
            bind(registry, f"file://{settings.warehouse}")
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
