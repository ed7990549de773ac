"""Relocate the tables of a copied lake: the same snapshots, with the locations of the copy.

Locations in metadata are absolute. For each table, metadata, manifest lists, manifests and position
delete files are rewritten in the copy, beside the copied ones; one update of the catalog row then
switches to them. Snapshot ids, sequence numbers, refs and data files do not change.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyiceberg.catalog.sql import IcebergTables
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.snapshots import Snapshot

from headrace.config import Settings
from headrace.crash_points import crash_point
from headrace.errors import CorruptFileError, StorageError, UnsupportedReason, UnsupportedTableError
from headrace.iceberg.delete_files import PATH_FIELD_ID
from headrace.iceberg.manifest_writer import ManifestSet
from headrace.iceberg.manifests import entries_of, manifests_of
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.storage.checksums import NamedOutput
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path, remove, sync_file
from headrace.tables.catalogs import open as opening

_WAREHOUSE = "/warehouse/"
# positions in the records of manifests and their lists
_MANIFEST_PATH, _DATA_FILE = 0, 4
_PATH, _BYTES, _SIZES, _LOWER, _UPPER, _SPLITS = 1, 5, 6, 10, 11, 13
Parsed = TypeVar("Parsed", DataFile, ManifestFile, ManifestEntry)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A move between folders, as absolute paths; paths below keep their relative position."""

    source: str
    target: str

    def of(self, location: str) -> str:
        """Return a location after the move; locations outside of the source do not change."""
        for scheme in ("file://", "file:", ""):
            start = f"{scheme}{self.source}/"
            if location.startswith(start):
                return f"{scheme}{self.target}/{location.removeprefix(start)}"
        return location


@dataclass(frozen=True, kw_only=True)
class TableMove:
    """A table whose catalog row has `location`, and which has a copy in this warehouse."""

    table: str
    location: str
    move: Move


@dataclass(frozen=True, kw_only=True)
class Relocation:
    """The tables to relocate; `strangers` are located elsewhere and have no copy here."""

    tables: tuple[TableMove, ...]
    strangers: tuple[str, ...]


def copy_in(warehouse: Path, location: str) -> Move | None:
    """Find the move from a location in another warehouse to a file in this one, if there is one."""
    path = local_path(location)
    at = path.find(_WAREHOUSE)
    while at >= 0:
        end = at + len(_WAREHOUSE)
        if (warehouse / path[end:]).is_file():
            return Move(source=path[: end - 1], target=str(warehouse))
        at = path.find(_WAREHOUSE, at + 1)
    return None


def plan_relocation(settings: Settings) -> Relocation:
    """Find the tables whose catalog rows point elsewhere although the warehouse has a copy.

    Reads only the catalog. Idempotent: after it was applied, a second plan is empty. A warehouse on
    S3 is not copied with the state folder, and nothing is found for it.

    Raises:
        LakeNotFoundError, LakeIncompleteError: If there is no lake.
        LakeOnServersError: If its catalog is on a server.

    """
    opening.refuse_servers(settings, what="relocate")
    opening.refuse_absent(settings)
    if not settings.warehouse_is_local:
        return Relocation(tables=(), strangers=())
    catalog = opening.open_catalog(settings)
    try:
        found = opening.elsewhere(catalog, settings)
    finally:
        catalog.close()
    moves = {table: (at, copy_in(settings.warehouse, at)) for table, at in found.items()}
    return Relocation(
        tables=tuple(
            TableMove(table=table, location=at, move=move)
            for table, (at, move) in moves.items()
            if move is not None
        ),
        strangers=tuple(table for table, (_, move) in moves.items() if move is None),
    )


def apply_relocation(settings: Settings, plan: Relocation) -> Iterator[TableMove]:
    """Relocate the tables one by one, and yield each when it is done.

    Each table is relocated atomically; after a kill, plan again for the rest. Files outside of the
    lake's own warehouse are never written.

    Raises:
        CorruptFileError: If a file was not copied or is damaged; the table is unchanged.
        StorageError: If a file cannot be written; the table is unchanged.
        UnsupportedTableError: If the table has a feature that cannot be relocated; it is unchanged.

    """
    opening.refuse_absent(settings)
    catalog = opening.open_catalog(settings)
    try:
        for each in plan.tables:
            location = _Relocating(catalog, each).write()
            crash_point("relocate.before_swap")
            if _swap(catalog, each, location):
                yield each
    finally:
        catalog.close()


def _swap(catalog: MemoCatalog, each: TableMove, location: str) -> bool:
    """Point the catalog to the new metadata, if it still points to the old one."""
    namespace, _, name = each.table.rpartition(".")
    statement = (
        sa.update(IcebergTables)
        .where(
            IcebergTables.catalog_name == opening.CATALOG_NAME,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == name,
            IcebergTables.metadata_location == each.location,
        )
        .values(metadata_location=location, previous_metadata_location=None)
    )
    with catalog.engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


@dataclass
class _Relocating:
    """The relocation of one table."""

    catalog: MemoCatalog
    each: TableMove
    _manifests: dict[str, ManifestFile | None] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _written: list[str] = field(default_factory=list)

    def write(self) -> str:
        """Rewrite all files that contain locations; return the location of the new metadata."""
        copied = self.each.move.of(self.each.location)
        metadata = self.catalog.metadata_at(copied)
        io = self.catalog.io_of(metadata, copied)
        if not isinstance(metadata, TableMetadataV2):
            detail = f"it is of format version {metadata.format_version}"
            reason = UnsupportedReason.FORMAT_VERSION
            raise UnsupportedTableError(self.each.table, detail, reason=reason)
        moved = _metadata(metadata, self.each.move)
        try:
            snapshots = [self._snapshot(each, moved, io) for each in metadata.snapshots]
            return self._store(moved.model_copy(update={"snapshots": snapshots}), io)
        except BaseException as error:
            for written in self._written:
                remove(io, written)
            if isinstance(error, OSError):
                folder = local_path(moved.location)
                raise StorageError.of(folder, error) from error
            raise

    def _snapshot(self, snapshot: Snapshot, moved: TableMetadata, io: FileIO) -> Snapshot:
        if not snapshot.manifest_list:
            detail = f"its snapshot {snapshot.snapshot_id} has no manifest list"
            reason = UnsupportedReason.NO_MANIFEST_LIST
            raise UnsupportedTableError(self.each.table, detail, reason=reason)
        copied = self.each.move.of(snapshot.manifest_list)
        listed = manifests_of(snapshot.model_copy(update={"manifest_list": copied}), io)
        builder = ManifestSet(moved, io, snapshot_id=snapshot.snapshot_id)
        try:
            manifests = [self._manifest(each, builder, io) for each in listed]
            location = builder.write_list(
                [each for each in manifests if each is not None],
                parent_id=snapshot.parent_snapshot_id,
                sequence_number=snapshot.sequence_number or 0,
            )
        finally:
            self._written += builder.written
        return snapshot.model_copy(update={"manifest_list": location})

    def _manifest(
        self, manifest: ManifestFile, builder: ManifestSet, io: FileIO
    ) -> ManifestFile | None:
        """Rewrite a manifest, once; one without entries is left out."""
        old = manifest.manifest_path
        if old not in self._manifests:
            copied = _with(manifest, {_MANIFEST_PATH: self.each.move.of(old)})
            entries = [self._entry(each, io) for each in entries_of(copied, io)]
            self._manifests[old] = builder.moved(copied, entries) if entries else None
        return self._manifests[old]

    def _entry(self, entry: ManifestEntry, io: FileIO) -> ManifestEntry:
        old = entry.data_file
        is_live = entry.status != ManifestEntryStatus.DELETED
        path = self.each.move.of(old.file_path)
        if is_live:
            self._refuse_absent(path, old)
        if old.content == DataFileContent.POSITION_DELETES:
            file = self._deletes(old, path, io, is_live=is_live)
        else:
            file = _with(old, {_PATH: path})
        file.spec_id = old.spec_id
        return _with(entry, {_DATA_FILE: file})

    def _refuse_absent(self, path: str, old: DataFile) -> None:
        if path in self._found:
            return
        if path == old.file_path:
            detail = f"its file `{path}` is not below `{self.each.move.source}`"
            reason = UnsupportedReason.OUTSIDE_THE_COPY
            raise UnsupportedTableError(self.each.table, detail, reason=reason, path=path)
        if not Path(local_path(path)).is_file():
            raise CorruptFileError(
                path, f"`{self.each.table}` has this file, and it was not copied"
            )
        self._found.add(path)

    def _deletes(self, old: DataFile, path: str, io: FileIO, *, is_live: bool) -> DataFile:
        """Rewrite a position delete file, which names data files by their locations."""
        target = f"{path.removesuffix('.parquet')}-relocated.parquet"
        if not is_live:
            return _with(old, {_PATH: target})
        if old.file_format != FileFormat.PARQUET:
            detail = f"its position delete file `{path}` is not a Parquet file"
            reason = UnsupportedReason.FILE_FORMAT
            raise UnsupportedTableError(self.each.table, detail, reason=reason, path=path)
        rows = _rows_moved(local_path(path), self.each.move, io)
        self._written.append(target)
        with io.new_output(target).create(overwrite=True) as stream:
            pq.write_table(rows, stream, compression="zstd", write_page_checksum=True)
        sync_file(target)
        moved: dict[int, Any] = {
            _PATH: target,
            _BYTES: len(io.new_input(target)),
            _SPLITS: None,
            _SIZES: None,
        }
        paths = sorted(pc.unique(rows.column("file_path")).to_pylist())
        for position, path_of in ((_LOWER, paths[0]), (_UPPER, paths[-1])):
            bounds = dict(old[position] or {})
            if PATH_FIELD_ID in bounds:
                bounds[PATH_FIELD_ID] = path_of.encode()
            moved[position] = bounds
        return _with(old, moved)

    def _store(self, metadata: TableMetadata, io: FileIO) -> str:
        output = NamedOutput()
        ToOutputFile.table_metadata(metadata, output)
        location = output.place(self.catalog.next_location(metadata, after=self.each.location))
        self._written.append(location)
        with io.new_output(location).create() as stream:
            stream.write(output.content)
        sync_file(location)
        return location


def _with(record: Parsed, changed: dict[int, Any]) -> Parsed:
    """Copy a manifest record with new values at some positions."""
    values = [changed.get(at, record[at]) for at in range(len(record))]
    return type(record)(*values)


def _metadata(metadata: TableMetadataV2, move: Move) -> TableMetadataV2:
    """Move all locations except those of snapshots; older metadata files keep the original ones."""
    statistics = [
        each.model_copy(update={"statistics_path": move.of(each.statistics_path)})
        for each in metadata.statistics
    ]
    return metadata.model_copy(
        update={
            "location": move.of(metadata.location),
            "properties": {key: move.of(value) for key, value in metadata.properties.items()},
            "metadata_log": [],
            "statistics": statistics,
            "partition_statistics": [
                each.model_copy(update={"statistics_path": move.of(each.statistics_path)})
                for each in metadata.partition_statistics
            ],
        }
    )


def _rows_moved(path: str, move: Move, io: FileIO) -> pa.Table:
    with reading(path), open_input(io, path) as source:
        rows = pq.read_table(source, page_checksum_verification=True)
        at = rows.schema.get_field_index("file_path")
        moved = [move.of(each) for each in rows.column("file_path").to_pylist()]
    named = rows.schema.field(at)
    return rows.set_column(at, named, pa.array(moved, named.type))
