"""The types that manifests store partition values in, also of a column that no schema has any more."""

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

from headrace.errors import CorruptFileError, UnsupportedTableError
from headrace.iceberg import avro, partitions

_PARTITION_ID = 102  # `partition` of a manifest's entries, reserved by the specification


class TypedSpec(PartitionSpec):
    """A partition spec that knows the types of its values and takes null for each of them.

    pyiceberg derives them from a schema, which need not have the source column any more, and refuses
    null where the column is required, although that is all a `void` field ever has.
    """

    _type: StructType = PrivateAttr(default_factory=StructType)

    @classmethod
    def of(cls, spec: PartitionSpec, types: Mapping[int, IcebergType]) -> "TypedSpec":
        """Give a spec the types of its fields, by field id."""
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
    """Find the types of a spec's values: from its columns, or as older manifests wrote them.

    Raises:
        CorruptFileError: If such a manifest is missing or damaged.
        UnsupportedTableError: If neither a schema nor a manifest says what they are.

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
        detail = f"nothing says of which type the values of its partition field `{missing[0]}` are"
        raise UnsupportedTableError(metadata.location, detail)
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
        raise CorruptFileError(location, str(error)) from error
    return found.fields
