"""What moving refs is made of: finding snapshots by name, and the updates that set refs and properties."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.update import (
    RemovePropertiesUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from headrace.errors import DatabaseUnavailableError, OffsetsUnknownError, SnapshotNotFoundError
from headrace.identifiers import TableName
from headrace.registry import CommitRecord
from headrace.tables.history import record_head
from headrace.tables.lake import LakeTable
from headrace.tables.property_log import OFFSETS_PREFIX


def make_ref(
    snapshot_id: int, kind: SnapshotRefType, *, max_age_ms: int | None = None
) -> SnapshotRef:
    """Build a ref."""
    return SnapshotRef.model_validate(
        {"snapshot-id": snapshot_id, "type": kind, "max-ref-age-ms": max_age_ms}
    )


def resolve(metadata: TableMetadata, at: int | str, *, table: TableName) -> int:
    """Find the snapshot of an id, also one written as text, or of a tag or branch.

    Raises:
        SnapshotNotFoundError: If there is none.

    """
    ref = metadata.refs.get(at) if isinstance(at, str) else None
    if ref is not None:
        return ref.snapshot_id
    if isinstance(at, str) and not at.isdecimal():
        raise SnapshotNotFoundError(str(table), f"`{at}`")
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


def moved_ref(name: str, ref: SnapshotRef, *, snapshot_id: int) -> SetSnapshotRefUpdate:
    """Build the update that lets a ref name another snapshot and otherwise be as it was."""
    return set_ref(name, ref.model_copy(update={"snapshot_id": snapshot_id}))


def set_ref(name: str, ref: SnapshotRef) -> SetSnapshotRefUpdate:
    """Build the update that makes `name` this ref."""
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


def record_main(
    table: LakeTable,
    *,
    gained: Sequence[CommitRecord] = (),
    lost: Sequence[CommitRecord] = (),
) -> None:
    """Tell the registry that `main` was moved; later commits make up for one that cannot listen."""
    registry = table.lake.registry
    with contextlib.suppress(DatabaseUnavailableError):
        registry.move_main(
            str(table.name),
            gained=[commit.snapshot_id for commit in gained],
            lost=[commit.snapshot_id for commit in lost],
        )
        if not table.lake.foreign:  # what others did there is not ours to keep a record of
            current = table.iceberg()
            record_head(registry, table.name, current.metadata, current.io)


def property_updates(changed: Mapping[str, str | None]) -> tuple[TableUpdate, ...]:
    """Build the updates that set properties, and remove those that are None."""
    updates: list[TableUpdate] = []
    kept = {name: value for name, value in changed.items() if value is not None}
    gone = [name for name, value in changed.items() if value is None]
    if kept:
        updates.append(SetPropertiesUpdate(updates=kept))
    if gone:
        updates.append(RemovePropertiesUpdate(removals=gone))
    return tuple(updates)


def known_moves(
    path: Sequence[CommitRecord], *, properties: Mapping[str, str], table: TableName
) -> list[str]:
    """Return how the commits of a path moved the table's properties, in the order of the path.

    Raises:
        OffsetsUnknownError: If the table keeps offsets and a commit does not say how it moved them.

    """
    fenced = _is_fenced(properties)
    for commit in path:
        if fenced and not commit.moves:
            detail = f"commit {commit.snapshot_id} does not say which offsets it moved"
            raise OffsetsUnknownError(str(table), detail)
    return [commit.moves for commit in path if commit.moves]


def moves_offsets(commit: CommitRecord, *, properties: Mapping[str, str]) -> bool:
    """Whether a commit moved source offsets of its table, or may have."""
    if not commit.moves:
        return _is_fenced(properties)
    return _is_fenced(json.loads(commit.moves))


def _is_fenced(properties: Iterable[str]) -> bool:
    return any(name.startswith(OFFSETS_PREFIX) for name in properties)
