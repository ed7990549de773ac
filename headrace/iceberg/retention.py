"""Retention: what refs, leases and properties keep of a table, and which snapshots may expire.

Decided from metadata alone: a snapshot may expire only if no ref, lease or property keeps it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from headrace.definitions.properties import OWNER_PREFIX
from headrace.iceberg import standard_properties as standard
from headrace.iceberg.standard_properties import REF_AGE_MS, Retention

LEASE_PREFIX = "lease-"
FLINK_JOB = "flink.job-id"  # in the summary of each commit of the sink
_FLINK = "flink"
FOREVER_MS = 1 << 62  # the format's "forever" is the largest long; no clock reaches this
# pyiceberg compares every removed snapshot with every existing one
EXPIRED_AT_ONCE_MAX = 500


def ends_at_ms(metadata: TableMetadata, ref: SnapshotRef) -> int | None:
    """When a tag or branch with a maximum age ends, in epoch milliseconds; None if it never does.

    The format counts the age of a ref from the time of its snapshot. A ref without a maximum age of
    its own gets the table's `history.expire.max-ref-age-ms`, if that is set.
    """
    age_ms = ref.max_ref_age_ms
    if age_ms is None:
        age_ms = default_age_ms(metadata)
    if age_ms is None or age_ms >= FOREVER_MS:
        return None  # fast path: most tags, and every commit checks all refs
    snapshot = metadata.snapshot_by_id(ref.snapshot_id)
    if snapshot is None:
        return None
    return snapshot.timestamp_ms + age_ms


def default_age_ms(metadata: TableMetadata) -> int | None:
    """Return the default maximum age of refs; an invalid property counts as unset."""
    said = metadata.properties.get(REF_AGE_MS, "")
    return int(said) if said.isdecimal() and int(said) else None


def lapsed(metadata: TableMetadata, now_ms: int) -> list[str]:
    """List the refs, including leases, that have ended; expiry of snapshots drops them."""
    return [
        name
        for name, ref in metadata.refs.items()
        if name != MAIN_BRANCH and _is_over(metadata, ref, now_ms)
    ]


def pinned_from(metadata: TableMetadata, now_ms: int) -> int | None:
    """Return the sequence number from which on all snapshots are leased; None if none is.

    A lease keeps all snapshots from its own up to the heads, so that its reader finds every commit
    in between, however long it pauses. So does the newest commit of a job of Flink that owns the table: its
    sink looks for it from the head on, and without it commits again what its state holds.
    """
    leased = (
        metadata.snapshot_by_id(ref.snapshot_id)
        for name, ref in metadata.refs.items()
        if is_lease(name, ref) and not _is_over(metadata, ref, now_ms)
    )
    kept = [s.sequence_number or 0 for s in leased if s is not None]
    return min((*kept, *_committed_by_owners(metadata)), default=None)


def _committed_by_owners(metadata: TableMetadata) -> Iterator[int]:
    """Yield the sequence number of the newest commit of each owner that is a job of Flink."""
    for key, value in metadata.properties.items():
        if not key.startswith(OWNER_PREFIX):
            continue
        owner = json.loads(value)
        jobs = owner.get("jobs", ()) if owner.get("by") == _FLINK else ()
        sequences = (
            each.sequence_number or 0
            for each in (metadata.snapshots if jobs else ())
            if each.summary is not None
            and each.summary.additional_properties.get(FLINK_JOB) in jobs
        )
        if newest := max(sequences, default=0):
            yield newest


def is_lease(name: str, ref: SnapshotRef) -> bool:
    """Whether a ref is a lease: a tag with the lease prefix and a maximum age."""
    return name.startswith(LEASE_PREFIX) and ref.max_ref_age_ms is not None


def _is_over(metadata: TableMetadata, ref: SnapshotRef, now_ms: int) -> bool:
    end = ends_at_ms(metadata, ref)
    return end is not None and end <= now_ms


def expired(metadata: TableMetadata, *, keep: int, now_ms: int) -> list[int]:
    """Return the oldest unreferenced snapshots once there are a fifth more than `keep`.

    Because of the slack only one commit in many pays for expiry. A ref or lease that has ended by
    `now_ms` keeps nothing: it is dropped with, or before, its snapshots. Snapshots kept by the
    retention of the table or a branch stay (`kept_by_retention`); with `gc.enabled=false` all stay.

    Raises:
        UnsupportedTableError: If a retention property has an invalid value.

    """
    loose, slack = _unreferenced(metadata, now_ms), max(1, keep // 5)
    if len(loose) < keep + slack:
        return []
    picked = loose[: len(loose) - keep + 1]
    free = _not_retained(metadata, picked, now_ms, Retention())
    if len(free) < len(picked) and len(free) <= slack:
        return []  # few exceed the table's retention: wait for more, as with the lake's
    return _unpinned(metadata, free, now_ms)


def expired_before(
    metadata: TableMetadata,
    *,
    keep: int,
    before_ms: int,
    now_ms: int,
    defaults: Retention = Retention(),  # noqa: B008  (it is frozen)
) -> list[int]:
    """Return unreferenced snapshots committed before `before_ms`, but never the newest `keep`.

    Snapshots kept by the retention of the table or a branch stay; `defaults` is the retention of
    tables that declare none. Raises what `expired` raises.
    """
    loose = _unreferenced(metadata, now_ms)
    old = loose[: max(0, len(loose) - keep)]
    free = _not_retained(metadata, [s for s in old if s.timestamp_ms < before_ms], now_ms, defaults)
    return _unpinned(metadata, free, now_ms)


def kept_by_retention(
    metadata: TableMetadata, *, now_ms: int, defaults: Retention
) -> frozenset[int]:
    """Return the snapshots that the table's properties or a branch's own retention keep.

    As the format defines: of every branch the newest `min-snapshots-to-keep` and those younger than
    `max-snapshot-age-ms`; of snapshots outside of all branches those younger than the table's age.
    `defaults` fills in unset properties; the lake's own retention is not considered here.
    """
    if not standard.collects_garbage(metadata.properties):
        return frozenset(each.snapshot_id for each in metadata.snapshots)
    said = standard.retention(metadata.properties, table=metadata.location, defaults=defaults)
    over = frozenset(lapsed(metadata, now_ms))
    branches = [
        ref
        for name, ref in metadata.refs.items()
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH and name not in over
    ]
    if said == Retention() and not any(map(_says_anything, branches)):
        return frozenset()  # fast path: most tables, and every commit checks
    kept: set[int] = set()
    reached: set[int] = set()
    # pyiceberg searches all snapshots for each ancestor: 10,000 snapshots would take seconds
    alive = {each.snapshot_id: each for each in metadata.snapshots}
    for ref in branches:
        ages = (ref.max_snapshot_age_ms, said.snapshot_age_ms)
        age_ms = next((each for each in ages if each is not None), None)
        count = ref.min_snapshots_to_keep or said.snapshots_min or 0
        for position, snapshot in enumerate(_line(alive, ref.snapshot_id)):
            reached.add(snapshot.snapshot_id)
            if position < count or _is_young(snapshot, age_ms, now_ms):
                kept.add(snapshot.snapshot_id)
    kept.update(
        each.snapshot_id
        for each in metadata.snapshots
        if each.snapshot_id not in reached and _is_young(each, said.snapshot_age_ms, now_ms)
    )
    return frozenset(kept)


def _line(alive: Mapping[int, Snapshot], head_id: int) -> Iterator[Snapshot]:
    """Yield a branch's snapshots, newest first, as far back as they exist."""
    at: int | None = head_id
    while at is not None and at in alive:
        yield alive[at]
        at = alive[at].parent_snapshot_id


def _says_anything(ref: SnapshotRef) -> bool:
    return ref.min_snapshots_to_keep is not None or ref.max_snapshot_age_ms is not None


def _is_young(snapshot: Snapshot, age_ms: int | None, now_ms: int) -> bool:
    return age_ms is not None and snapshot.timestamp_ms >= now_ms - age_ms


def _unreferenced(metadata: TableMetadata, now_ms: int) -> list[Snapshot]:
    """List the unreferenced snapshots, oldest first."""
    over = frozenset(lapsed(metadata, now_ms))
    referenced = {ref.snapshot_id for name, ref in metadata.refs.items() if name not in over}
    loose = [s for s in metadata.snapshots if s.snapshot_id not in referenced]
    return sorted(loose, key=lambda s: s.sequence_number or 0)


def _not_retained(
    metadata: TableMetadata, picked: Sequence[Snapshot], now_ms: int, defaults: Retention
) -> list[Snapshot]:
    if not picked:
        return []
    kept = kept_by_retention(metadata, now_ms=now_ms, defaults=defaults)
    return [each for each in picked if each.snapshot_id not in kept]


def _unpinned(metadata: TableMetadata, picked: Sequence[Snapshot], now_ms: int) -> list[int]:
    pinned = pinned_from(metadata, now_ms)
    free = [s for s in picked if pinned is None or (s.sequence_number or 0) < pinned]
    return [s.snapshot_id for s in free[:EXPIRED_AT_ONCE_MAX]]
