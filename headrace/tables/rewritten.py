"""Writes a table's metadata anew with other locations: the same snapshots, ids and refs, elsewhere.

Locations in metadata are absolute, so metadata, manifest lists, manifests and position delete files
are rewritten. Snapshot ids, sequence numbers, refs and data files do not change.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
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

from headrace.errors import CorruptFileError, StorageError, UnsupportedReason, UnsupportedTableError
from headrace.iceberg.delete_files import PATH_FIELD_ID
from headrace.iceberg.manifest_writer import ManifestSet
from headrace.iceberg.manifests import entries_of, manifests_of
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.storage.checksums import NamedOutput
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path, remove, sync_file

# positions in the records of manifests and their lists
_MANIFEST_PATH, _DATA_FILE = 0, 4
_PATH, _BYTES, _SIZES, _LOWER, _UPPER, _SPLITS = 1, 5, 6, 10, 11, 13
Parsed = TypeVar("Parsed", DataFile, ManifestFile, ManifestEntry)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A move between folders: `source` is an absolute path or a URL, and so is `target`.

    What lies below keeps its relative position.
    """

    source: str
    target: str

    def of(self, location: str) -> str:
        """Return a location after the move; locations outside of the source do not change."""
        for scheme in ("file://", "file:", ""):
            start = f"{scheme}{self.source}/"
            if location.startswith(start):
                kept = "" if "://" in self.target else scheme
                return f"{kept}{self.target}/{location.removeprefix(start)}"
        return location


@dataclass(kw_only=True)
class Rewriting:
    """One table, whose metadata is written anew.

    `found_at` says where a file that the old metadata names can be read, through `read`; new files
    are written through `write`. `is_there` tells whether a data file is at its new place, and `place`
    where the new metadata file goes.
    """

    table: str
    move: Move
    read: FileIO
    write: FileIO
    found_at: Callable[[str], str]
    is_there: Callable[[str], bool]
    place: Callable[[TableMetadata], str]
    _manifests: dict[str, ManifestFile | None] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _written: list[str] = field(default_factory=list)

    def run(self, metadata: TableMetadata) -> str:
        """Write all files that contain locations; return the location of the new metadata file.

        Nothing that it wrote stays after an error.

        Raises:
            CorruptFileError: If a data file is not at its new place, or metadata is damaged.
            StorageError: If a file cannot be written.
            UnsupportedTableError: If the table has a feature that cannot be moved.

        """
        if not isinstance(metadata, TableMetadataV2):
            detail = f"it is of format version {metadata.format_version}"
            reason = UnsupportedReason.FORMAT_VERSION
            raise UnsupportedTableError(self.table, detail, reason=reason)
        moved = _metadata(metadata, self.move)
        try:
            snapshots = [self._snapshot(each, moved) for each in metadata.snapshots]
            return self._store(moved.model_copy(update={"snapshots": snapshots}))
        except BaseException as error:
            for written in self._written:
                remove(self.write, written)
            if isinstance(error, OSError):
                folder = local_path(moved.location)
                raise StorageError.of(folder, error) from error
            raise

    def _snapshot(self, snapshot: Snapshot, moved: TableMetadata) -> Snapshot:
        if not snapshot.manifest_list:
            detail = f"its snapshot {snapshot.snapshot_id} has no manifest list"
            reason = UnsupportedReason.NO_MANIFEST_LIST
            raise UnsupportedTableError(self.table, detail, reason=reason)
        found = self.found_at(snapshot.manifest_list)
        listed = manifests_of(snapshot.model_copy(update={"manifest_list": found}), self.read)
        builder = ManifestSet(moved, self.write, snapshot_id=snapshot.snapshot_id)
        try:
            manifests = [self._manifest(each, builder) for each in listed]
            location = builder.write_list(
                [each for each in manifests if each is not None],
                parent_id=snapshot.parent_snapshot_id,
                sequence_number=snapshot.sequence_number or 0,
            )
        finally:
            self._written += builder.written
        return snapshot.model_copy(update={"manifest_list": location})

    def _manifest(self, manifest: ManifestFile, builder: ManifestSet) -> ManifestFile | None:
        """Rewrite a manifest, once; one without entries is left out."""
        old = manifest.manifest_path
        if old not in self._manifests:
            found = _with(manifest, {_MANIFEST_PATH: self.found_at(old)})
            entries = [self._entry(each) for each in entries_of(found, self.read)]
            self._manifests[old] = builder.moved(found, entries) if entries else None
        return self._manifests[old]

    def _entry(self, entry: ManifestEntry) -> ManifestEntry:
        old = entry.data_file
        is_live = entry.status != ManifestEntryStatus.DELETED
        path = self.move.of(old.file_path)
        if is_live and path == old.file_path:
            detail = f"its file `{path}` is not below `{self.move.source}`"
            reason = UnsupportedReason.OUTSIDE_THE_COPY
            raise UnsupportedTableError(self.table, detail, reason=reason, path=path)
        if old.content == DataFileContent.POSITION_DELETES:
            file = self._deletes(old, path, is_live=is_live)
        else:
            if is_live:
                self._refuse_absent(path)
            file = _with(old, {_PATH: path})
        file.spec_id = old.spec_id
        return _with(entry, {_DATA_FILE: file})

    def _refuse_absent(self, path: str) -> None:
        if path not in self._found and not self.is_there(path):
            raise CorruptFileError(path, f"`{self.table}` has this file, and it was not copied")
        self._found.add(path)

    def _deletes(self, old: DataFile, path: str, *, is_live: bool) -> DataFile:
        """Rewrite a position delete file, which names data files by their locations."""
        target = f"{path.removesuffix('.parquet')}-relocated.parquet"
        if not is_live:
            return _with(old, {_PATH: target})
        if old.file_format != FileFormat.PARQUET:
            detail = f"its position delete file `{path}` is not a Parquet file"
            reason = UnsupportedReason.FILE_FORMAT
            raise UnsupportedTableError(self.table, detail, reason=reason, path=path)
        rows = _rows_moved(self.found_at(old.file_path), self.move, self.read)
        self._written.append(target)
        with self.write.new_output(target).create(overwrite=True) as stream:
            pq.write_table(rows, stream, compression="zstd", write_page_checksum=True)
        sync_file(target)
        moved: dict[int, Any] = {
            _PATH: target,
            _BYTES: len(self.write.new_input(target)),
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

    def _store(self, metadata: TableMetadata) -> str:
        output = NamedOutput()
        ToOutputFile.table_metadata(metadata, output)
        location = output.place(self.place(metadata))
        self._written.append(location)
        with self.write.new_output(location).create() as stream:
            stream.write(output.content)
        sync_file(location)
        return location


def point_to(catalog: MemoCatalog, table: str, location: str, *, before: str) -> bool:
    """Let a table's catalog row point to new metadata; False if it no longer points to `before`."""
    namespace, _, name = table.rpartition(".")
    statement = (
        sa.update(IcebergTables)
        .where(
            IcebergTables.catalog_name == catalog.name,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == name,
            IcebergTables.metadata_location == before,
        )
        .values(metadata_location=location, previous_metadata_location=None)
    )
    with catalog.engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


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


def _rows_moved(location: str, move: Move, io: FileIO) -> pa.Table:
    path = local_path(location)
    with reading(path), open_input(io, path) as source:
        rows = pq.read_table(source, page_checksum_verification=True)
        at = rows.schema.get_field_index("file_path")
        moved = [move.of(each) for each in rows.column("file_path").to_pylist()]
    named = rows.schema.field(at)
    return rows.set_column(at, named, pa.array(moved, named.type))
