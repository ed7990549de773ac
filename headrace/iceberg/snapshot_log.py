"""Which snapshot was current at a time, from a snapshot log that may have gaps.

The log records when `main` was moved to which snapshot. PyIceberg drops the entries of expired
snapshots from it, so that the entry before such a gap seems to have been current longer than it was;
the Java library drops everything up to the gap. Expiry here follows Java, and time travel trusts an
entry only if no snapshot can be missing between it and the next.
"""

# pyright: reportPrivateUsage=false

import datetime as dt
from collections.abc import Collection

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot, SnapshotLogEntry
from pyiceberg.table.update import (
    RemoveSnapshotsUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
)

from headrace.errors import SnapshotNotFoundError, TimeGapError


class SnapshotRemoval(RemoveSnapshotsUpdate):
    """Removes snapshots, and the entries of the snapshot log that become wrong by it.

    A REST catalog gets the same request as from PyIceberg and cuts the log itself.
    """

    @classmethod
    def of(cls, snapshot_ids: Collection[int]) -> "SnapshotRemoval":
        """Build the update."""
        return cls.model_validate({"snapshot-ids": list(snapshot_ids)})


# registers how pyiceberg applies a `SnapshotRemoval`; it dispatches on the class of an update
@_apply_table_update.register(SnapshotRemoval)
def _(
    update: SnapshotRemoval, base_metadata: TableMetadata, context: _TableMetadataUpdateContext
) -> TableMetadata:
    plain = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": update.snapshot_ids})
    removed = _apply_table_update(plain, base_metadata, context)
    alive = {each.snapshot_id for each in removed.snapshots}
    log = cut(base_metadata.snapshot_log, alive=alive)
    return removed.model_copy(update={"snapshot_log": log})


def cut(log: Collection[SnapshotLogEntry], *, alive: Collection[int]) -> list[SnapshotLogEntry]:
    """Keep the entries after the last one whose snapshot is gone; earlier ones are unreliable."""
    kept: list[SnapshotLogEntry] = []
    for entry in log:
        if entry.snapshot_id in alive:
            kept.append(entry)
        else:
            kept.clear()
    return kept


def snapshot_at(metadata: TableMetadata, time: dt.datetime, *, table: str, trusted: bool) -> int:
    """Return the snapshot that was current on `main` at a time, also if it was rolled back later.

    Args:
        metadata: The table's metadata.
        time: The time, with a time zone.
        table: Name of the table in errors.
        trusted: Whether snapshots expire only by `SnapshotRemoval`, as in tables of a lake.

    Raises:
        SnapshotNotFoundError: If the log begins later.
        TimeGapError: If a snapshot that has expired since may have been current then.

    """
    at_ms = int(time.timestamp() * 1000)
    log = metadata.snapshot_log
    positions = [at for at, each in enumerate(log) if each.timestamp_ms <= at_ms]
    if not positions:
        since = f"; its history is known from {_text(log[0].timestamp_ms)} on" if log else ""
        raise SnapshotNotFoundError(table, f"snapshot of {time:%Y-%m-%d %H:%M:%S} or before{since}")
    entry = log[positions[-1]]
    after = log[positions[-1] + 1] if positions[-1] + 1 < len(log) else None
    if not _is_known(metadata, entry, after, trusted=trusted):
        raise TimeGapError(
            table,
            at_ms=at_ms,
            before=(entry.snapshot_id, entry.timestamp_ms),
            after=None if after is None else (after.snapshot_id, after.timestamp_ms),
        )
    return entry.snapshot_id


def _is_known(
    metadata: TableMetadata,
    entry: SnapshotLogEntry,
    after: SnapshotLogEntry | None,
    *,
    trusted: bool,
) -> bool:
    """Whether an entry's snapshot was certainly current until the next entry."""
    this = metadata.snapshot_by_id(entry.snapshot_id)
    if this is None:
        return False
    if after is None:
        return entry.snapshot_id == metadata.current_snapshot_id
    following = metadata.snapshot_by_id(after.snapshot_id)
    if following is None:
        return False
    if (
        following.parent_snapshot_id == this.snapshot_id
        and following.timestamp_ms == after.timestamp_ms
    ):
        return True  # it was committed to `main`, on top of this one
    return _nothing_is_missing(metadata, this, following, until=after, trusted=trusted)


def _nothing_is_missing(
    metadata: TableMetadata,
    this: Snapshot,
    following: Snapshot,
    *,
    until: SnapshotLogEntry,
    trusted: bool,
) -> bool:
    """Whether all snapshots still exist that `main` may have pointed to before it was moved.

    Each commit takes the next sequence number. If other programs expire snapshots, `main` may have
    been rolled back to a snapshot of any age.
    """
    alive = {each.sequence_number or 0 for each in metadata.snapshots}
    numbers = (this.sequence_number or 0, following.sequence_number or 0)
    if not all(numbers):  # format version 1 has no sequence numbers
        return False
    first = min(numbers) if trusted else 1
    later = [
        each.sequence_number or 0
        for each in metadata.snapshots
        if each.timestamp_ms >= until.timestamp_ms
    ]
    end = min(later, default=metadata.next_sequence_number())
    return all(number in alive for number in range(first, end))


def _text(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
