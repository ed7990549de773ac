"""What refs, leases and properties keep of a table, until when, and which snapshots may expire.

Decided from metadata alone: no ref, no lease and no property keeps what may expire.
"""

from collections.abc import Iterator, Mapping, Sequence

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from headrace.iceberg import standard_properties as standard
from headrace.iceberg.standard_properties import REF_AGE_MS, Retention

LEASE_PREFIX = "lease-"
FOREVER_MS = 1 << 62  # the format's "for ever" is the greatest long; no clock gets here
# pyiceberg compares every one that goes with every one there is
EXPIRED_AT_ONCE_MAX = 500


def ends_at_ms(metadata: TableMetadata, ref: SnapshotRef) -> int | None:
    """When a tag or branch with a maximum age ends, in epoch milliseconds; None if it never does.

    The format counts the age of a ref from the time of its snapshot. One that has no age of its own has
    the table's `history.expire.max-ref-age-ms`, if it says that.
    """
    age_ms = ref.max_ref_age_ms
    if age_ms is None:
        age_ms = default_age_ms(metadata)
    if age_ms is None or age_ms >= FOREVER_MS:
        return None  # as most tags, and every commit asks about all of them
    snapshot = metadata.snapshot_by_id(ref.snapshot_id)
    if snapshot is None:
        return None
    return snapshot.timestamp_ms + age_ms


def default_age_ms(metadata: TableMetadata) -> int | None:
    """Return the age at which refs end that do not say one; what cannot be read ends nothing."""
    said = metadata.properties.get(REF_AGE_MS, "")
    return int(said) if said.isdecimal() and int(said) else None


def lapsed(metadata: TableMetadata, now_ms: int) -> list[str]:
    """Name the refs, leases among them, whose time is over; whoever expires snapshots drops them."""
    return [
        name
        for name, ref in metadata.refs.items()
        if name != MAIN_BRANCH and _is_over(metadata, ref, now_ms)
    ]


def pinned_from(metadata: TableMetadata, now_ms: int) -> int | None:
    """Return the sequence number from which on every snapshot is leased; None if none is.

    A lease keeps the chain from its snapshot to the heads, so that its reader, however long it
    pauses, still finds each commit in between.
    """
    leased = (
        metadata.snapshot_by_id(ref.snapshot_id)
        for name, ref in metadata.refs.items()
        if is_lease(name, ref) and not _is_over(metadata, ref, now_ms)
    )
    return min((s.sequence_number or 0 for s in leased if s is not None), default=None)


def is_lease(name: str, ref: SnapshotRef) -> bool:
    """Whether a ref is a lease: a tag of that name which ends some day."""
    return name.startswith(LEASE_PREFIX) and ref.max_ref_age_ms is not None


def _is_over(metadata: TableMetadata, ref: SnapshotRef, now_ms: int) -> bool:
    end = ends_at_ms(metadata, ref)
    return end is not None and end <= now_ms


def expired(metadata: TableMetadata, *, keep: int, now_ms: int) -> list[int]:
    """Pick the oldest unreferenced snapshots once there are a fifth more than `keep`.

    The slack lets one commit in many carry the cost of expiry. A ref or lease that has ended by
    `now_ms` keeps nothing: it goes with, or before, the snapshots it kept. What the table or a branch
    says about itself is kept besides (`kept_by_retention`); with `gc.enabled=false` that is everything.

    Raises:
        UnsupportedTableError: If the table says nothing that Iceberg knows.

    """
    loose, slack = _loose(metadata, now_ms), max(1, keep // 5)
    if len(loose) < keep + slack:
        return []
    picked = loose[: len(loose) - keep + 1]
    free = _spare(metadata, picked, now_ms, Retention())
    if len(free) < len(picked) and len(free) <= slack:
        return []  # few are over what the table keeps: wait for more, as for what the lake keeps
    return _unpinned(metadata, free, now_ms)


def expired_before(
    metadata: TableMetadata,
    *,
    keep: int,
    before_ms: int,
    now_ms: int,
    defaults: Retention = Retention(),  # noqa: B008  (it is frozen)
) -> list[int]:
    """Pick unreferenced snapshots committed before `before_ms`, but never the newest `keep`.

    Nor any that the table or a branch keeps by its own word, or by `defaults` where it says nothing;
    raises what `expired` does.
    """
    loose = _loose(metadata, now_ms)
    old = loose[: max(0, len(loose) - keep)]
    free = _spare(metadata, [s for s in old if s.timestamp_ms < before_ms], now_ms, defaults)
    return _unpinned(metadata, free, now_ms)


def kept_by_retention(
    metadata: TableMetadata, *, now_ms: int, defaults: Retention
) -> frozenset[int]:
    """Name the snapshots that the table's properties or a branch's own retention keep.

    As the format says: of every branch the newest `min-snapshots-to-keep`, and those younger than
    `max-snapshot-age-ms`; of others, which no branch leads to, those younger than the table's age. What is
    not said is as in `defaults`; the lake's own retention is not looked at here.
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
        return frozenset()  # as most tables, and every commit asks
    kept: set[int] = set()
    reached: set[int] = set()
    # pyiceberg looks for each ancestor among all snapshots: 10,000 of them would take seconds
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
    """Yield a branch's snapshots, the newest first, as far back as they live."""
    at: int | None = head_id
    while at is not None and at in alive:
        yield alive[at]
        at = alive[at].parent_snapshot_id


def _says_anything(ref: SnapshotRef) -> bool:
    return ref.min_snapshots_to_keep is not None or ref.max_snapshot_age_ms is not None


def _is_young(snapshot: Snapshot, age_ms: int | None, now_ms: int) -> bool:
    return age_ms is not None and snapshot.timestamp_ms >= now_ms - age_ms


def _loose(metadata: TableMetadata, now_ms: int) -> list[Snapshot]:
    """List the snapshots no ref names, oldest first."""
    over = frozenset(lapsed(metadata, now_ms))
    referenced = {ref.snapshot_id for name, ref in metadata.refs.items() if name not in over}
    loose = [s for s in metadata.snapshots if s.snapshot_id not in referenced]
    return sorted(loose, key=lambda s: s.sequence_number or 0)


def _spare(
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
