"""Leases: a reader's claim, with an end, that a snapshot and what was committed since stay readable.

A lease is a tag with a maximum age, so the metadata alone says what it keeps and until when; the
registry adds who holds it. Renewing it gives the tag another name: whoever is about to drop a lease
that ended requires its tag to be there, and so never drops one that was just renewed.
"""

import contextlib
import datetime as dt
import math
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, replace

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.update import TableUpdate

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

TTL_S_MAX = 30 * 24 * 3600.0  # a holder that died must not keep a table's history for good
_HOLDER_MAX = 200
_UNKNOWN_HOLDER = ""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One claim on a snapshot, good until `expires_at` (UTC)."""

    id: str
    table: TableName
    snapshot_id: int
    holder: str
    expires_at: dt.datetime
    tag: str


def lease(table: LakeTable, *, holder: str, ttl_s: float, snapshot_id: int | None = None) -> Lease:
    """Keep a snapshot, and every one committed after it, for `ttl_s` from now.

    Its rows stay readable, and so does what each later commit did and added, however often the
    table is compacted and snapshots expire. The longer the lease, the more of them commits carry
    along: renew a short one rather than ask for a long one.

    Args:
        table: The table.
        holder: Who reads, for people who wonder what keeps their snapshots.
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
        if mine is not None:  # the answer to the attempt before was lost
            return ()
        wanted = snapshot_id
        if wanted is None:
            head = metadata.snapshot_by_name(MAIN_BRANCH)
            wanted = None if head is None else head.snapshot_id
        if wanted is None or metadata.snapshot_by_id(wanted) is None:
            raise SnapshotNotFoundError(str(table.name), f"snapshot {wanted} to lease")
        ref, ends_at_ms = _ref(metadata, wanted, ttl_s=ttl_s)
        ends[:] = [(wanted, ends_at_ms)]
        return (set_ref(name, ref),)

    commit_updates(table, updates_of)
    found, ends_at_ms = ends[0]
    taken = Lease(
        id=lease_id,
        table=table.name,
        snapshot_id=found,
        holder=holder,
        expires_at=_time(ends_at_ms),
        tag=name,
    )
    _note(table, taken)
    return taken


def renew(table: LakeTable, held: Lease, *, ttl_s: float) -> Lease:
    """Let a lease end `ttl_s` from now, if it has not ended yet.

    Raises:
        LeaseLapsedError: If its time is over, or it was released or renewed by someone else.
        ValueError: If `ttl_s` is out of bounds.

    """
    _check(ttl_s, held.holder)
    count = int(held.tag.rpartition("-")[2]) + 1
    name = f"{LEASE_PREFIX}{held.id}-{count}"
    ends: list[int] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        if ends and name in metadata.refs:
            return ()
        before = metadata.refs.get(held.tag)
        if before is None or held.tag in lapsed(metadata, _now_ms()):
            raise LeaseLapsedError(str(table.name), held.id, snapshot_id=held.snapshot_id)
        ref, ends_at_ms = _ref(metadata, before.snapshot_id, ttl_s=ttl_s)
        ends[:] = [ends_at_ms]
        return (set_ref(name, ref), drop_ref(held.tag))

    commit_updates(table, updates_of)
    renewed = replace(held, expires_at=_time(ends[0]), tag=name)
    _note(table, renewed)
    return renewed


def release(table: LakeTable, held: Lease) -> None:
    """End a lease, also one renewed since; one that is over already stays over."""
    end(table, held.id)


def end(table: LakeTable, lease_id: str) -> bool:
    """End a lease by its id, whoever holds it; False if it is over already."""
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

    A block that takes longer renews it (`renew`); the newest renewal ends with the block too.
    """
    held = lease(table, holder=holder, ttl_s=ttl_s, snapshot_id=snapshot_id)
    try:
        yield held
    finally:
        # if the catalog cannot be used now, the lease ends by itself
        with contextlib.suppress(CatalogBusyError, DatabaseUnavailableError):
            release(table, held)


def leases(table: LakeTable) -> tuple[Lease, ...]:
    """List the leases that have not ended, the one that ends first first.

    `holder` is empty where the registry does not know it or cannot be asked.
    """
    metadata = table.iceberg().metadata
    over = lapsed(metadata, _now_ms())
    holders: dict[str, str] = {}
    with contextlib.suppress(DatabaseUnavailableError):
        holders = table.lake.registry.lease_holders(str(table.name))
    found = [
        Lease(
            id=_id_of(name),
            table=table.name,
            snapshot_id=ref.snapshot_id,
            holder=holders.get(_id_of(name), _UNKNOWN_HOLDER),
            expires_at=_time(retention.ends_at_ms(metadata, ref) or 0),
            tag=name,
        )
        for name, ref in metadata.refs.items()
        if retention.is_lease(name, ref) and name not in over
    ]
    return tuple(sorted(found, key=lambda each: (each.expires_at, each.id)))


def _ref(metadata: TableMetadata, snapshot_id: int, *, ttl_s: float) -> tuple[SnapshotRef, int]:
    snapshot = metadata.snapshot_by_id(snapshot_id)
    taken_at_ms = 0 if snapshot is None else snapshot.timestamp_ms
    # a table whose clock is ahead of this one's: its lease lasts from its own time on
    ends_at_ms = max(_now_ms(), taken_at_ms) + math.ceil(ttl_s * 1000)
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
        ends_at_ms=round((held.expires_at - _EPOCH) / dt.timedelta(milliseconds=1)),
    )
    with contextlib.suppress(DatabaseUnavailableError):  # the tag is what keeps the snapshots
        table.lake.registry.record_lease(record, now_ms=_now_ms())


def _check(ttl_s: float, holder: str) -> None:
    if not 0 < ttl_s <= TTL_S_MAX:
        msg = f"`ttl_s` must be above 0 and at most {TTL_S_MAX:.0f}, not {ttl_s}"
        raise ValueError(msg)
    if not holder or len(holder) > _HOLDER_MAX:
        msg = f"`holder` must be 1 to {_HOLDER_MAX} characters, not {len(holder)}"
        raise ValueError(msg)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _time(at_ms: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(milliseconds=at_ms)
