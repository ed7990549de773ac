"""Which snapshots refs and leases keep, and until when, decided from metadata alone."""

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef

from headrace.tables.standard_properties import REF_AGE_MS

LEASE_PREFIX = "lease-"
FOREVER_MS = 1 << 62  # the format's "for ever" is the greatest long; no clock gets here


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
