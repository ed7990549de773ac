"""Limit metadata: delete old metadata files, drop unused schemas, skip bounds that never prune."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import RemoveSchemasUpdate, SetPropertiesUpdate, TableUpdate

from headrace.iceberg import column_metrics
from headrace.iceberg import standard_properties as standard
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.lake import LakeTable

SCHEMAS_FINE = 10  # a table of 200 columns has 20 KB for each schema it ever had
# properties that limit the number of metadata files; tables of other programs often lack them
_RETENTION = {
    standard.METADATA_DELETED: "true",
    standard.METADATA_KEPT_MAX: "50",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Changes that keep a table's metadata small; falsy if none is needed."""

    properties: Mapping[str, str] = field(default_factory=dict)
    schemas: tuple[int, ...] = ()  # ids that can be dropped
    schema_bytes: int = 0
    bounds_fewer: int = 0  # columns that new files no longer store bounds for

    @property
    def keeps_files(self) -> bool:
        """Whether old metadata files accumulate until this is applied."""
        return not self.properties.keys().isdisjoint(_RETENTION)

    def __bool__(self) -> bool:
        return bool(self.properties or self.schemas)


def plan_limits(metadata: TableMetadata, *, foreign: bool = False) -> Limits:
    """Decide which properties to set and which schemas to drop. Pure. Existing settings stay.

    In tables of another catalog (`foreign`) no property is set: their writers decide whether old
    metadata files are deleted and which columns have bounds.

    Once there are more than `SCHEMAS_FINE` schemas, those that no snapshot was written with and no
    partition spec needs are dropped. Files are read by column id and do not need them.
    """
    properties, fewer = ({}, 0) if foreign else _lacking(metadata)
    used = {s.schema_id for s in metadata.snapshots} | {metadata.current_schema_id}
    sources = {each.source_id for spec in metadata.partition_specs for each in spec.fields}
    sources -= metadata.schema().field_ids
    unused = [
        schema
        for schema in metadata.schemas
        if schema.schema_id not in used and not sources & schema.field_ids
    ]
    if len(unused) <= SCHEMAS_FINE:
        return Limits(properties=properties, bounds_fewer=fewer)
    return Limits(
        properties=properties,
        schemas=tuple(schema.schema_id for schema in unused),
        bounds_fewer=fewer,
        schema_bytes=sum(len(schema.model_dump_json()) for schema in unused),
    )


def _lacking(metadata: TableMetadata) -> tuple[Mapping[str, str], int]:
    """Return the properties to set, and how many columns lose their bounds through them."""
    said = metadata.properties
    retention = {name: value for name, value in _RETENTION.items() if name not in said}
    bounds = column_metrics.limits(metadata.schema(), metadata.spec(), said)
    fewer = max(0, len(metadata.schema().fields) - len(bounds) + 1) if bounds else 0
    return retention | bounds, fewer


def apply_limits(table: LakeTable) -> Limits:
    """Apply `plan_limits` to the newest metadata. Idempotent: a second run changes nothing.

    Raises:
        CatalogBusyError: If concurrent commits won every retry; nothing was changed.

    """
    applied = Limits()

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        nonlocal applied
        applied = plan_limits(current.metadata, foreign=table.lake.foreign)
        updates: list[TableUpdate] = []
        if applied.properties:
            updates.append(SetPropertiesUpdate(updates=dict(applied.properties)))
        if applied.schemas:
            schema_ids = {"schema-ids": list(applied.schemas)}
            updates.append(RemoveSchemasUpdate.model_validate(schema_ids))
        return tuple(updates)

    commit_updates(table, updates_of)
    return applied
