"""Leases: a reader's time-limited claim that a snapshot and all later commits stay readable.

A lease is a tag with a maximum age, so the metadata alone tells what it keeps and until when; the
registry adds its holder. Renewing a lease renames its tag: dropping an ended lease requires the tag
to exist under its old name, so a lease that was just renewed is never dropped.
"""

import contextlib
import datetime as dt
import math
import uuid
from collections.abc import Generator
from dataclasses import dataclass, replace

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.update import TableUpdate

from headrace.clock import EPOCH, time_at
from headrace.errors import (
    CatalogBusyError,
    DatabaseUnavailableError,
    LeaseLapsedError,
    SnapshotNotFoundError,
)
from headrace.iceberg import retention
from headrace.iceberg.retention import LEASE_PREFIX, lapsed, pinned_from
from headrace.iceberg.updates import drop_ref, make_ref, set_ref
from headrace.identifiers import TableName
from headrace.registry import LeaseRecord
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.lake import LakeTable

__all__ = [
    "TTL_S_MAX",
    "Lease",
    "lapsed",
    "lease",
    "leased",
    "leases",
    "pinned_from",
    "release",
    "renew",
]

TTL_S_MAX = 30 * 24 * 3600.0  # a crashed holder must not keep a table's history forever
_HOLDER_MAX = 200
_UNKNOWN_HOLDER = ""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One claim on a snapshot, valid until `expires_at` (UTC)."""

    id: str
    table: TableName
    snapshot_id: int
    holder: str
    expires_at: dt.datetime
    tag: str


def lease(table: LakeTable, *, holder: str, ttl_s: float, snapshot_id: int | None = None) -> Lease:
    """Keep a snapshot, and every one committed after it, for `ttl_s` from now.

    Its rows and the changes of each later commit stay readable, however often the table is
    compacted and snapshots expire. A long lease makes every commit carry more snapshots: renew a
    short lease instead of taking a long one.

    Args:
        table: The table.
        holder: Name of the reader, shown to people who ask what keeps their snapshots.
        ttl_s: How long, in seconds, up to `TTL_S_MAX`.
        snapshot_id: The snapshot; the head of `main` if not given.

    Raises:
        SnapshotNotFoundError: If the snapshot is gone, or the table has none.
        ValueError: If `ttl_s` or `holder` is out of bounds.

    """
    _check(ttl_s, holder)
    lease_id = uuid.uuid4().hex
    name = f"{LEASE_PREFIX}{lease_id}-1"
    ends: list[tuple[int, int]] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        mine = metadata.refs.get(name)
        if mine is not None:  # the answer to the previous attempt was lost
            return ()
        wanted = snapshot_id
        if wanted is None:
            head = metadata.snapshot_by_name(MAIN_BRANCH)
            wanted = None if head is None else head.snapshot_id
        if wanted is None or metadata.snapshot_by_id(wanted) is None:
            raise SnapshotNotFoundError(str(table.name), f"snapshot {wanted} to lease")
        ref, ends_at_ms = _ref(metadata, wanted, ttl_s=ttl_s, now_ms=table.lake.now_ms())
        ends[:] = [(wanted, ends_at_ms)]
        return (set_ref(name, ref),)

    commit_updates(table, updates_of)
    found, ends_at_ms = ends[0]
    taken = Lease(
        id=lease_id,
        table=table.name,
        snapshot_id=found,
        holder=holder,
        expires_at=time_at(ends_at_ms),
        tag=name,
    )
    _note(table, taken)
    return taken


def renew(table: LakeTable, held: Lease, *, ttl_s: float) -> Lease:
    """Extend a lease to end `ttl_s` from now, if it has not ended yet.

    Raises:
        LeaseLapsedError: If it has ended, or another caller released or renewed it.
        ValueError: If `ttl_s` is out of bounds.

    """
    _check(ttl_s, held.holder)
    count = int(held.tag.rpartition("-")[2]) + 1
    name = f"{LEASE_PREFIX}{held.id}-{count}"
    ends: list[int] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        mine = metadata.refs.get(name) if ends else None
        if mine is not None and retention.ends_at_ms(metadata, mine) == ends[0]:
            return ()  # the answer to the previous attempt was lost
        before = metadata.refs.get(held.tag)
        if before is None or held.tag in lapsed(metadata, table.lake.now_ms()):
            raise LeaseLapsedError(str(table.name), held.id, snapshot_id=held.snapshot_id)
        ref, ends_at_ms = _ref(
            metadata, before.snapshot_id, ttl_s=ttl_s, now_ms=table.lake.now_ms()
        )
        ends[:] = [ends_at_ms]
        return (set_ref(name, ref), drop_ref(held.tag))

    commit_updates(table, updates_of)
    renewed = replace(held, expires_at=time_at(ends[0]), tag=name)
    _note(table, renewed)
    return renewed


def release(table: LakeTable, held: Lease) -> None:
    """Release a lease, also one renewed since; does nothing if it has ended already."""
    end(table, held.id)


def end(table: LakeTable, lease_id: str) -> bool:
    """Release a lease by its id, whoever holds it; return False if it has ended already."""
    ended: list[str] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        names = [
            name
            for name, ref in current.metadata.refs.items()
            if retention.is_lease(name, ref) and _id_of(name) == lease_id
        ]
        ended.extend(names)
        return tuple(drop_ref(name) for name in names)

    commit_updates(table, updates_of)
    with contextlib.suppress(DatabaseUnavailableError):
        table.lake.registry.forget_lease(lease_id)
    return bool(ended)


@contextlib.contextmanager
def leased(
    table: LakeTable, *, holder: str, ttl_s: float, snapshot_id: int | None = None
) -> Generator[Lease]:
    """Hold a lease while the block runs, for at most `ttl_s`.

    A block that takes longer must renew it (`renew`); the newest renewal is released at the end.
    """
    held = lease(table, holder=holder, ttl_s=ttl_s, snapshot_id=snapshot_id)
    try:
        yield held
    finally:
        # if the catalog is unavailable now, the lease ends by itself
        with contextlib.suppress(CatalogBusyError, DatabaseUnavailableError):
            release(table, held)


def leases(table: LakeTable) -> tuple[Lease, ...]:
    """List the leases that have not ended, in the order of their ends.

    `holder` is empty if the registry does not know it or is unavailable.
    """
    metadata = table.iceberg().metadata
    over = lapsed(metadata, table.lake.now_ms())
    holders: dict[str, str] = {}
    with contextlib.suppress(DatabaseUnavailableError):
        holders = table.lake.registry.lease_holders(str(table.name))
    found = [
        Lease(
            id=_id_of(name),
            table=table.name,
            snapshot_id=ref.snapshot_id,
            holder=holders.get(_id_of(name), _UNKNOWN_HOLDER),
            expires_at=time_at(retention.ends_at_ms(metadata, ref) or 0),
            tag=name,
        )
        for name, ref in metadata.refs.items()
        if retention.is_lease(name, ref) and name not in over
    ]
    return tuple(sorted(found, key=lambda each: (each.expires_at, each.id)))


def _ref(
    metadata: TableMetadata, snapshot_id: int, *, ttl_s: float, now_ms: int
) -> tuple[SnapshotRef, int]:
    snapshot = metadata.snapshot_by_id(snapshot_id)
    taken_at_ms = 0 if snapshot is None else snapshot.timestamp_ms
    # if the table's clock is ahead of ours, the lease counts from the table's time
    ends_at_ms = max(now_ms, taken_at_ms) + math.ceil(ttl_s * 1000)
    age_ms = ends_at_ms - taken_at_ms
    return make_ref(snapshot_id, SnapshotRefType.TAG, max_age_ms=age_ms), ends_at_ms


def _id_of(name: str) -> str:
    return name.removeprefix(LEASE_PREFIX).partition("-")[0]


def _note(table: LakeTable, held: Lease) -> None:
    record = LeaseRecord(
        lease_id=held.id,
        table=str(table.name),
        snapshot_id=held.snapshot_id,
        holder=held.holder,
        ends_at_ms=round((held.expires_at - EPOCH) / dt.timedelta(milliseconds=1)),
    )
    with contextlib.suppress(DatabaseUnavailableError):  # the tag is what keeps the snapshots
        table.lake.registry.record_lease(record, now_ms=table.lake.now_ms())


def _check(ttl_s: float, holder: str) -> None:
    if not 0 < ttl_s <= TTL_S_MAX:
        msg = f"`ttl_s` must be above 0 and at most {TTL_S_MAX:.0f}, not {ttl_s}"
        raise ValueError(msg)
    if not holder or len(holder) > _HOLDER_MAX:
        msg = f"`holder` must be 1 to {_HOLDER_MAX} characters, not {len(holder)}"
        raise ValueError(msg)
