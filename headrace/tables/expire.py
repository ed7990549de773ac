"""Which snapshots may die, decided from metadata alone: no ref and no running lease needs them."""

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot


def expired(metadata: TableMetadata, *, keep: int) -> list[int]:
    """Pick the oldest unreferenced snapshots once there are a fifth more than `keep`.

    The slack lets one commit in many carry the cost of expiry.
    """
    loose = _loose(metadata)
    if len(loose) < keep + max(1, keep // 5):
        return []
    return [s.snapshot_id for s in loose[: len(loose) - keep + 1]]


def expired_before(metadata: TableMetadata, *, keep: int, before_ms: int) -> list[int]:
    """Pick unreferenced snapshots committed before `before_ms`, but never the newest `keep`."""
    loose = _loose(metadata)
    old = loose[: max(0, len(loose) - keep)]
    return [s.snapshot_id for s in old if s.timestamp_ms < before_ms]


def _loose(metadata: TableMetadata) -> list[Snapshot]:
    """List the snapshots no ref names, oldest first."""
    referenced = {ref.snapshot_id for ref in metadata.refs.values()}
    loose = [s for s in metadata.snapshots if s.snapshot_id not in referenced]
    return sorted(loose, key=lambda s: s.sequence_number or 0)
