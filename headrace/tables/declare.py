"""Creating a table, or bringing an existing one in line with its declaration; idempotent."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyiceberg.exceptions import TableAlreadyExistsError
from pyiceberg.table import Table
from pyiceberg.table.update import TableUpdate

from headrace.errors import AlterRefusedError, ColumnReason, ContractError
from headrace.iceberg import partitions, schema
from headrace.iceberg.updates import property_updates
from headrace.identifiers import TableName
from headrace.tables.alter import deleted_by
from headrace.tables.commits.attempt import NO_ANSWER, commit_updates
from headrace.tables.evolution.declare import plan_declared
from headrace.tables.evolution.plan import AlterPlan, plan_alter
from headrace.tables.evolution.protected_columns import roles_by_id
from headrace.tables.evolution.updates import requirements_of, updates_of
from headrace.tables.lake import LakeTable, OpenLake, create_arguments


def declare_table(
    lake: OpenLake,
    name: TableName,
    wanted: pa.Schema,
    *,
    partition_by: Sequence[str] = (),
    properties: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> LakeTable:
    """Create a table, or bring an existing one in line; idempotent, also after a lost answer.

    A non-nullable field becomes required. An existing table gains new optional columns, wider types
    and changed properties, all in one swap; its partitioning must be the same. Of `defaults` it
    gains the properties that it does not have, so that what a user has set stays. Row coordinates
    by their former names get those of today, by field id.

    Raises:
        ContractError: If the change is not additive or widening, or a column has a name that
            Iceberg keeps for itself; nothing is changed then.
        InvalidNameError: If a new column of an existing table has no plain name.
        CatalogBusyError: If it lost every race with other commits; nothing was changed.
        DatabaseUnavailableError: If the catalog does not answer; doing it again is safe.
        StorageError: If there is no room for what the catalog writes; nothing was changed.

    """
    schema.refuse_reserved(wanted.names, table=str(name))
    terms = tuple(partitions.Term.parse(text) for text in partition_by)
    said, given = dict(properties or {}), dict(defaults or {})
    table = LakeTable(lake, name)
    if not lake.exists(name) and _created(table, wanted, terms=terms, properties=given | said):
        return table

    def updates(current: Table) -> tuple[TableUpdate, ...]:
        plan = _planned(current, wanted, terms=terms)
        absent = {key: value for key, value in given.items() if key not in current.properties}
        changed = {k: v for k, v in (absent | said).items() if current.properties.get(k) != v}
        return (*updates_of(plan, current.metadata), *property_updates(changed))

    commit_updates(table, updates, requirements_of=requirements_of)
    return table


def contradiction(
    table: LakeTable, wanted: pa.Schema, *, partition_by: Sequence[str]
) -> ContractError | None:
    """Return why an existing table cannot be brought in line with a declaration; changes nothing."""
    terms = tuple(partitions.Term.parse(text) for text in partition_by)
    try:
        _planned(table.iceberg(), wanted, terms=terms)
    except ContractError as error:
        return error
    return None


def _created(
    table: LakeTable,
    wanted: pa.Schema,
    *,
    terms: tuple[partitions.Term, ...],
    properties: Mapping[str, str],
) -> bool:
    """Create a table; False if there is one by now, which is to be compared."""
    name, catalog = table.name, table.lake.catalog
    columns, spec, said = create_arguments(name, wanted, terms=terms, properties=properties)
    # two processes that create one namespace at once would both insert its row
    with table.lake.locks.hold(name.namespace):
        catalog.create_namespace_if_not_exists(name.namespace)
    try:
        catalog.create_table(
            (name.namespace, name.name), columns, partition_spec=spec, properties=said
        )
    except TableAlreadyExistsError:
        return False
    except NO_ANSWER:
        if not table.lake.exists(name):
            raise
        return False  # it landed and its answer was lost, or another process was first
    return True


def _planned(current: Table, wanted: pa.Schema, *, terms: tuple[partitions.Term, ...]) -> AlterPlan:
    name = ".".join(current.name())
    steps = plan_declared(current.metadata, wanted, terms=terms, table=name)
    roles = roles_by_id(current.metadata, deleted_by=deleted_by(current, steps))
    try:
        return plan_alter(current.metadata, steps, table=name, roles=roles)
    except AlterRefusedError as error:
        reason = ColumnReason(error.reason)
        raise ContractError(
            name, error.detail, reason=reason, column=error.column, remedy=error.remedy
        ) from error
