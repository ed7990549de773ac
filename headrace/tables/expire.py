"""Which snapshots may die, decided from metadata alone: no ref and no running lease needs them."""

from collections.abc import Sequence

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.tables.pins import lapsed, pinned_from

# pyiceberg compares every one that goes with every one there is
EXPIRED_AT_ONCE_MAX = 500


def expired(metadata: TableMetadata, *, keep: int, now_ms: int) -> list[int]:
    """Pick the oldest unreferenced snapshots once there are a fifth more than `keep`.

    The slack lets one commit in many carry the cost of expiry. A ref or lease that has ended by
    `now_ms` keeps nothing: it goes with, or before, the snapshots it kept.
    """
    loose = _loose(metadata, now_ms)
    if len(loose) < keep + max(1, keep // 5):
        return []
    return _unpinned(metadata, loose[: len(loose) - keep + 1], now_ms)


def expired_before(metadata: TableMetadata, *, keep: int, before_ms: int, now_ms: int) -> list[int]:
    """Pick unreferenced snapshots committed before `before_ms`, but never the newest `keep`."""
    loose = _loose(metadata, now_ms)
    old = loose[: max(0, len(loose) - keep)]
    return _unpinned(metadata, [s for s in old if s.timestamp_ms < before_ms], now_ms)


def _loose(metadata: TableMetadata, now_ms: int) -> list[Snapshot]:
    """List the snapshots no ref names, oldest first."""
    over = frozenset(lapsed(metadata, now_ms))
    referenced = {ref.snapshot_id for name, ref in metadata.refs.items() if name not in over}
    loose = [s for s in metadata.snapshots if s.snapshot_id not in referenced]
    return sorted(loose, key=lambda s: s.sequence_number or 0)


def _unpinned(metadata: TableMetadata, picked: Sequence[Snapshot], now_ms: int) -> list[int]:
    pinned = pinned_from(metadata, now_ms)
    free = [s for s in picked if pinned is None or (s.sequence_number or 0) < pinned]
    return [s.snapshot_id for s in free[:EXPIRED_AT_ONCE_MAX]]
