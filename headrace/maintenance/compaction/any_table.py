"""Compaction of any PyIceberg table, without a lake. Its public name is `hr.compact`."""

from dataclasses import dataclass, field

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.table import Table

from headrace.config import Settings
from headrace.errors import InvalidNameError, UnsupportedReason, UnsupportedTableError
from headrace.identifiers import TableName
from headrace.maintenance.compaction.bins import CompactionPolicy
from headrace.maintenance.compaction.compact import (
    CompactionResult,
    Progress,
    apply_compaction,
    target_of,
)
from headrace.maintenance.compaction.plan import CompactionPlan, plan_compaction
from headrace.tables.lake import OpenLake


@dataclass(frozen=True, kw_only=True)
class TableCompaction:
    """What a compaction of one table would do; print it, then `apply` it."""

    plan: CompactionPlan
    _catalog: Catalog = field(repr=False)
    _settings: Settings = field(repr=False)

    def apply(
        self, *, run_id: str = "", progress: Progress = lambda _done, _total: None
    ) -> CompactionResult:
        """Apply the plan; raises what `apply_compaction` raises."""
        with OpenLake.of(self._catalog, settings=self._settings) as lake:
            return apply_compaction(
                lake.table(self.plan.table), self.plan, run_id=run_id, progress=progress
            )

    def __bool__(self) -> bool:
        return bool(self.plan)

    def __str__(self) -> str:
        return str(self.plan)


def compact(
    table: Table,
    *,
    target_bytes: int | None = None,
    policy: CompactionPolicy | None = None,
    settings: Settings | None = None,
) -> TableCompaction:
    """Plan a compaction of a table of any PyIceberg catalog; nothing changes until `apply`.

    Compaction keeps the rows, snapshots, schema and properties of the table, and other writers may
    commit at the same time. Locks and the record of commits are kept in `.headrace` of the working
    directory, or in `HEADRACE_STATE_DIR` if that is set.

    Args:
        table: As `catalog.load_table` returns it.
        target_bytes: Target size of a file; by default the table's property
            `write.target-file-size-bytes`, or 128 MiB.
        policy: Whether and by what to sort, and how much to commit at once.
        settings: The state folder, and the memory limit for sorting.

    Raises:
        InvalidNameError: If the table's name is not `namespace.name` of plain identifiers.
        UnsupportedTableError: If the table belongs to no catalog, is not of format version 2, or
            has files that cannot be rewritten.

    """
    name = table.name()
    if isinstance(table.catalog, NoopCatalog):
        detail = "it belongs to no catalog, so nothing can be committed to it"
        reason = UnsupportedReason.NO_CATALOG
        raise UnsupportedTableError(".".join(name), detail, reason=reason)
    if len(name) != 2:
        raise InvalidNameError(".".join(name), kind="table name (`namespace.name`)")
    settings = settings or Settings.without_lake()
    with OpenLake.of(table.catalog, settings=settings) as lake:
        found = lake.table(TableName(*name))
        plan = plan_compaction(
            found.head(),
            target_bytes=target_of(found, target_bytes),
            policy=policy or CompactionPolicy(group_bytes=settings.compaction_commit_bytes),
        )
    return TableCompaction(plan=plan, _catalog=table.catalog, _settings=settings)
