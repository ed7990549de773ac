"""Recover lost databases: the catalog from metadata files, the registry from snapshots."""

import contextlib
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.io import FileIO, load_file_io
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import ancestors_of

from headrace.config import Settings
from headrace.errors import CorruptFileError, StorageError
from headrace.iceberg.manifests import live_entries, manifests_of
from headrace.iceberg.memo_catalog import read_metadata
from headrace.identifiers import TableName, is_plain
from headrace.registry import Registry
from headrace.storage import durable
from headrace.storage.folders import Entry, Folders, Kind
from headrace.storage.locations import local_path
from headrace.storage.open import folders_at
from headrace.tables.catalogs import open as opening
from headrace.tables.history.commit_log import record_of

_VERSION = re.compile(r"(\d+)-.*\.metadata\.json")
_BESIDE = ("-wal", "-shm")  # files that SQLite keeps beside a database


@dataclass(frozen=True, kw_only=True)
class FoundTable:
    """A table in the warehouse, and its newest metadata file that is completely readable.

    `passed_over` are newer metadata files that are not: damaged ones, or of refused commits.
    """

    name: TableName
    location: str
    snapshots: int
    files: int
    passed_over: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Search:
    """The tables in a warehouse; `unreadable` are table folders without readable metadata."""

    tables: tuple[FoundTable, ...]
    unreadable: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.tables or self.unreadable)


def find_tables(settings: Settings) -> Search:
    """Search the warehouse for tables, which are named by their folders.

    A metadata file counts only if all files of its newest snapshot exist: those of a refused commit
    lack their manifests. Commits with a lost answer have them, and count. A dropped table is found
    as long as its files exist. Metadata that a table keeps outside of its folder is not found.

    Raises:
        StorageError: If the warehouse cannot be read.

    """
    found: list[FoundTable] = []
    unreadable: list[str] = []
    access = {} if settings.s3 is None else settings.s3.file_io()
    root = settings.warehouse_uri
    store, io = folders_at(root, access), load_file_io(dict(access), root)
    try:
        for folder in _folders(store, root):
            for below in _folders(store, folder.location):
                if not (is_plain(folder.name) and is_plain(below.name)):
                    continue
                name, files = TableName(folder.name, below.name), _below(store, below.location)
                table = _newest(name, below.location, files, store=store, io=io)
                if table is not None:
                    found.append(table)
                elif files:
                    unreadable.append(str(name))
    except OSError as error:
        raise StorageError.of(root, error) from error
    return Search(tables=tuple(found), unreadable=tuple(unreadable))


def _folders(store: Folders, folder: str) -> list[Entry]:
    found = [each for each in store.list(folder) if each.kind is Kind.FOLDER]
    return sorted(found, key=lambda each: each.name)


def _below(store: Folders, folder: str) -> dict[str, Entry]:
    """Return the files at any depth below a table's folder, without those in its trash."""
    found: dict[str, Entry] = {}
    for each in store.list(folder):
        if each.kind is Kind.FOLDER and not each.name.startswith("."):
            found |= _below(store, each.location)
        elif each.kind is Kind.FILE:
            found[each.location] = each
    return found


def recover_catalog(settings: Settings, tables: Sequence[FoundTable]) -> None:
    """Create the catalog of a lake that lost it, atomically.

    Raises:
        StorageError: If it cannot be written.

    """
    with _replacing(settings.catalog_file) as draft:
        catalog = opening.catalog_in(draft, settings)
        with contextlib.closing(catalog):
            for each in tables:
                catalog.create_namespace_if_not_exists(each.name.namespace)
                catalog.register_table((each.name.namespace, each.name.name), each.location)


@contextlib.contextmanager
def recovered_registry(settings: Settings) -> Generator[Registry]:
    """Create the registry of a lake that lost it, with the commits of all existing snapshots.

    The block may add to it; at its end the registry appears, atomically. Facts that only the
    registry held are lost: lease holders, inputs of builds, and old records of taken source files.

    Raises:
        StorageError: If it cannot be written.

    """
    with (
        _replacing(settings.registry_file) as draft,
        contextlib.closing(opening.open_catalog(settings)) as catalog,
        contextlib.closing(Registry(f"sqlite:///{draft}")) as registry,
    ):
        for namespace in catalog.list_namespaces():
            for identifier in catalog.list_tables(namespace):
                _record(registry, TableName(*identifier), catalog.load_table(identifier))
        yield registry


def _record(registry: Registry, name: TableName, table: Table) -> None:
    metadata = table.metadata
    on_main = {
        each.snapshot_id for each in ancestors_of(metadata.snapshot_by_name(MAIN_BRANCH), metadata)
    }
    for snapshot in sorted(metadata.snapshots, key=lambda each: each.sequence_number or 0):
        record = record_of(name, snapshot, metadata, table.io)
        registry.record_commit(record, on_main=snapshot.snapshot_id in on_main)


@contextlib.contextmanager
def _replacing(database: Path) -> Generator[Path]:
    """Yield the path to create a database at; afterwards it is moved into place, durably."""
    draft = database.with_name(f"{database.name}.recovering")
    try:
        for path in (draft, *(Path(f"{draft}{suffix}") for suffix in _BESIDE)):
            path.unlink(missing_ok=True)
        yield draft
        for suffix in _BESIDE:  # SQLite would apply the log of the lost database to the new one
            beside = Path(f"{database}{suffix}")
            if beside.exists():
                beside.rename(f"{beside}.lost")
        durable.sync(str(draft))
        draft.rename(database)
        durable.sync(str(database))
    except OSError as error:
        raise StorageError.of(str(database), error) from error


def _newest(
    name: TableName, folder: str, files: Mapping[str, Entry], *, store: Folders, io: FileIO
) -> FoundTable | None:
    # `write.metadata.path` may put them in any folder of the table
    numbered = ((_VERSION.fullmatch(each.name), each) for each in files.values())
    versions = [
        (int(found[1]), facts.modified_ns, each)
        for found, each in numbered
        if found is not None and (facts := each.facts or store.stat(each.location)) is not None
    ]
    # of two with one number both were made from the same state, and one of them counted
    versions.sort(key=lambda each: each[:2], reverse=True)
    passed_over: list[str] = []
    for *_, each in versions:
        path = each.location
        try:
            metadata = read_metadata(f"file://{path}" if path.startswith("/") else path, io)
            count = _count_files(metadata, io, store=store, known=files)
        except CorruptFileError:
            passed_over.append(each.name)
            continue
        return FoundTable(
            name=name,
            # the location in the metadata, which differs from the folder in a copied lake
            location=f"{metadata.location}{path.removeprefix(folder)}",
            snapshots=len(metadata.snapshots),
            files=count,
            passed_over=tuple(passed_over),
        )
    return None


def _count_files(
    metadata: TableMetadata, io: FileIO, *, store: Folders, known: Mapping[str, Entry]
) -> int:
    """Count the files of the newest snapshot, all of which must exist.

    Raises:
        CorruptFileError: If one is missing.

    """
    manifests = manifests_of(metadata.current_snapshot(), io)
    count = 0
    for content in (ManifestContent.DATA, ManifestContent.DELETES):
        for entry in live_entries(manifests, io, content=content):
            path = local_path(entry.data_file.file_path)
            is_of_store = store.place(path) is not None
            if path not in known and is_of_store and not store.exists(path):
                raise CorruptFileError(path, "it is gone")
            count += 1
    return count
