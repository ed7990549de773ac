"""Stage one attempt at a commit on the newest metadata: its manifests, snapshot and updates."""

import contextlib
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertCreate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from headrace.definitions.properties import OFFSETS_PREFIX
from headrace.errors import (
    DatabaseUnavailableError,
    FencedError,
    SnapshotNotFoundError,
    StorageError,
    UnsupportedTableError,
)
from headrace.iceberg import manifests
from headrace.iceberg.manifest_writer import ManifestSet, Rewritten
from headrace.iceberg.retention import LEASE_PREFIX, expired, lapsed
from headrace.iceberg.standard_properties import collects_garbage, metadata_folder
from headrace.iceberg.updates import drop_ref, make_ref, property_updates, requires, set_ref
from headrace.storage.locations import remove
from headrace.tables.commits.change import Change
from headrace.tables.commits.conflicts import refuse_conflicts
from headrace.tables.commits.expiring import expire_recorded
from headrace.tables.commits.kept_rows import KEEPS_ROWS, refuse_removal
from headrace.tables.commits.planned import StagedTable
from headrace.tables.commits.same_writers import SameWriters
from headrace.tables.commits.summary import summarize
from headrace.tables.evolution.updates import altered, is_applied, requirements_of, updates_of
from headrace.tables.lake import LakeTable


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The updates and requirements of one swap, and the metadata files written for it."""

    updates: tuple[TableUpdate, ...]
    requirements: tuple[TableRequirement, ...]
    parent_id: int | None
    removed: tuple[DataFile, ...]
    written: tuple[str, ...]

    def creating(self, table: StagedTable) -> "Staged":
        """Return the same swap, which also creates the table."""
        return replace(
            self, updates=(*table.creation, *self.updates), requirements=(AssertCreate(),)
        )


def stage(table: LakeTable, current: Table, change: Change, *, snapshot_id: int) -> Staged:
    """Write the manifests of one attempt based on `current`; nothing is visible yet.

    Raises:
        StorageError: If the disk is too full for a file; the files of this attempt are removed.
        LakeError: If the change no longer fits `current`; see its guard.

    """
    now_ms, judged = table.lake.now_ms(), current.metadata
    if change.guard is not None:
        change.guard(current)
    if change.branch == MAIN_BRANCH and change.operation.value not in KEEPS_ROWS:
        refuse_removal(str(table.name), current.metadata.properties)
    columns: tuple[TableUpdate, ...] = ()
    requirements: tuple[TableRequirement, ...] = ()
    if change.alter is not None and not is_applied(change.alter, current.metadata):
        columns = updates_of(change.alter, current.metadata)
        requirements = requirements_of(current.metadata)
        current = altered(current, change.alter)
    metadata = current.metadata
    properties = _checked_properties(str(table.name), metadata, change)
    parent = _parent(table, metadata, change.branch)
    recent = table.lake.recent
    builder = ManifestSet(metadata, current.io, snapshot_id=snapshot_id, recent=recent)
    parent_id = parent.snapshot_id if parent else None
    with _removing_on_failure(current, builder):
        rewritten = _rewrite(table, current, change, parent, builder)
        location = builder.write_list(rewritten.manifests, parent_id=parent_id)
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": snapshot_id,
            "parent-snapshot-id": parent_id,
            "manifest-list": location,
            "sequence-number": metadata.next_sequence_number(),
            # never earlier than the log, even if the clock was set back: other readers refuse that
            "timestamp-ms": max(now_ms, metadata.last_updated_ms),
            "summary": summarize(
                change,
                removed=rewritten.removed,
                parent=parent,
                metadata=metadata,
                properties=properties,
            ),
            "schema-id": metadata.current_schema_id,
        }
    )
    updates: list[TableUpdate] = [
        *columns,
        AddSnapshotUpdate(snapshot=snapshot),
        _moved_branch(metadata, change.branch, snapshot_id),
    ]
    updates.extend(property_updates(properties))
    over = _lapsed_refs(table, metadata, branch=change.branch, now_ms=now_ms)
    updates.extend(drop_ref(name) for name in over)
    updates.extend(_expiry(table, current, now_ms=now_ms))
    return Staged(
        updates=tuple(updates),
        requirements=(
            SameWriters.of(judged),
            requires(change.branch, parent_id),
            *requirements,
            # renewing a lease renames it: then this attempt fails and the next one keeps the lease
            *(requires(name, metadata.refs[name].snapshot_id) for name in over),
        ),
        parent_id=parent_id,
        removed=rewritten.removed,
        written=tuple(builder.written),
    )


@contextlib.contextmanager
def _removing_on_failure(current: Table, builder: ManifestSet) -> Generator[None]:
    """Remove the manifests of an attempt that cannot be staged, and name what a full disk raises."""
    try:
        yield
    except BaseException as error:
        remove_all(current.io, builder.written)
        if isinstance(error, OSError):
            folder = metadata_folder(current.metadata.location, current.metadata.properties)
            raise StorageError.of(folder, error) from error
        raise


def _lapsed_refs(
    table: LakeTable, metadata: TableMetadata, *, branch: str, now_ms: int
) -> list[str]:
    """Name the refs that this commit drops because their time is over."""
    over = [name for name in lapsed(metadata, now_ms) if name != branch]
    if table.lake.foreign or not collects_garbage(metadata.properties):  # but our leases are ours
        over = [name for name in over if name.startswith(LEASE_PREFIX)]
    return over


def _moved_branch(metadata: TableMetadata, name: str, snapshot_id: int) -> SetSnapshotRefUpdate:
    """Build the update that advances or creates a branch; its own retention stays."""
    update = set_ref(name, make_ref(snapshot_id, SnapshotRefType.BRANCH))
    ref = metadata.refs.get(name)
    if ref is None:
        return update
    said = ("min_snapshots_to_keep", "max_snapshot_age_ms", "max_ref_age_ms")
    return update.model_copy(update={each: getattr(ref, each) for each in said})


def _parent(table: LakeTable, metadata: TableMetadata, branch: str) -> Snapshot | None:
    parent = metadata.snapshot_by_name(branch)
    if parent is None and branch != MAIN_BRANCH:
        # a commit to an unknown branch would create one without the table's rows
        raise SnapshotNotFoundError(str(table.name), f"branch `{branch}`")
    return parent


def _rewrite(
    table: LakeTable, current: Table, change: Change, parent: Snapshot | None, builder: ManifestSet
) -> Rewritten:
    metadata, io = current.metadata, table.lake.recent.over(current.io)
    before = manifests.manifests_of(parent, io)
    if change.entries_max is not None:
        return builder.cluster(before, entries_max=change.entries_max)
    may_hold = (
        (lambda _: True)
        if change.touched is None or change.spec_id is None
        else manifests.holds_partitions(metadata, change.touched, spec_id=change.spec_id)
    )
    rewritten = builder.build(
        before, added=change.added, is_removed=change.is_removed, may_hold=may_hold
    )
    refuse_conflicts(
        change,
        table=str(table.name),
        metadata=metadata,
        parent=parent,
        manifests=before,
        removed=rewritten.removed,
        io=io,
    )
    return rewritten


def _expiry(table: LakeTable, current: Table, *, now_ms: int) -> list[TableUpdate]:
    if table.lake.foreign:  # the owner of that catalog decides how long snapshots are kept
        return []
    keep = table.lake.settings.snapshots_kept
    try:
        dead = expired(current.metadata, keep=keep, now_ms=now_ms)
    except UnsupportedTableError:  # no reason to refuse rows; `operations.expire` reports it
        return []
    if not dead:
        return []
    try:
        # record what a snapshot touched before it expires: lagging readers of changes need it
        return list(expire_recorded(table, current, dead))
    except DatabaseUnavailableError:
        return []


def _checked_properties(
    name: str, metadata: TableMetadata, change: Change
) -> dict[str, str | None]:
    updates = {k: v for k, v in change.properties.items() if metadata.properties.get(k) != v}
    if change.fence is None:
        return updates
    key = OFFSETS_PREFIX + change.fence.key
    found = json.loads(metadata.properties.get(key, "{}"))
    if found != dict(change.fence.expected):
        expected = json.dumps(dict(change.fence.expected))[:200]
        raise FencedError(name, expected=expected, found=json.dumps(found)[:200])
    updates[key] = json.dumps(dict(change.fence.offsets), sort_keys=True)
    return updates


def remove_all(io: FileIO, locations: Sequence[str]) -> None:
    """Delete metadata files that no table refers to."""
    for location in locations:
        remove(io, location)
