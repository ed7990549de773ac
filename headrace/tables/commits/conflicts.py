"""Conflict detection: whether a change is still valid after the commits since its base."""

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from headrace.errors import CommitConflictError, ConflictReason
from headrace.iceberg.delete_files import may_concern
from headrace.iceberg.manifests import live_entries
from headrace.iceberg.partitions import unpartitioned_ids
from headrace.tables.commits.change import Change


def refuse_conflicts(
    change: Change,
    *,
    table: str,
    metadata: TableMetadata,
    parent: Snapshot | None,
    manifests: tuple[ManifestFile, ...],
    removed: tuple[DataFile, ...],
    io: FileIO,
) -> None:
    """Validate a change against the snapshot it is applied to.

    Raises:
        CommitConflictError: If a file it replaces is gone, if rows of such a file were deleted
            since its base, or if rows that it should have seen were added.

    """
    lost = change.removed_paths - {file.file_path for file in removed}
    if lost:
        detail = f"{len(lost)} of its input files were already replaced, first `{min(lost)}`"
        reason = ConflictReason.FILES_REPLACED
        raise CommitConflictError(table, detail, reason=reason, path=min(lost))
    if parent is None or parent.snapshot_id == change.base_snapshot_id:
        return
    since = _base_sequence(change, metadata, parent, table)
    if since is None:
        return
    unpartitioned = unpartitioned_ids(metadata)
    for file in _added_since(manifests, io, since, ManifestContent.DELETES):
        if may_concern(file, removed, unpartitioned=unpartitioned):
            detail = f"`{file.file_path}` deleted rows of its input files concurrently"
            reason = ConflictReason.ROWS_DELETED
            raise CommitConflictError(table, detail, reason=reason, path=file.file_path)
    if change.may_conflict is None:
        return
    for file in _added_since(manifests, io, since, ManifestContent.DATA):
        if change.may_conflict(file):
            detail = (
                f"`{file.file_path}` was added concurrently with rows that it may have to change"
            )
            reason = ConflictReason.ROWS_ADDED
            raise CommitConflictError(table, detail, reason=reason, path=file.file_path)


def _base_sequence(
    change: Change, metadata: TableMetadata, parent: Snapshot, table: str
) -> int | None:
    """Return the sequence number of a change's base; None if it has no base."""
    if change.base_snapshot_id is None:
        # computed from a table without commits: every file was added since
        return None if change.may_conflict is None else 0
    base = metadata.snapshot_by_id(change.base_snapshot_id)
    if base is None:
        detail = f"snapshot {change.base_snapshot_id}, which it was computed from, has expired"
        raise CommitConflictError(table, detail, reason=ConflictReason.BASE_EXPIRED)
    if not any(base.snapshot_id == each.snapshot_id for each in ancestors_of(parent, metadata)):
        # rows deleted before the base may be live again, in files older than it
        detail = f"`{change.branch}` was rolled back behind snapshot {base.snapshot_id}"
        detail = f"{detail}, which it was computed from"
        reason = ConflictReason.ROLLED_BACK
        raise CommitConflictError(table, detail, reason=reason, ref=change.branch)
    return base.sequence_number or 0


def _added_since(
    manifests: tuple[ManifestFile, ...], io: FileIO, since: int, content: ManifestContent
) -> list[DataFile]:
    # a manifest's sequence number is never lower than those of its entries
    newer = [m for m in manifests if (m.sequence_number or 0) > since]
    return [
        entry.data_file
        for entry in live_entries(newer, io, content=content)
        if (entry.sequence_number or 0) > since
    ]
