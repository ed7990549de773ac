"""The types of partition values in manifests, also for columns that no schema has any more."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import PrivateAttr
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import IcebergType, NestedField, StructType
from typing_extensions import override

from headrace.errors import UnsupportedReason, UnsupportedTableError
from headrace.iceberg import avro, partitions
from headrace.storage.failures import unreadable

_PARTITION_ID = 102  # `partition` of a manifest's entries, reserved by the specification


class TypedSpec(PartitionSpec):
    """A partition spec that knows the types of its values and allows null for each of them.

    PyIceberg derives the types from a schema, which may no longer have the source column, and
    refuses null if the column is required, although a `void` field is always null.
    """

    _type: StructType = PrivateAttr(default_factory=StructType)

    @classmethod
    def of(cls, spec: PartitionSpec, types: Mapping[int, IcebergType]) -> "TypedSpec":
        """Add the types of its fields to a spec, by field id."""
        found = cls(*spec.fields, **{"spec-id": spec.spec_id})
        found._type = StructType(
            *(NestedField(each.field_id, each.name, types[each.field_id]) for each in spec.fields)
        )
        return found

    @override
    def partition_type(self, schema: Schema) -> StructType:
        return self._type


def typed_spec(
    metadata: TableMetadata, spec_id: int, *, manifests: Iterable[ManifestFile], io: FileIO
) -> TypedSpec:
    """Find the types of a spec's values, from its columns or from older manifests.

    Raises:
        CorruptFileError: If such a manifest is missing or damaged.
        UnsupportedTableError: If neither a schema nor a manifest has the type.

    """
    spec = metadata.specs()[spec_id]
    schema = partitions.schema_of_spec(metadata, spec)
    types = {
        each.field_id: each.transform.result_type(schema.find_type(each.source_id))
        for each in spec.fields
        if each.source_id in schema.field_ids
    }
    if len(types) < len(spec.fields):
        types = _written(spec_id, manifests, io) | types
    missing = [each.name for each in spec.fields if each.field_id not in types]
    if missing:
        detail = f"the type of its partition field `{missing[0]}` is unknown"
        reason = UnsupportedReason.PARTITION_TYPE_UNKNOWN
        raise UnsupportedTableError(metadata.location, detail, reason=reason)
    return TypedSpec.of(spec, types)


def _written(spec_id: int, manifests: Iterable[ManifestFile], io: FileIO) -> dict[int, IcebergType]:
    types: dict[int, IcebergType] = {}
    for manifest in manifests:
        if manifest.partition_spec_id == spec_id and not types:
            types = {each.field_id: each.field_type for each in _partition_fields(manifest, io)}
    return types


def _partition_fields(manifest: ManifestFile, io: FileIO) -> tuple[NestedField, ...]:
    location = manifest.manifest_path
    try:
        found: Any = avro.schema_written(io, location).find_type(_PARTITION_ID)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise unreadable(location, error) from error
    return found.fields
