"""Clones of tables, into which other engines write data files for the committer to adopt."""

import uuid
from collections.abc import Collection, Sequence

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntryStatus
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import IdentityTransform

from headrace.iceberg import manifests
from headrace.iceberg import standard_properties as standard
from headrace.iceberg.manifest_writer import ManifestSet

_SORTED = 1  # the id of a clone's own sort order
_HELD = 1  # the id of the snapshot that lists files of the target


def clone_of(
    table: Table, *, location: str, order: Sequence[tuple[str, bool, bool]] = ()
) -> TableMetadata:
    """Describe an empty table at `location` with the schema, field ids and spec ids of `table`.

    Its data files go to the data folder of `table`, its metadata below `location`. So adopted files
    need not be moved. Whoever drops the clone takes none of them: Trino then deletes what lies below
    its location, and the files it names only where `gc.enabled` is not false.

    Args:
        table: The table that files are written for.
        location: Where the clone's metadata goes.
        order: Column, whether descending, whether nulls come first: how each file is sorted.

    """
    metadata, base = table.metadata, table.location()
    properties = {
        **metadata.properties,
        standard.DATA_PATH: standard.data_folder(base, metadata.properties),
        standard.GC_ENABLED: "false",
    }
    properties.pop(standard.METADATA_PATH, None)
    changes: dict[str, object] = {
        "table_uuid": uuid.uuid4(),
        "location": location,
        "properties": properties,
        "snapshots": [],
        "snapshot_log": [],
        "metadata_log": [],
        "refs": {},
        "statistics": [],
        "current_snapshot_id": None,
        "last_sequence_number": 0,
    }
    if order:
        fields = [_sort_field(metadata, *each) for each in order]
        changes["sort_orders"] = [SortOrder(*fields, order_id=_SORTED)]
        changes["default_sort_order_id"] = _SORTED
    return metadata.model_copy(update=changes)


def holding(metadata: TableMetadata, files: Sequence[DataFile], io: FileIO) -> TableMetadata:
    """Describe a clone that lists data files of its target, without any deletes of their rows.

    Writes the manifests below the clone's location. The files stay the target's: see `listing`.
    """
    builder = ManifestSet(metadata, io, snapshot_id=_HELD)
    location = builder.write_list(builder.listing(files), parent_id=None)
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": _HELD,
            "manifest-list": location,
            "sequence-number": metadata.next_sequence_number(),
            "timestamp-ms": metadata.last_updated_ms,
            "summary": {"operation": "append"},
            "schema-id": metadata.current_schema_id,
        }
    )
    head = SnapshotRef.model_validate({"snapshot-id": _HELD, "type": SnapshotRefType.BRANCH})
    return metadata.model_copy(
        update={
            "snapshots": [snapshot],
            "refs": {MAIN_BRANCH: head},
            "current_snapshot_id": _HELD,
            "last_sequence_number": snapshot.sequence_number,
        }
    )


def write_metadata(metadata: TableMetadata, io: FileIO) -> str:
    """Write the first metadata file of a table; return its location."""
    name = f"00000-{uuid.uuid4()}.metadata.json"
    location = f"{standard.metadata_folder(metadata.location, metadata.properties)}/{name}"
    ToOutputFile.table_metadata(metadata, io.new_output(location))
    return location


def files_added_by(snapshot: Snapshot, io: FileIO) -> tuple[DataFile, ...]:
    """Return the data files that one snapshot added; without the sort order of its table.

    Raises:
        CorruptFileError: If its metadata is missing or damaged.

    """
    found: list[DataFile] = []
    for manifest in manifests.manifests_of(snapshot, io):
        if manifest.content != ManifestContent.DATA:
            continue
        for entry in manifests.entries_of(manifest, io):
            is_added = entry.status == ManifestEntryStatus.ADDED
            if is_added and entry.snapshot_id == snapshot.snapshot_id:
                found.append(_without_order(entry.data_file))
    return tuple(found)


def paths_added_by(snapshots: Collection[Snapshot], io: FileIO) -> frozenset[str]:
    """Return the locations of all data files that snapshots added."""
    added = (file for each in snapshots for file in files_added_by(each, io))
    return frozenset(file.file_path for file in added)


def _sort_field(
    metadata: TableMetadata, column: str, descending: bool, nulls_first: bool
) -> SortField:
    return SortField(
        source_id=metadata.schema().find_field(column).field_id,
        transform=IdentityTransform(),
        direction=SortDirection.DESC if descending else SortDirection.ASC,
        null_order=NullOrder.NULLS_FIRST if nulls_first else NullOrder.NULLS_LAST,
    )


def _without_order(file: DataFile) -> DataFile:
    """Forget the id of a sort order: the clone's is not one of the table's."""
    spec_id = file.spec_id
    names = (
        "content",
        "file_path",
        "file_format",
        "partition",
        "record_count",
        "file_size_in_bytes",
        "column_sizes",
        "value_counts",
        "null_value_counts",
        "nan_value_counts",
        "lower_bounds",
        "upper_bounds",
        "key_metadata",
        "split_offsets",
        "equality_ids",
    )
    made = DataFile.from_args(**{name: getattr(file, name) for name in names}, sort_order_id=None)
    made.spec_id = spec_id  # not a constructor argument
    return made
