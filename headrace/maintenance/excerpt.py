"""Which rows are left of files whose rows are deleted by value: an engine says it, of those alone."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary

from headrace.engines.duckdb import DuckDBEngine
from headrace.tables.manifest_set import ManifestSet
from headrace.tables.manifests import manifests_of
from headrace.tables.scan import FileEntry, TableVersion


def rows_left(
    engine: DuckDBEngine, version: TableVersion, entries: Sequence[FileEntry]
) -> dict[str, np.ndarray]:
    """Tell, per path, which rows of `entries` all delete files of `version` leave: one bool a row.

    The engine is shown a table of nothing but these files: it cannot be told to look at some files
    of a large one, and metadata that it would need is pruned while a compaction runs.
    """
    folder = engine.spill_folder / f"excerpt-{uuid.uuid4().hex}"
    location = _write(version._metadata, version._io, version, entries, folder=folder)
    left = {entry.data_file.file_path: np.zeros(entry.rows, bool) for entry in entries}
    for name, positions in engine.positions(location):
        left[name][positions] = True
    return {entry.path: left[entry.data_file.file_path] for entry in entries}


def _write(
    metadata: TableMetadata,
    io: FileIO,
    version: TableVersion,
    entries: Sequence[FileEntry],
    *,
    folder: Path,
) -> str:
    (folder / "metadata").mkdir(parents=True)
    snapshot_id = metadata.new_snapshot_id()
    excerpt = metadata.model_copy(update={"location": str(folder)})
    builder = ManifestSet(excerpt, io, snapshot_id=snapshot_id)
    manifests: list[ManifestFile] = [
        builder._write(
            [_entry(e, snapshot_id) for e in entries if e.spec_id == spec_id], spec_id=spec_id
        )
        for spec_id in sorted({entry.spec_id for entry in entries})
    ]
    listed = manifests_of(version._snapshot, io)
    manifests += [each for each in listed if each.content == ManifestContent.DELETES]
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": snapshot_id,
            "manifest-list": builder.write_list(manifests, parent_id=None),
            "sequence-number": metadata.next_sequence_number(),
            "timestamp-ms": metadata.last_updated_ms,
            "summary": Summary(operation=Operation.APPEND),
            "schema-id": metadata.current_schema_id,
        }
    )
    ref = SnapshotRef.model_validate({"snapshot-id": snapshot_id, "type": SnapshotRefType.BRANCH})
    excerpt = excerpt.model_copy(
        update={
            "snapshots": [snapshot],
            "current_snapshot_id": snapshot_id,
            "refs": {MAIN_BRANCH: ref},
            "snapshot_log": [],
            "metadata_log": [],
            "statistics": [],
            "last_sequence_number": metadata.next_sequence_number(),
        }
    )
    location = str(folder / "metadata" / "v1.metadata.json")
    ToOutputFile.table_metadata(excerpt, io.new_output(location))
    return location


def _entry(entry: FileEntry, snapshot_id: int) -> ManifestEntry:
    # deletes apply by age, so every file keeps the sequence number it has in the table
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence,
        file_sequence_number=entry.sequence,
        data_file=entry.data_file,
    )
