"""Metadata that an engine may read: ours, or our copy of what another program wrote.

DuckDB 1.5.5 ends the process on manifests that it cannot decode, also on sound ones of a codec it
does not know, and takes some that are damaged for empty: see decision 0016. What another program
wrote is read here, where whatever is wrong with it is an error with a name, and written again in
the folder of the engine: the one snapshot that is read, and nothing else of the table.
"""

import struct
import uuid
from pathlib import Path

from pyiceberg.manifest import ManifestFile
from pyiceberg.schema import index_by_id
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from headrace.errors import CorruptFileError, StorageError
from headrace.iceberg import manifests
from headrace.iceberg.manifest_writer import ENTRIES_PER_MANIFEST, ManifestSet
from headrace.iceberg.updates import make_ref
from headrace.storage.checksums import NamedOutput, checksum_of
from headrace.storage.locations import local_path
from headrace.tables.version import TableVersion

# those written before an `int` became a `long`, or a `float` a `double`, stay as they are
_BOUND_BYTES: dict[type[IcebergType], tuple[int, ...]] = {
    BooleanType: (1,),
    IntegerType: (4,),
    DateType: (4,),
    FloatType: (4,),
    LongType: (4, 8),
    DoubleType: (4, 8),
    TimeType: (8,),
    TimestampType: (8,),
    TimestamptzType: (8,),
    UUIDType: (16,),
}
# what its location comes from is read no more: the copy lies where the engine's files lie
_PLACES = ("write.metadata.path", "write.data.path", "write.object-storage.enabled")


def engine_metadata(version: TableVersion, *, folder: Path) -> str:
    """Return the metadata file that an engine reads a version by; it lies in `folder` if copied.

    Costs nothing where headrace wrote all of it, which is so after one compaction or a rewrite of
    its manifests.

    Raises:
        CorruptFileError: If what another program wrote cannot be decoded, or not be written again.
        StorageError: If `folder` cannot be written.

    """
    snapshot = version.snapshot
    if snapshot is None:
        return version.metadata_location
    with version.advising():
        listed = manifests.manifests_of(snapshot, version.io)
        named = (version.metadata_location, snapshot.manifest_list)
        everything = (*named, *(manifest.manifest_path for manifest in listed))
        if all(checksum_of(each) is not None for each in everything):
            return version.metadata_location
        _refuse_strange_bounds(version, snapshot)
        return _copied(version, snapshot, listed, folder / f"metadata-{uuid.uuid4().hex}")


def _copied(
    version: TableVersion, snapshot: Snapshot, listed: tuple[ManifestFile, ...], folder: Path
) -> str:
    kept = {name: said for name, said in version.properties.items() if name not in _PLACES}
    place = {"location": f"file://{folder}", "properties": kept}
    metadata = version.metadata.model_copy(update=place)
    try:
        (folder / "metadata").mkdir(parents=True)
        written = ManifestSet(metadata, version.io, snapshot_id=snapshot.snapshot_id)
        again = written.cluster(listed, entries_max=ENTRIES_PER_MANIFEST)
        location = written.write_list(again.manifests, parent_id=None)
        output = NamedOutput()
        ToOutputFile.table_metadata(_alone(metadata, snapshot, manifest_list=location), output)
        path = folder / "v1.metadata.json"
        path.write_bytes(output.content)
    except OSError as error:
        raise StorageError.of(str(folder), error) from error
    except (ValueError, TypeError, AttributeError, LookupError, struct.error) as error:
        # values of another type than the schema says, which reading alone does not look at
        detail = f"what it lists does not fit the table: {error}"
        raise CorruptFileError(local_path(snapshot.manifest_list), detail) from error
    return str(path)


def _refuse_strange_bounds(version: TableVersion, snapshot: Snapshot) -> None:
    """Refuse bounds that are no value of their column: the engine fails at the first filter by it."""
    table = version.metadata.schema()
    sizes = {
        field_id: _BOUND_BYTES.get(type(field.field_type), ())
        for field_id, field in index_by_id(table).items()
    }
    for entry in version.files():
        file = entry.data_file
        for bounds in (file.lower_bounds or {}, file.upper_bounds or {}):
            for field_id, value in bounds.items():
                if (allowed := sizes.get(field_id)) and len(value) not in allowed:
                    name = table.find_column_name(field_id)
                    detail = f"a bound of `{name}` in `{entry.path}` has {len(value)} bytes"
                    raise CorruptFileError(local_path(snapshot.manifest_list), detail)


def _alone(metadata: TableMetadata, snapshot: Snapshot, *, manifest_list: str) -> TableMetadata:
    """Leave one snapshot in a table's metadata."""
    only = snapshot.model_copy(update={"manifest_list": manifest_list, "parent_snapshot_id": None})
    branch = make_ref(only.snapshot_id, SnapshotRefType.BRANCH)
    return metadata.model_copy(
        update={
            "snapshots": [only],
            "current_snapshot_id": only.snapshot_id,
            "refs": {MAIN_BRANCH: branch},
            "snapshot_log": [],
            "metadata_log": [],
            "statistics": [],
            "partition_statistics": [],
        }
    )
