"""Compaction of any PyIceberg table; no lake is needed. People reach it as `hr.compact`."""

from dataclasses import dataclass, field

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.table import Table

from headrace.config import Settings
from headrace.errors import InvalidNameError, UnsupportedTableError
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
        """Do it, as `apply_compaction` says."""
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
    """Plan a compaction of a table of any PyIceberg catalog; nothing is changed before `apply`.

    Rows stay what they are, and so do the table's snapshots, schema and properties; other writers
    may go on meanwhile. Locks and a record of what was done lie in `.headrace` of the working
    directory, or where `HEADRACE_STATE_DIR` says.

    Args:
        table: As `catalog.load_table` returns it.
        target_bytes: Wanted size of a file; by default what the table's own property
            `write.target-file-size-bytes` says, or 128 MiB.
        policy: Whether to sort, by what, and how much to commit at once.
        settings: Where state lies, and how much memory sorting may take.

    Raises:
        InvalidNameError: If the table's name is not `namespace.name` of plain identifiers.
        UnsupportedTableError: If it is no table of a catalog, not of format version 2, or has
            files that cannot be rewritten here.

    """
    name = table.name()
    if isinstance(table.catalog, NoopCatalog):
        detail = "it belongs to no catalog, so nothing can be committed to it"
        raise UnsupportedTableError(".".join(name), detail)
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
