"""Build commit updates and requirements for refs and properties, and resolve snapshot names."""

from collections.abc import Mapping

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from headrace.errors import SnapshotNotFoundError
from headrace.identifiers import TableName


def make_ref(
    snapshot_id: int, kind: SnapshotRefType, *, max_age_ms: int | None = None
) -> SnapshotRef:
    """Build a ref."""
    return SnapshotRef.model_validate(
        {"snapshot-id": snapshot_id, "type": kind, "max-ref-age-ms": max_age_ms}
    )


def resolve(metadata: TableMetadata, at: int | str, *, table: TableName) -> int:
    """Resolve a snapshot id (a number or text), tag or branch to a snapshot id.

    Raises:
        SnapshotNotFoundError: If there is no such snapshot or ref.

    """
    ref = metadata.refs.get(at) if isinstance(at, str) else None
    if ref is not None:
        return ref.snapshot_id
    if isinstance(at, str) and not at.isdecimal():
        raise SnapshotNotFoundError(str(table), f"tag or branch `{at}`")
    if metadata.snapshot_by_id(int(at)) is None:
        raise SnapshotNotFoundError(str(table), f"snapshot {at}")
    return int(at)


def branch_of(metadata: TableMetadata, name: str, *, table: TableName) -> SnapshotRef:
    """Find a branch.

    Raises:
        SnapshotNotFoundError: If there is no branch of this name.

    """
    ref = metadata.refs.get(name)
    if ref is None or ref.snapshot_ref_type != SnapshotRefType.BRANCH:
        raise SnapshotNotFoundError(str(table), f"branch `{name}`")
    return ref


def set_ref(name: str, ref: SnapshotRef) -> SetSnapshotRefUpdate:
    """Build the update that sets the ref `name`."""
    return SetSnapshotRefUpdate.model_validate(
        {
            "ref-name": name,
            "type": ref.snapshot_ref_type,
            "snapshot-id": ref.snapshot_id,
            "max-ref-age-ms": ref.max_ref_age_ms,
            "max-snapshot-age-ms": ref.max_snapshot_age_ms,
            "min-snapshots-to-keep": ref.min_snapshots_to_keep,
        }
    )


def moved_ref(name: str, ref: SnapshotRef, *, snapshot_id: int) -> SetSnapshotRefUpdate:
    """Build the update that moves a ref to another snapshot and keeps its settings."""
    return set_ref(name, ref.model_copy(update={"snapshot_id": snapshot_id}))


def drop_ref(name: str) -> RemoveSnapshotRefUpdate:
    """Build the update that drops a ref."""
    return RemoveSnapshotRefUpdate.model_validate({"ref-name": name})


def requires(ref: str, snapshot_id: int | None) -> AssertRefSnapshotId:
    """Build the requirement that a ref points to a snapshot, or does not exist if None."""
    return AssertRefSnapshotId.model_validate({"ref": ref, "snapshot-id": snapshot_id})


def property_updates(changed: Mapping[str, str | None]) -> tuple[TableUpdate, ...]:
    """Build the updates that set properties and remove those whose value is None."""
    updates: list[TableUpdate] = []
    kept = {name: value for name, value in changed.items() if value is not None}
    gone = [name for name, value in changed.items() if value is None]
    if kept:
        updates.append(SetPropertiesUpdate(updates=kept))
    if gone:
        updates.append(RemovePropertiesUpdate(removals=gone))
    return tuple(updates)
