"""Gives an engine metadata that it can read: ours, or our copy of what another program wrote.

DuckDB 1.5.5 ends the process on manifests that it cannot decode, even on sound ones of an unknown
codec, and reads some damaged ones as empty (decision 0016). Metadata of another program is therefore
decoded here, so that any fault is a named error. One snapshot of it, the one that will be read, is
then written to the engine's folder.
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

# bounds written before an `int` became a `long`, or a `float` a `double`, keep their old size
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
# these would move the copy, which must lie in the engine's folder
_PLACES = ("write.metadata.path", "write.data.path", "write.object-storage.enabled")


def engine_metadata(version: TableVersion, *, folder: Path) -> str:
    """Return the metadata file through which an engine reads a version; a copy lies in `folder`.

    Costs nothing if headrace wrote all of the metadata, as it has after one compaction or one
    rewrite of the manifests.

    Raises:
        CorruptFileError: If what another program wrote cannot be decoded or cannot be rewritten.
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
        # values have another type than the schema says, which decoding does not check
        detail = f"what it lists does not fit the table: {error}"
        raise CorruptFileError(local_path(snapshot.manifest_list), detail) from error
    return str(path)


def _refuse_strange_bounds(version: TableVersion, snapshot: Snapshot) -> None:
    """Refuse bounds of the wrong size for their column: the engine fails at the first filter on it."""
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
    """Keep one snapshot of a table's metadata."""
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
