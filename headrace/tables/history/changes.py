"""The changes of a table between two snapshots, for incremental computations."""

import datetime as dt
from dataclasses import dataclass

from headrace.errors import SnapshotNotFoundError, UnsupportedReason, UnsupportedTableError
from headrace.iceberg import partitions
from headrace.iceberg.partitions import PartitionKey
from headrace.registry import CommitRecord
from headrace.tables.history.commit_log import record_head, record_of
from headrace.tables.lake import LakeTable


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The commits after `since` up to `until`, oldest first, without compactions.

    `partitions` are the partitions in which rows were added, changed or removed; their keys follow
    `partition_by`.
    """

    since: int | None
    until: int | None
    operations: tuple[str, ...]
    partitions: frozenset[PartitionKey]
    partition_by: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.operations)


def changes(table: LakeTable, *, since: int | None, until: int | None = None) -> Changes:
    """List what changed after snapshot `since` (None: from the beginning) up to `until` (the head).

    Answered from the snapshot chain and, where that has expired, from the registry's log.

    Raises:
        SnapshotNotFoundError: If `since` is not a known ancestor of `until`, or the beginning of
            the history is lost; an incomplete answer is never returned.
        UnsupportedTableError: If another program changed the partition spec in between.

    """
    loaded = table.iceberg()
    metadata = loaded.metadata
    terms = partitions.terms_of(metadata.spec(), metadata.schema())
    head = metadata.current_snapshot()
    position = until if until is not None else (head.snapshot_id if head else None)
    last = position
    registry = table.lake.registry
    record_head(registry, table.name, metadata, loaded.io)
    found: list[CommitRecord] = []
    logged: dict[int, CommitRecord] | None = None
    while position is not None and position != since:
        if logged is None:
            logged = registry.line_to(str(table.name), position, back_to=since)
        # the registry first: expiry removes the parent of the oldest remaining snapshot
        record = logged.get(position)
        snapshot = metadata.snapshot_by_id(position)
        if record is None and snapshot is not None:
            record = record_of(table.name, snapshot, metadata, loaded.io)
            logged = None  # the log has a gap here, and may continue behind it
        if record is None:
            raise SnapshotNotFoundError(str(table.name), f"snapshot {position}")
        found.append(record)
        position = record.parent_id
    if position != since:
        raise SnapshotNotFoundError(str(table.name), f"ancestor snapshot {since}")
    if position is None and found and found[-1].sequence_number > 1:
        # the oldest snapshot left looks like the first once those before it expired unrecorded
        raise SnapshotNotFoundError(str(table.name), f"snapshot before {found[-1].snapshot_id}")
    seen = [record for record in reversed(found) if record.operation != "replace"]
    texts = {text for record in seen for text in record.partitions}
    try:
        keys = frozenset(partitions.key_from_text(text, terms) for text in texts)
    except ValueError as error:
        detail = "its partition spec changed between the two snapshots"
        raise UnsupportedTableError(
            str(table.name), detail, reason=UnsupportedReason.SPEC_CHANGED
        ) from error
    return Changes(
        since=since,
        until=last,
        operations=tuple(record.operation for record in seen),
        partitions=keys,
        partition_by=tuple(str(term) for term in terms),
    )


def changed_days(found: Changes, *, column: str | None = None) -> frozenset[dt.date] | None:
    """Return the days in which rows changed; None if the partitions do not say, so any may have.

    Args:
        found: The changes of a table.
        column: The time whose days are asked for: None unless the table is partitioned by its day
            alone. Rows without a time are in no day. If no column is given, every partition that
            changed must be one date, whatever column it is from.

    """
    if column is not None:
        if found.partition_by != (f"day({column})",):
            return None
        return frozenset(key[0] for key in found.partitions if isinstance(key[0], dt.date))
    days = {key[0] for key in found.partitions if len(key) == 1 and isinstance(key[0], dt.date)}
    return frozenset(days) if len(days) == len(found.partitions) else None
