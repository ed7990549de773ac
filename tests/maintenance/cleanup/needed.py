"""An oracle for clean-up: what a table needs, asked from pyiceberg alone, and what lies on disk."""

from pathlib import Path

from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from headrace.storage.locations import local_path
from headrace.tables.lake import LakeTable

_NAMED: dict[str, set[str]] = {}  # by manifest list: what it names never changes


def files_below(folder: Path) -> set[str]:
    """Return every file below a folder, but for the trash."""
    return {
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and ".trash" not in path.relative_to(folder).parts
    }


def folder_of(table: LakeTable) -> Path:
    return Path(local_path(table.iceberg().location()))


def needed_by(table: Table) -> set[str]:
    """Return all files that the snapshots of a table as it was loaded name, and its metadata files."""
    metadata = table.metadata
    needed = {table.metadata_location, *(log.metadata_file for log in metadata.metadata_log)}
    files = {local_path(location) for location in needed}
    return files.union(*(needed_by_snapshot(each, table.io) for each in metadata.snapshots))


def needed_by_snapshot(snapshot: Snapshot, io: FileIO) -> set[str]:
    """Return all files that a reader of one snapshot opens."""
    location = snapshot.manifest_list
    needed = _NAMED.get(location)
    if needed is None:
        needed = {local_path(location)}
        for manifest in snapshot.manifests(io):
            needed.add(local_path(manifest.manifest_path))
            entries = manifest.fetch_manifest_entry(io)
            needed.update(local_path(entry.data_file.file_path) for entry in entries)
        _NAMED[location] = needed
    return needed
