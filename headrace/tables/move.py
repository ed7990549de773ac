"""Moves the tables of a lake to where another profile has its own: the same snapshots, ids and refs.

Data files are copied, metadata is written anew with the new locations, and then the other catalog
gets the table: each table appears there whole or not at all. The lake that it came from is only read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyiceberg.exceptions import TableAlreadyExistsError
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFileContent, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from headrace.config import Settings
from headrace.crash_points import crash_point
from headrace.errors import LakeMoveError, MoveReason
from headrace.iceberg.manifests import entries_of, manifests_of
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.identifiers import STAGING_NAMESPACE
from headrace.storage.copying import copy_files
from headrace.storage.locations import local_path, remove
from headrace.storage.open import folders_of
from headrace.tables.catalogs import open as opening
from headrace.tables.rewritten import Move, Rewriting, point_to


@dataclass(frozen=True, kw_only=True)
class TableToMove:
    """A table with metadata at `location`; `there` is where the other catalog has an older state of it."""

    table: str
    location: str
    there: str | None
    snapshots: int
    files: Mapping[str, int]  # of data, by location, with their bytes

    @property
    def bytes(self) -> int:
        """Size of the data files."""
        return sum(self.files.values())


@dataclass(frozen=True, kw_only=True)
class LakeMove:
    """The tables to move; `moved` are there already, as the metadata here at these locations says."""

    move: Move
    tables: tuple[TableToMove, ...]
    moved: Mapping[str, str]


def move_between(source: Settings, target: Settings) -> Move:
    """Return the move from one warehouse to the other.

    Raises:
        LakeMoveError: If both are the same, or the catalog of one belongs to another program.

    """
    for each in (source, target):
        if each.catalog:
            raise LakeMoveError(each.profile, reason=MoveReason.OTHER_CATALOG)
    ends = [local_path(each.warehouse_uri) for each in (source, target)]
    if ends[0] == ends[1] or source.catalog_uri == target.catalog_uri:
        raise LakeMoveError(target.profile, reason=MoveReason.SAME_LAKE)
    return Move(source=ends[0], target=ends[1])


def plan_move(source: Settings, target: Settings) -> LakeMove:
    """Compare two lakes and list what to move from the first to the second; nothing is changed.

    Reads the manifests of every table that is to be moved. Idempotent: once all is moved, no table is
    left.

    Raises:
        LakeMoveError: If the second has what the first has not, or a table lies outside of the first
            one's warehouse.
        LakeNotFoundError, LakeIncompleteError: If there is no first lake.

    """
    move = move_between(source, target)
    opening.refuse_absent(source)
    catalog = opening.open_catalog(source)
    try:
        here = _places(catalog)
        there = _tables_there(target)
        for name in sorted(there.keys() - here.keys()):
            raise LakeMoveError(target.profile, reason=MoveReason.TABLE_ONLY_THERE, table=name)
        found = [
            _compared(catalog.load_table(name), there.get(name), move, target)
            for name in sorted(here)
        ]
    finally:
        catalog.close()
    tables = tuple(each for each in found if each is not None)
    return LakeMove(
        move=move,
        tables=tables,
        moved={name: here[name] for name in sorted(here.keys() - {each.table for each in tables})},
    )


def _tables_there(target: Settings) -> dict[str, tuple[str, TableMetadata]]:
    if opening.lost(target) or opening.lost_servers(target):
        opening.refuse_incomplete(target)
        return {}
    catalog = opening.open_catalog(target)
    try:
        return {name: (at, catalog.metadata_at(at)) for name, at in _places(catalog).items()}
    finally:
        catalog.close()


def _places(catalog: MemoCatalog) -> dict[str, str]:
    """Return where the metadata of each table is; what builds are writing is no table yet."""
    found = catalog.locations()
    return {".".join(name): at for name, at in found.items() if name[0] != STAGING_NAMESPACE}


def _compared(
    table: Table, there: tuple[str, TableMetadata] | None, move: Move, target: Settings
) -> TableToMove | None:
    """Say what of a table is to be moved; None if it is there as it is here."""
    name, metadata = ".".join(table.name()), table.metadata
    if move.of(table.metadata_location) == table.metadata_location:
        raise LakeMoveError(target.profile, reason=MoveReason.OUTSIDE_WAREHOUSE, table=name)
    if there is not None:
        if _is_same(metadata, there[1]):
            return None
        known = {each.snapshot_id for each in metadata.snapshots}
        is_older = metadata.table_uuid == there[1].table_uuid and known.issuperset(
            each.snapshot_id for each in there[1].snapshots
        )
        if not is_older:
            raise LakeMoveError(target.profile, reason=MoveReason.CHANGED_THERE, table=name)
    return TableToMove(
        table=name,
        location=table.metadata_location,
        there=None if there is None else there[0],
        snapshots=len(metadata.snapshots),
        files=_files(metadata, table.io),
    )


def _is_same(here: TableMetadata, there: TableMetadata) -> bool:
    # all but locations, of which the time of the last update is the mark
    marks = [
        (each.table_uuid, each.last_updated_ms, each.current_snapshot_id, each.refs)
        for each in (here, there)
    ]
    return marks[0] == marks[1]


def _files(metadata: TableMetadata, io: FileIO) -> dict[str, int]:
    """Find the files of all snapshots that are copied as they are; position deletes are rewritten."""
    found: dict[str, int] = {}
    seen: set[str] = set()
    for snapshot in metadata.snapshots:
        for manifest in manifests_of(snapshot, io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            for entry in entries_of(manifest, io):
                file = entry.data_file
                is_rewritten = file.content == DataFileContent.POSITION_DELETES
                if entry.status != ManifestEntryStatus.DELETED and not is_rewritten:
                    found[file.file_path] = file.file_size_in_bytes
    statistics = (*metadata.statistics, *metadata.partition_statistics)
    found.update((each.statistics_path, each.file_size_in_bytes) for each in statistics)
    return found


def apply_move(source: Settings, target: Settings, plan: LakeMove) -> Iterator[TableToMove]:
    """Move the tables one by one, and yield each when it is there.

    Safe to kill: plan again for the rest. Files that are there with their size are not copied again.
    Nothing of the first lake is written.

    Raises:
        CorruptFileError: If a file is missing or damaged; its table is not there.
        LakeMoveError: If a table was changed here or there since it was planned; its table is as it was.
        StorageError: If a file cannot be written; its table is not there.
        UnsupportedTableError: If a table has a feature that cannot be moved; it is not there.

    """
    came, registry = opening.open_databases(target)
    registry.close()
    catalog = opening.open_catalog(source)
    assert isinstance(came, MemoCatalog)  # `move_between` refuses others
    try:
        for each in plan.tables:
            table = catalog.load_table(each.table)
            if table.metadata_location != each.location:
                raise LakeMoveError(
                    target.profile, reason=MoveReason.CHANGED_MEANWHILE, table=each.table
                )
            _move_table(table, came, each, move=plan.move, profile=target.profile)
            yield each
    finally:
        catalog.close()
        came.close()


def refuse_changed(source: Settings, plan: LakeMove, *, profile: str) -> None:
    """Refuse to call a move done if a table was changed here since it was planned.

    Raises:
        LakeMoveError: Naming the table.

    """
    catalog = opening.open_catalog(source)
    try:
        now = _places(catalog)
    finally:
        catalog.close()
    planned = {each.table: each.location for each in plan.tables} | dict(plan.moved)
    for name in sorted(now.keys() | planned.keys()):
        if now.get(name) != planned.get(name):
            raise LakeMoveError(profile, reason=MoveReason.CHANGED_MEANWHILE, table=name)


def _move_table(
    table: Table, came: MemoCatalog, each: TableToMove, *, move: Move, profile: str
) -> None:
    location = move.of(each.location)
    io = came.io_of(table.metadata, location)
    store = folders_of(location, io, table=each.table)
    targets = {path: move.of(path) for path in each.files}
    copy_files(each.files, targets, read=table.io, write=io, store=store)
    crash_point("move.after_data_files")
    placed = Rewriting(
        table=each.table,
        move=move,
        read=table.io,
        write=io,
        found_at=lambda path: path,
        is_there=set(targets.values()).__contains__,
        place=lambda moved: came.next_location(moved, after=location),
    ).run(table.metadata)
    crash_point("move.before_swap")
    if not _registered(came, each, placed):
        remove(io, placed)
        raise LakeMoveError(profile, reason=MoveReason.CHANGED_MEANWHILE, table=each.table)


def _registered(catalog: MemoCatalog, each: TableToMove, location: str) -> bool:
    """Let the catalog have the table at `location`; False if it changed since it was planned."""
    namespace, _, name = each.table.rpartition(".")
    catalog.create_namespace_if_not_exists(namespace)
    if each.there is None:
        try:
            catalog.register_table((namespace, name), location)
        except TableAlreadyExistsError:
            return False
        return True
    return point_to(catalog, each.table, location, before=each.there)
