"""Plan the effect of alter steps on a table's columns and partitioning, from metadata alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import NameMapping, update_mapping
from pyiceberg.transforms import IdentityTransform, VoidTransform
from pyiceberg.types import NestedField

from headrace.definitions.properties import STREAM_PROPERTY
from headrace.errors import AlterRefusedError, ColumnReason, ContractError
from headrace.iceberg import partitions
from headrace.iceberg.pyiceberg_calls import fields_by_id, mapped_field, parents_by_id
from headrace.tables.evolution.protected_columns import DROP, RELAX, RENAME, WIDEN, Role, roles_of
from headrace.tables.evolution.schema_edit import edit
from headrace.tables.evolution.steps import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    Repartition,
    SchemaStep,
    Step,
    WidenColumn,
)

_DONE: Mapping[type[SchemaStep], str] = {
    DropColumn: DROP,
    RenameColumn: RENAME,
    WidenColumn: WIDEN,
    MakeOptional: RELAX,
}
_ROOT = -1  # the parent of top-level columns in pyiceberg's name mappings


@dataclass(frozen=True, kw_only=True)
class AlterPlan:
    """The effect of alter steps on a table; falsy if nothing changes.

    `schema`, `spec` and `name_mapping` are None if unchanged. `made_from` is the state it was
    planned from: the table's identity, and the ids of its schema and partition spec.
    """

    table: str
    steps: tuple[Step, ...]
    schema: Schema | None
    spec: PartitionSpec | None
    name_mapping: NameMapping | None
    notes: tuple[str, ...]
    made_from: tuple[str, int, int] = field(repr=False)

    def __bool__(self) -> bool:
        return self.schema is not None or self.spec is not None

    def __str__(self) -> str:
        if not self:
            return f"{self.table}: nothing to change"
        lines = (*self.steps, *(f"note: {note}" for note in self.notes))
        return "\n".join([f"{self.table}:", *(f"  {line}" for line in lines)])


def plan_alter(
    metadata: TableMetadata,
    steps: Sequence[Step],
    *,
    table: str,
    deleted_by: Collection[int] = (),
    roles: Mapping[int, tuple[Role, ...]] | None = None,
) -> AlterPlan:
    """Plan the effect of `steps`, applied in order. Pure.

    Args:
        metadata: The current metadata of the table.
        steps: The requested changes.
        table: Name of the table in errors.
        deleted_by: Ids of columns used by equality deletes.
        roles: The roles of columns to protect; by default all that `roles_of` finds.

    Raises:
        AlterRefusedError: If a step would lose or misread rows, affects a column that something
            depends on, or names a column that does not exist; the message says what is allowed.
        InvalidNameError: If a new name is not a plain lower-case identifier.

    """
    schema = metadata.schema()
    roles = roles_of(metadata, deleted_by=deleted_by) if roles is None else roles
    last_column_id, spec = metadata.last_column_id, metadata.spec()
    mapping = metadata.name_mapping()
    for step in steps:
        if isinstance(step, Repartition):
            spec = next_spec(metadata, schema, step.by, table=table)
            continue
        edited = edit(schema, step, last_column_id=last_column_id, table=table)
        if edited is not schema:
            _refuse_roles(schema, step, roles, table=table)
        if mapping is not None:
            _refuse_mapped(mapping, schema, step, table=table)
            mapping = _mapped(mapping, schema, edited)
        schema = edited
        last_column_id = max(last_column_id, schema.highest_field_id)
    refuse_unfit_partitions(metadata, schema, spec, table=table)
    return AlterPlan(
        table=table,
        steps=tuple(steps),
        schema=None if schema == metadata.schema() else schema,
        spec=None if spec.spec_id == metadata.default_spec_id else spec,
        name_mapping=None if mapping == metadata.name_mapping() else mapping,
        notes=_notes(metadata, steps),
        made_from=state_of(metadata),
    )


def state_of(metadata: TableMetadata) -> tuple[str, int, int]:
    """Return a table's identity, schema id and spec id, for `AlterPlan.made_from`."""
    return str(metadata.table_uuid), metadata.current_schema_id, metadata.default_spec_id


def next_spec(
    metadata: TableMetadata, schema: Schema, by: Sequence[str], *, table: str
) -> PartitionSpec:
    """Build a spec whose fields keep their ids and names from older specs, as readers expect.

    Raises:
        AlterRefusedError: If a term occurs twice, or does not fit the columns.

    """
    terms = tuple(partitions.Term.parse(text) for text in by)
    repeated = {str(term) for term in terms if terms.count(term) > 1}
    if repeated:
        term = repeated.pop()
        column = partitions.Term.parse(term).column
        reason = ColumnReason.PARTITION_TERM_TWICE
        raise AlterRefusedError(table, f"`{term}` occurs twice", reason=reason, column=column)
    try:
        wanted = partitions.spec_of(terms, schema, table=table)
    except ContractError as error:
        reason = ColumnReason(error.reason)
        raise AlterRefusedError(table, error.detail, reason=reason, column=error.column) from error
    known = {
        (each.source_id, str(each.transform)): each
        for spec in metadata.specs().values()
        for each in spec.fields
    }
    names = {each.name for each in known.values()}
    next_id = 1 + (metadata.last_partition_id or PARTITION_FIELD_ID_START - 1)
    fields: list[PartitionField] = []
    for each in wanted.fields:
        found = known.get((each.source_id, str(each.transform)))
        if found is None:
            name = f"{each.name}_{next_id}" if each.name in names else each.name
            found = PartitionField(each.source_id, next_id, each.transform, name)
            next_id += 1
        fields.append(found)
    for spec in metadata.specs().values():
        if spec.fields == tuple(fields):
            return spec
    return PartitionSpec(*fields, spec_id=1 + max(metadata.specs()))


def _refuse_roles(
    schema: Schema, step: SchemaStep, roles: Mapping[int, tuple[Role, ...]], *, table: str
) -> None:
    verb = _DONE.get(type(step))
    if verb is None:
        return
    found = schema.find_field(step.path)
    prefix = f"{step.path}."
    inside = [
        field_id
        for field_id in schema.field_ids
        if verb == DROP and (schema.find_column_name(field_id) or "").startswith(prefix)
    ]
    for field_id in (found.field_id, *inside):
        for role in roles.get(field_id, ()):
            if verb in role.forbids:
                name = schema.find_column_name(field_id)
                detail = f"`{name}` {role.what} and cannot be {verb}"
                raise AlterRefusedError(table, detail, reason=ColumnReason.IN_USE, column=name)


def refuse_unfit_partitions(
    metadata: TableMetadata, schema: Schema, spec: PartitionSpec, *, table: str
) -> None:
    """Refuse columns that some partition spec of a table does not fit.

    Raises:
        AlterRefusedError: Naming the column or partition field.

    """
    columns = {each.name: each.field_id for each in schema.fields}
    for each in (f for one in (*metadata.specs().values(), spec) for f in one.fields):
        if each.source_id not in schema.field_ids:
            detail = f"it would be partitioned by `{each.name}`, whose column is dropped"
            reason = ColumnReason.PARTITION_COLUMN_DROPPED
            raise AlterRefusedError(table, detail, reason=reason)
        source = columns.get(each.name)
        is_plain = isinstance(each.transform, IdentityTransform | VoidTransform)
        if source is not None and not (is_plain and source == each.source_id):
            detail = f"`{each.name}` is the name of a partition field, so a column cannot have it"
            reason = ColumnReason.PARTITION_FIELD_NAME
            raise AlterRefusedError(table, detail, reason=reason, column=each.name)


def _refuse_mapped(mapping: NameMapping, schema: Schema, step: SchemaStep, *, table: str) -> None:
    """Refuse a name that files without field ids use for a different column."""
    if isinstance(step, AddColumn):
        path, own = step.path, None
    elif isinstance(step, RenameColumn):
        parent, dot, _ = step.path.rpartition(".")
        path, own = f"{parent}{dot}{step.to}", schema.find_field(step.path).field_id
    else:
        return
    found = mapped_field(mapping, path)
    if found is not None and found.field_id != own:
        detail = f"`{path}` names another, older column in its files without field ids"
        reason = ColumnReason.OLDER_COLUMN_NAME
        raise AlterRefusedError(table, detail, reason=reason, column=path)


def _mapped(mapping: NameMapping, before: Schema, after: Schema) -> NameMapping:
    """Add the names of `after` to a name mapping."""
    old, new = fields_by_id(before), fields_by_id(after)
    renamed = {i: f for i, f in new.items() if i in old and old[i].name != f.name}
    added: dict[int, list[NestedField]] = {}
    for key, each in new.items():
        parent = parents_by_id(after).get(key, _ROOT)
        if key not in old and (parent == _ROOT or parent in old):
            added.setdefault(parent, []).append(each)
    return update_mapping(mapping, renamed, added)


def _notes(metadata: TableMetadata, steps: Sequence[Step]) -> tuple[str, ...]:
    stream = metadata.properties.get(STREAM_PROPERTY)
    if stream is None or all(isinstance(step, AddColumn | MoveColumn) for step in steps):
        return ()
    return (f"the contract of stream `{stream}` must say the same, or its next ingest is refused",)
