"""The committer's operations: the only code that changes the contents of a table.

A commit is planned as a pure `Change`, staged against the newest metadata, and swapped in with the
catalog's compare-and-swap (`attempt.py`). Every operation is one snapshot on one branch.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import TableUpdate

from headrace.definitions.properties import OFFSETS_PREFIX
from headrace.errors import GarbageKeptError
from headrace.iceberg import standard_properties
from headrace.iceberg.manifest_writer import ENTRIES_PER_MANIFEST
from headrace.iceberg.partitions import CurrentSpec, PartitionKey
from headrace.iceberg.retention import expired_before, lapsed
from headrace.iceberg.updates import drop_ref, property_updates
from headrace.tables.commits.attempt import commit_change, commit_updates
from headrace.tables.commits.change import Change, Commit, Fence, Provenance
from headrace.tables.commits.expiring import expire_recorded
from headrace.tables.commits.summary import keys_of
from headrace.tables.evolution.plan import AlterPlan
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion

__all__ = [
    "OFFSETS_PREFIX",
    "Commit",
    "Fence",
    "Provenance",
    "append",
    "expire",
    "move_properties",
    "offsets",
    "overwrite",
    "overwrite_partitions",
    "replace_files",
    "rewrite_files",
    "rewrite_manifests",
    "start_over",
]


def offsets(version: TableVersion, key: str) -> dict[str, int]:
    """Read the committed next offset of every source of a stream."""
    return json.loads(version.properties.get(OFFSETS_PREFIX + key, "{}"))


def append(
    table: LakeTable,
    files: Sequence[DataFile],
    *,
    provenance: Provenance,
    fence: Fence | None = None,
    properties: Mapping[str, str] | None = None,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
) -> Commit:
    """Append files. Never conflicts with other appends or with compaction.

    With a fence it lands exactly once: offsets and rows become visible together. `files` may be
    empty, to move offsets past records that all went to the dead letters. `guard` is called with
    the base table of each attempt, and raises to refuse the commit.

    Raises:
        FencedError: If another writer moved the offsets.
        SnapshotNotFoundError: If there is no such branch.
        CommitOutcomeUnknownError, CatalogBusyError: See there; a retry is safe after both.
        ValueError: If a fenced commit is for a branch other than `main`; only `main` has offsets.

    """
    if fence is not None and branch != MAIN_BRANCH:
        msg = f"offsets of `{table.name}` belong to `{MAIN_BRANCH}`, not to branch `{branch}`"
        raise ValueError(msg)
    return commit_change(
        table,
        Change(
            operation=Operation.APPEND,
            added=tuple(files),
            provenance=provenance,
            fence=fence,
            properties=properties or {},
            branch=branch,
            guard=guard,
        ),
    )


def overwrite_partitions(
    table: LakeTable,
    files: Sequence[DataFile],
    *,
    partitions: Collection[PartitionKey],
    provenance: Provenance,
    properties: Mapping[str, str] | None = None,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
) -> Commit:
    """Replace the contents of `partitions` by `files`, in one snapshot; other partitions stay.

    Raises:
        ValueError: If a file lies outside `partitions`.
        UnsupportedTableError: If the branch has files of an older partition spec.

    """
    wanted, metadata = frozenset(partitions), table.iceberg().metadata
    spec = CurrentSpec.of(metadata, table=str(table.name))
    outside = keys_of(files, metadata) - wanted
    if outside:
        msg = f"files of `{table.name}` lie outside the overwritten partitions: {sorted(outside, key=str)}"
        raise ValueError(msg)
    return commit_change(
        table,
        Change(
            operation=Operation.OVERWRITE,
            added=tuple(files),
            provenance=provenance,
            is_removed=spec.picks(wanted),
            touched=wanted,
            spec_id=spec.spec_id,
            properties=properties or {},
            branch=branch,
            guard=guard,
        ),
    )


def overwrite(
    table: LakeTable,
    files: Sequence[DataFile],
    *,
    provenance: Provenance,
    properties: Mapping[str, str] | None = None,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
) -> Commit:
    """Replace the contents of the whole table by `files`, in one snapshot. For `guard` see `append`."""
    return commit_change(
        table,
        Change(
            operation=Operation.OVERWRITE,
            added=tuple(files),
            provenance=provenance,
            is_removed=lambda _: True,
            properties=properties or {},
            branch=branch,
            guard=guard,
        ),
    )


def start_over(
    table: LakeTable,
    *,
    fence: Fence,
    provenance: Provenance,
    properties: Mapping[str, str | None],
    partitions: Collection[PartitionKey] | None = None,
    alter: AlterPlan | None = None,
    guard: Callable[[Table], None] | None = None,
) -> Commit:
    """Remove all rows, or those of some partitions, and move offsets back, in one snapshot.

    `properties` of which the value is None are removed; a rollback puts them back, with the offsets.
    `alter` changes the columns of the empty table in the same swap. For `guard` see `append`.

    Raises:
        FencedError: If another writer moved the offsets.
        CommitConflictError: If columns were changed concurrently.
        UnsupportedTableError: If `partitions` are given and there are files of an older spec.
        CommitOutcomeUnknownError, CatalogBusyError: See there; a retry is safe after both.

    """
    change = Change(
        operation=Operation.DELETE,
        provenance=provenance,
        is_removed=lambda _: True,
        fence=fence,
        properties=properties,
        alter=alter,
        guard=guard,
    )
    if partitions is not None:
        wanted = frozenset(partitions)
        spec = CurrentSpec.of(table.iceberg().metadata, table=str(table.name))
        picked = spec.picks(wanted)
        change = replace(change, is_removed=picked, touched=wanted, spec_id=spec.spec_id)
    return commit_change(table, change)


def replace_files(
    table: LakeTable,
    *,
    removed: Collection[DataFile],
    added: Sequence[DataFile],
    provenance: Provenance,
    removed_deletes: Collection[DataFile] = (),
    rows_deleted: int | None = None,
    base_snapshot_id: int | None = None,
    branch: str = MAIN_BRANCH,
) -> Commit:
    """Replace files by others with the same rows (compaction); change feeds do not see it.

    Does not conflict with concurrent appends. `removed_deletes` are delete files that are applied
    in `added` and apply to nothing else; with them `base_snapshot_id` must be the snapshot that was
    read. `rows_deleted` is the number of deleted rows left out, needed if delete files that stay
    deleted some of them.

    Raises:
        CommitConflictError: If a concurrent commit removed one of `removed`, or deleted rows of it
            since the base.
        ValueError: If the row counts differ and deletes do not account for it.

    """
    before, after = _rows(removed), _rows(added)
    if rows_deleted is not None:
        is_same = before - rows_deleted == after and (not rows_deleted or base_snapshot_id)
    else:
        is_same = before == after or (removed_deletes and base_snapshot_id and after < before)
    if not is_same:
        msg = f"replacing {before} rows of `{table.name}` by {after} rows would change its data"
        raise ValueError(msg)
    return commit_change(
        table,
        _rewriting(
            table,
            Operation.REPLACE,
            removed=(*removed, *removed_deletes),
            added=added,
            base_snapshot_id=base_snapshot_id,
            provenance=provenance,
            branch=branch,
        ),
    )


def rewrite_files(
    table: LakeTable,
    *,
    removed: Collection[DataFile],
    added: Sequence[DataFile],
    base_snapshot_id: int | None,
    provenance: Provenance,
    may_conflict: Callable[[DataFile], bool] | None = None,
    properties: Mapping[str, str] | None = None,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
    fence: Fence | None = None,
) -> Commit:
    """Replace files by others with different rows: a copy-on-write merge or row-level delete.

    `removed` may include delete files that are applied in `added`. With nothing `removed` it is an
    append that is refused if rows it should have seen were added. For `guard` and `fence` see `append`.

    Raises:
        FencedError: If another writer moved the offsets.
        CommitConflictError: If since `base_snapshot_id` (None: a table without commits) a file of
            `removed` was replaced, rows of it were deleted, or a file that `may_conflict` was added.

    """
    operation = Operation.DELETE
    if added:
        operation = Operation.OVERWRITE if removed else Operation.APPEND
    change = _rewriting(
        table,
        operation,
        removed=removed,
        added=added,
        base_snapshot_id=base_snapshot_id,
        provenance=provenance,
        may_conflict=may_conflict,
        branch=branch,
        guard=guard,
    )
    return commit_change(table, replace(change, properties=properties or {}, fence=fence))


def rewrite_manifests(
    table: LakeTable,
    *,
    provenance: Provenance,
    entries_max: int = ENTRIES_PER_MANIFEST,
    branch: str = MAIN_BRANCH,
) -> Commit:
    """Rewrite manifests sorted by partition, so that planning one partition opens few of them.

    Never conflicts: every attempt rewrites the newest manifests.
    """
    return commit_change(
        table,
        Change(
            operation=Operation.REPLACE,
            provenance=provenance,
            entries_max=entries_max,
            branch=branch,
        ),
    )


def expire(table: LakeTable, *, keep: int, before_ms: int) -> tuple[int, ...]:
    """Expire unreferenced snapshots older than `before_ms`, but never the newest `keep`.

    The partitions they touched are recorded first, so `changes` still answers. Files are left to
    clean-up. Snapshots kept by the table's `history.expire.*` or by a branch's own retention stay;
    tables of another catalog without such properties keep the format's default of five days.

    Returns:
        The ids of the expired snapshots.

    Raises:
        DatabaseUnavailableError: If the registry cannot be used; nothing was changed.
        GarbageKeptError: If the table has `gc.enabled=false`; nothing was changed.
        UnsupportedTableError: If a retention property has an invalid value.

    """
    gone: list[int] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata, now_ms = current.metadata, table.lake.now_ms()
        if not standard_properties.collects_garbage(metadata.properties):
            raise GarbageKeptError(str(table.name), refused="expiry of snapshots")
        over = tuple(drop_ref(name) for name in lapsed(metadata, now_ms))
        gone[:] = expired_before(
            metadata,
            keep=keep,
            before_ms=before_ms,
            now_ms=now_ms,
            defaults=table.lake.default_retention,
        )
        if not gone:
            return over
        return (*over, *expire_recorded(table, current, gone))

    commit_updates(table, updates_of)
    return tuple(gone)


def move_properties(
    table: LakeTable, changes_of: Callable[[TableMetadata], Mapping[str, str | None]]
) -> None:
    """Set properties without a snapshot; None removes one. A rollback does not undo them.

    `changes_of` is called with the newest metadata on every attempt; if it returns an empty
    mapping, nothing is changed.

    Raises:
        CatalogBusyError, DatabaseUnavailableError: A retry is safe.

    """
    commit_updates(table, lambda current: property_updates(changes_of(current.metadata)))


def _rewriting(
    table: LakeTable,
    operation: Operation,
    *,
    removed: Collection[DataFile],
    added: Sequence[DataFile],
    base_snapshot_id: int | None,
    provenance: Provenance,
    branch: str,
    may_conflict: Callable[[DataFile], bool] | None = None,
    guard: Callable[[Table], None] | None = None,
) -> Change:
    metadata = table.iceberg().metadata
    spec_id = metadata.default_spec_id
    paths = frozenset(file.file_path for file in removed)
    return Change(
        operation=operation,
        added=tuple(added),
        provenance=provenance,
        is_removed=lambda f: f.file_path in paths,
        touched=keys_of([file for file in removed if file.spec_id == spec_id], metadata),
        spec_id=spec_id,
        removed_paths=paths,
        base_snapshot_id=base_snapshot_id,
        may_conflict=may_conflict,
        branch=branch,
        guard=guard,
    )


def _rows(files: Collection[DataFile]) -> int:
    return sum(file.record_count for file in files)
