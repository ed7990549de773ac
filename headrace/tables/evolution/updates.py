"""The catalog updates of a planned alteration, and its effect on a table in memory."""

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertLastAssignedPartitionId,
    SetCurrentSchemaUpdate,
    SetDefaultSpecUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)

from headrace.errors import CommitConflictError, ConflictReason
from headrace.iceberg import column_metrics
from headrace.iceberg.updates import property_updates
from headrace.tables.evolution.plan import AlterPlan, state_of

_NAME_MAPPING = "schema.name-mapping.default"
_LAST = -1  # "the one just added", in updates that set a schema or spec


def updates_of(plan: AlterPlan, metadata: TableMetadata) -> tuple[TableUpdate, ...]:
    """Build the updates that apply a plan. Pure."""
    updates: list[TableUpdate] = []
    if plan.schema is not None:
        known = [each.schema_id for each in metadata.schemas if each == plan.schema]
        if not known:
            schema_id = 1 + max(each.schema_id for each in metadata.schemas)
            keys = plan.schema.identifier_field_ids
            schema = Schema(*plan.schema.fields, schema_id=schema_id, identifier_field_ids=keys)
            updates.append(AddSchemaUpdate(schema=schema))
        updates.append(
            SetCurrentSchemaUpdate.model_validate({"schema-id": known[0] if known else _LAST})
        )
        names = _renamed(metadata.schema(), plan.schema)
        updates.extend(property_updates(column_metrics.renamed(metadata.properties, names)))
    if plan.spec is not None:
        is_known = plan.spec.spec_id in metadata.specs()
        if not is_known:
            updates.append(AddPartitionSpecUpdate(spec=plan.spec))
        spec_id = plan.spec.spec_id if is_known else _LAST
        updates.append(SetDefaultSpecUpdate.model_validate({"spec-id": spec_id}))
    if plan.name_mapping is not None:
        mapping = {_NAME_MAPPING: plan.name_mapping.model_dump_json()}
        updates.append(SetPropertiesUpdate(updates=mapping))
    return tuple(updates)


def _renamed(before: Schema, after: Schema) -> dict[str, str]:
    pairs = (
        (before.find_column_name(key) or "", after.find_column_name(key) or "")
        for key in before.field_ids & after.field_ids
    )
    return {old: new for old, new in pairs if old != new}


def requirements_of(metadata: TableMetadata) -> tuple[TableRequirement, ...]:
    """Require that columns, partitioning and their last assigned ids are unchanged. Pure."""
    return (
        AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id}),
        AssertLastAssignedFieldId.model_validate(
            {"last-assigned-field-id": metadata.last_column_id}
        ),
        AssertDefaultSpecId.model_validate({"default-spec-id": metadata.default_spec_id}),
        AssertLastAssignedPartitionId.model_validate(
            {"last-assigned-partition-id": metadata.last_partition_id}
        ),
    )


def is_applied(plan: AlterPlan, metadata: TableMetadata) -> bool:
    """Whether a table already has the state that a plan leads to. Pure."""
    if str(metadata.table_uuid) != plan.made_from[0]:
        return False
    schema_fits = plan.schema is None or plan.schema == metadata.schema()
    return schema_fits and (plan.spec is None or plan.spec.fields == metadata.spec().fields)


def altered(current: Table, plan: AlterPlan) -> Table:
    """Return the table with a plan applied in memory; the catalog is not changed.

    Raises:
        CommitConflictError: If columns or partitioning changed since the plan was made.

    """
    if not plan or is_applied(plan, current.metadata):
        return current
    if state_of(current.metadata) != plan.made_from:
        detail = "its columns or partitioning changed since the plan was made"
        raise CommitConflictError(plan.table, detail, reason=ConflictReason.COLUMNS_CHANGED)
    return Table(
        identifier=current.name(),
        metadata=update_table_metadata(current.metadata, updates_of(plan, current.metadata)),
        metadata_location=current.metadata_location,
        io=current.io,
        catalog=current.catalog,
    )
