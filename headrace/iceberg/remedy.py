"""Advice for a damaged or missing file of a table: what is still intact, and how to restore it.

This costs nothing until a file is found damaged. Then a bounded number of snapshots is checked, and
snapshots that cannot be read are not suggested.
"""

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Generator, Iterator

from pyiceberg.exceptions import ValidationError
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.errors import CorruptFileError, Remedy
from headrace.iceberg import manifests
from headrace.storage.checksums import checking
from headrace.storage.locations import local_path
from headrace.storage.open import folders_of, has_folders

SNAPSHOTS_LOOKED_AT = 100  # as many as commits keep
METADATA_FILES_LOOKED_AT = 20
_TAGS_NAMED = 3
_NUMBERED = re.compile(r"v?(\d+)[^/]*\.metadata\.json$")


@contextlib.contextmanager
def advising(remedy: Callable[[str], Remedy]) -> Generator[None]:
    """Add a remedy to a `CorruptFileError` that has none; `remedy` is called with its file."""
    try:
        yield
    except CorruptFileError as error:
        if error.remedy is None:
            error.advise(remedy(error.path))
        raise


def of_snapshot(
    path: str, *, table: str, metadata: TableMetadata, io: FileIO, snapshot_id: int | None
) -> Remedy:
    """Say how to get a file back that a snapshot needs, or to a snapshot of its history without it."""
    ways: list[Remedy] = []
    if _is_gone(path, io):
        trash = "or from the trash, if a clean-up moved it there, see"
        ways.append(Remedy.run_on_catalog("tables", "trash", table, advice=trash))
    if metadata.current_snapshot_id == snapshot_id:
        sound = _newest_without(path, metadata, io, snapshot_id)
        if sound is not None:
            at = dt.datetime.fromtimestamp(sound.timestamp_ms / 1000, dt.UTC)
            ways.append(
                Remedy.run_on_catalog(
                    "tables",
                    "rollback",
                    table,
                    str(sound.snapshot_id),
                    advice="or ingest or build again what came later, after a rollback to snapshot "
                    f"{sound.snapshot_id} of {at:%Y-%m-%d %H:%M:%S}, the newest without it",
                )
            )
        else:
            advice = "or build the table again: all of its older snapshots need the file"
            ways.append(Remedy(advice=advice))
    tags = _tags_without(path, metadata, io)
    if tags:
        listed = ", ".join(f"`{name}`" for name in tags)
        ways.append(Remedy(advice=f"tags that do not need it: {listed}"))
    return Remedy(advice=_RESTORE, otherwise=tuple(ways))


_RESTORE = "restore it from a backup, byte for byte"


def of_metadata(location: str, io: FileIO) -> Remedy:
    """Say how to get a table's metadata file back, and which older one can be read."""
    for name, metadata in _older_metadata(location, io):
        at = dt.datetime.fromtimestamp(metadata.last_updated_ms / 1000, dt.UTC)
        older = (
            f"the newest older one that is sound is `{name}`, with snapshot "
            f"{metadata.current_snapshot_id}, of {at:%Y-%m-%d %H:%M:%S}"
        )
        return Remedy(advice=_RESTORE, otherwise=(Remedy(advice=older),))
    return Remedy(advice=f"{_RESTORE}; no older one beside it is sound")


def _newest_without(
    path: str, metadata: TableMetadata, io: FileIO, snapshot_id: int | None
) -> Snapshot | None:
    """Find the newest ancestor of a snapshot that is readable without a file."""
    listed: dict[str, bool] = {}
    snapshot = None if snapshot_id is None else metadata.snapshot_by_id(snapshot_id)
    for _ in range(SNAPSHOTS_LOOKED_AT):
        parent = None if snapshot is None else snapshot.parent_snapshot_id
        snapshot = None if parent is None else metadata.snapshot_by_id(parent)
        if snapshot is None:
            return None
        if _reads_without(path, snapshot, io, listed):
            return snapshot
    return None


def _tags_without(path: str, metadata: TableMetadata, io: FileIO) -> list[str]:
    listed: dict[str, bool] = {}
    found: list[str] = []
    for name, ref in sorted(metadata.refs.items()):
        snapshot = metadata.snapshot_by_id(ref.snapshot_id)
        if ref.snapshot_ref_type.value == "tag" and snapshot is not None:
            if _reads_without(path, snapshot, io, listed):
                found.append(name)
            if len(found) == _TAGS_NAMED:
                break
    return found


def _reads_without(path: str, snapshot: Snapshot, io: FileIO, listed: dict[str, bool]) -> bool:
    """Whether a snapshot's metadata is intact without the file; `listed` caches results."""
    if local_path(snapshot.manifest_list) == local_path(path):
        return False
    try:
        for manifest in manifests.manifests_of(snapshot, io):
            key = manifest.manifest_path
            if key not in listed:
                listed[key] = _names(manifest, path, io)
            if listed[key]:
                return False
    except CorruptFileError:
        return False
    return True


def _names(manifest: ManifestFile, path: str, io: FileIO) -> bool:
    wanted = local_path(path)
    if local_path(manifest.manifest_path) == wanted:
        return True
    content = ManifestContent(manifest.content)
    entries = manifests.live_entries([manifest], io, content=content)
    # reads all entries: a manifest that cannot be read to its end is damaged
    return wanted in {local_path(entry.data_file.file_path) for entry in entries}


def _older_metadata(location: str, io: FileIO) -> Iterator[tuple[str, TableMetadata]]:
    """Yield the intact metadata files of lower number in the same folder, newest first."""
    folder, _, name = location.rpartition("/")
    numbers = {
        each: int(found[1]) for each in _names_in(folder, io) if (found := _NUMBERED.match(each))
    }
    own = _NUMBERED.match(name)
    older = [each for each, number in numbers.items() if own is None or number < int(own[1])]
    older.sort(key=lambda each: -numbers[each])
    for each in older[:METADATA_FILES_LOOKED_AT]:
        with contextlib.suppress(CorruptFileError, OSError, ValidationError, ValueError):
            beside = checking(io).new_input(f"{folder}/{each}")
            yield each, FromInputFile.table_metadata(beside)


def _is_gone(path: str, io: FileIO) -> bool:
    """Whether a file is not there; False where its store does not tell."""
    if not has_folders(path):
        return False
    try:
        return not folders_of(path, io, table=path).exists(path)
    except OSError:
        return False


def _names_in(folder: str, io: FileIO) -> list[str]:
    if not has_folders(folder):
        return []
    try:
        return [each.name for each in folders_of(folder, io, table=folder).list(folder)]
    except OSError:
        return []
