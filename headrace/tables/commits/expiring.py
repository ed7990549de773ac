"""What a commit that lets snapshots expire does: nothing that is asked of them later may be lost."""

from collections.abc import Collection

from pyiceberg.table import Table
from pyiceberg.table.update import TableUpdate

from headrace.iceberg.snapshot_log import SnapshotRemoval
from headrace.iceberg.updates import property_updates
from headrace.tables.commits.kept_rows import note_rolled_back
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.commit_log import record_expiring
from headrace.tables.lake import LakeTable


def expire_recorded(
    table: LakeTable, current: Table, snapshot_ids: Collection[int]
) -> tuple[TableUpdate, ...]:
    """Record snapshots that are about to expire; return the updates that remove them.

    Raises:
        DatabaseUnavailableError: If the registry is unavailable: they may not be removed.

    """
    record_expiring(table.lake.registry, table.name, current, snapshot_ids)
    rolled_back = note_rolled_back(Ancestry.of(table, current.metadata))
    return (*property_updates(rolled_back), SnapshotRemoval.of(snapshot_ids))
