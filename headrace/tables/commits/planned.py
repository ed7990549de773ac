"""Planned tables: rows are written for new columns first, and both land in one commit.

A commit to a planned table lands its schema changes and the rows in one swap. Without a commit,
for example because a query fails half-way, the catalog stays unchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.update import TableUpdate

from headrace.iceberg import partitions
from headrace.iceberg.pyiceberg_calls import creation_of
from headrace.iceberg.schema import refuse_reserved
from headrace.identifiers import TableName
from headrace.tables.evolution.plan import AlterPlan
from headrace.tables.evolution.updates import altered
from headrace.tables.lake import LakeTable, OpenLake, create_arguments


@dataclass(frozen=True)
class PlannedTable(LakeTable):
    """A table with the columns and properties that its next commit will give it.

    Reads and writes see the planned columns; `iceberg` raises `CommitConflictError` once another
    process has changed the columns or partitioning.
    """

    plan: AlterPlan = field(kw_only=True)
    properties: Mapping[str, str] = field(kw_only=True)

    def iceberg(self) -> Table:
        """Load the table as pyiceberg sees it now, with the planned columns."""
        return altered(super().iceberg(), self.plan)


@dataclass(frozen=True)
class StagedTable(LakeTable):
    """A table that its first commit will create."""

    staged: Table = field(kw_only=True)
    creation: tuple[TableUpdate, ...] = field(kw_only=True, repr=False)

    def iceberg(self) -> Table:
        """Return the table that the first commit starts from."""
        return self.staged


def stage_table(
    lake: OpenLake,
    name: TableName,
    schema: pa.Schema,
    *,
    partition_by: Sequence[str] = (),
    properties: Mapping[str, str],
) -> StagedTable:
    """Plan a table that does not exist; like `declare_table`, but the first commit creates it.

    Raises:
        ContractError: If the schema or partitioning is not supported, or a column name is reserved
            by Iceberg.

    """
    refuse_reserved(schema.names, table=str(name))
    terms = tuple(partitions.Term.parse(text) for text in partition_by)
    wanted, spec, said = create_arguments(name, schema, terms=terms, properties=properties)
    # two processes that create one namespace at once would both insert its row
    with lake.locks.hold(name.namespace):
        lake.catalog.create_namespace_if_not_exists(name.namespace)
    transaction = lake.catalog.create_table_transaction(
        (name.namespace, name.name), wanted, partition_spec=spec, properties=said
    )
    staged, creation = creation_of(transaction)
    return StagedTable(lake, name, staged=staged, creation=creation)
