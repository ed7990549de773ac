"""The committer: the one piece of code that changes what a table holds.

A commit is planned as a pure `Change`, staged against the newest metadata, and swapped in with the
catalog's compare-and-swap. A lost swap is staged again; a lost answer is resolved by looking for the
commit's own snapshot id. Source offsets travel in the same swap and are checked on every attempt.
"""

import json
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, write_manifest_list
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from headrace.crash_points import crash_point
from headrace.errors import (
    CatalogBusyError,
    CommitConflictError,
    CommitOutcomeUnknownError,
    DatabaseUnavailableError,
    FencedError,
    StorageError,
)
from headrace.identifiers import TableName
from headrace.tables import manifests, partitions
from headrace.tables.files import sync_file
from headrace.tables.history import CODE, INPUTS, PARTITIONS, RUN_ID, record_head
from headrace.tables.lake import LakeTable
from headrace.tables.locks import table_lock
from headrace.tables.partitions import PartitionKey
from headrace.tables.scan import TableVersion

OFFSETS_PREFIX = "headrace.offsets."
ATTEMPTS_MAX = 12
_BACKOFF_S = 0.02
_PARTITIONS_IN_SUMMARY_MAX = 64


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a commit was computed from; written to the snapshot summary and the registry."""

    inputs: Mapping[str, int] = field(default_factory=dict)
    code: str = ""
    run_id: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, str]:
        """The summary entries of this provenance."""
        entries = dict(self.notes)
        if self.inputs:
            entries[INPUTS] = json.dumps(dict(self.inputs), sort_keys=True)
        if self.code:
            entries[CODE] = self.code
        if self.run_id:
            entries[RUN_ID] = self.run_id
        return entries


@dataclass(frozen=True, kw_only=True)
class Fence:
    """Source offsets that move with the data: the next offset to read, per source.

    The commit lands only if the table still says `expected` under `key`.
    """

    key: str
    expected: Mapping[str, int]
    offsets: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What one commit changed."""

    table: TableName
    snapshot_id: int
    parent_id: int | None
    operation: str
    files_added: int
    files_removed: int
    rows_added: int
    rows_removed: int
    bytes_added: int
    bytes_removed: int
    attempts: int


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A commit before it meets the table's current state."""

    operation: Operation
    added: tuple[DataFile, ...]
    provenance: Provenance
    is_removed: Callable[[DataFile], bool] | None = None
    touched: frozenset[PartitionKey] | None = None
    removed_paths: frozenset[str] = frozenset()
    fence: Fence | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Staged:
    updates: tuple[TableUpdate, ...]
    requirements: tuple[TableRequirement, ...]
    parent_id: int | None
    removed: tuple[DataFile, ...]
    written: tuple[str, ...]


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
) -> Commit:
    """Add files. Never conflicts with other appends or with compaction.

    With a fence it lands exactly once: offsets and rows become visible together. `files` may be
    empty, to move offsets past records that all went to the dead letters.

    Raises:
        FencedError: If another writer moved the offsets.
        CommitOutcomeUnknownError, CatalogBusyError: See there; both are safe to run again.

    """
    return _commit(
        table,
        _Change(
            operation=Operation.APPEND,
            added=tuple(files),
            provenance=provenance,
            touched=_keys(table, files),
            fence=fence,
            properties=properties or {},
        ),
    )


def overwrite_partitions(
    table: LakeTable,
    files: Sequence[DataFile],
    *,
    partitions: Collection[PartitionKey],
    provenance: Provenance,
    properties: Mapping[str, str] | None = None,
) -> Commit:
    """Make `partitions` hold exactly `files`, in one snapshot; other partitions stay.

    Raises:
        ValueError: If a file lies outside `partitions`.

    """
    wanted = frozenset(partitions)
    outside = _keys(table, files) - wanted
    if outside:
        msg = f"files of `{table.name}` lie outside the overwritten partitions: {sorted(outside, key=str)}"
        raise ValueError(msg)
    terms = table.terms()
    return _commit(
        table,
        _Change(
            operation=Operation.OVERWRITE,
            added=tuple(files),
            provenance=provenance,
            is_removed=lambda f: _key_of(f, terms) in wanted,
            touched=wanted,
            properties=properties or {},
        ),
    )


def overwrite(
    table: LakeTable,
    files: Sequence[DataFile],
    *,
    provenance: Provenance,
    properties: Mapping[str, str] | None = None,
) -> Commit:
    """Make the whole table hold exactly `files`, in one snapshot."""
    return _commit(
        table,
        _Change(
            operation=Operation.OVERWRITE,
            added=tuple(files),
            provenance=provenance,
            is_removed=lambda _: True,
            touched=None,
            properties=properties or {},
        ),
    )


def replace_files(
    table: LakeTable,
    *,
    removed: Collection[DataFile],
    added: Sequence[DataFile],
    provenance: Provenance,
) -> Commit:
    """Swap files for others with the same rows (compaction); readers of changes do not see it.

    Survives concurrent appends.

    Raises:
        CommitConflictError: If a concurrent commit already removed one of `removed`.
        ValueError: If the row counts differ.

    """
    rows_before = sum(file.record_count for file in removed)
    rows_after = sum(file.record_count for file in added)
    if rows_before != rows_after:
        msg = (
            f"replacing {rows_before} rows of `{table.name}` by {rows_after} would change its data"
        )
        raise ValueError(msg)
    paths = frozenset(file.file_path for file in removed)
    return _commit(
        table,
        _Change(
            operation=Operation.REPLACE,
            added=tuple(added),
            provenance=provenance,
            is_removed=lambda f: f.file_path in paths,
            touched=_keys(table, removed),
            removed_paths=paths,
        ),
    )


def _key_of(file: DataFile, terms: Sequence[partitions.Term]) -> PartitionKey:
    return partitions.key_of_record(file.partition, terms)


def _keys(table: LakeTable, files: Collection[DataFile]) -> frozenset[PartitionKey]:
    terms = table.terms()
    return frozenset(_key_of(file, terms) for file in files)


def _commit(table: LakeTable, change: _Change) -> Commit:
    crash_point("commit.after_data_files")
    with table_lock(table.lake.settings.state_dir / "locks", str(table.name)):
        current = table.iceberg()
        snapshot_id = current.metadata.new_snapshot_id()
        table_uuid = current.metadata.table_uuid
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if current.metadata.table_uuid != table_uuid:
                detail = "the table was dropped and created again meanwhile"
                raise CommitConflictError(str(table.name), detail)
            try:
                staged = _stage(table, current, change, snapshot_id=snapshot_id)
            except OSError as error:
                raise StorageError(current.location(), str(error)) from error
            crash_point("commit.after_manifests")
            landed = _swap(table, current, staged, snapshot_id=snapshot_id)
            if landed is not None:
                crash_point("commit.after_swap")
                _record(table, landed, current.io)
                crash_point("commit.after_record")
                return _report(table, change, staged, snapshot_id=snapshot_id, attempts=attempt)
            time.sleep(random.uniform(0, _BACKOFF_S * 2 ** min(attempt, 6)))
            current = table.iceberg()
    raise CatalogBusyError(str(table.name), attempts=ATTEMPTS_MAX)


def _record(table: LakeTable, metadata: TableMetadata, io: FileIO) -> bool:
    """Bring the registry up to `metadata`; False if its database cannot be used now.

    A commit that landed must not look failed for it: the next record makes up for this one.
    """
    try:
        record_head(table.lake.registry, table.name, metadata, io)
    except DatabaseUnavailableError:
        return False
    return True


def _stage(table: LakeTable, current: Table, change: _Change, *, snapshot_id: int) -> _Staged:
    """Write the manifests of one attempt on top of `current`; nothing is visible yet."""
    metadata = current.metadata
    name = str(table.name)
    properties = _checked_properties(name, metadata, change)
    parent = metadata.snapshot_by_name(MAIN_BRANCH)
    builder = manifests.ManifestSet(metadata, current.io, snapshot_id=snapshot_id)
    may_hold = (
        (lambda _: True)
        if change.touched is None
        else manifests.holds_partitions(metadata, change.touched)
    )
    rewritten = builder.build(
        manifests.manifests_of(parent, current.io),
        added=change.added,
        is_removed=change.is_removed,
        may_hold=may_hold,
        table=name,
    )
    lost = change.removed_paths - {file.file_path for file in rewritten.removed}
    if lost:
        detail = f"{len(lost)} of its input files were already replaced, first `{min(lost)}`"
        raise CommitConflictError(name, detail)
    sequence_number = metadata.next_sequence_number()
    location = f"{metadata.location}/metadata/snap-{snapshot_id}-{builder.commit_id}.avro"
    with write_manifest_list(
        format_version=2,
        output_file=current.io.new_output(location),
        snapshot_id=snapshot_id,
        parent_snapshot_id=parent.snapshot_id if parent else None,
        sequence_number=sequence_number,
        avro_compression=manifests.CODEC,
    ) as writer:
        writer.add_manifests(list(rewritten.manifests))
    sync_file(location)
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": snapshot_id,
            "parent-snapshot-id": parent.snapshot_id if parent else None,
            "manifest-list": location,
            "sequence-number": sequence_number,
            # a clock that was set back must not: other readers refuse a log that goes backwards
            "timestamp-ms": max(time.time_ns() // 1_000_000, metadata.last_updated_ms),
            "summary": _summary(table, change, rewritten.removed, parent),
            "schema-id": metadata.current_schema_id,
        }
    )
    updates: list[TableUpdate] = [
        AddSnapshotUpdate(snapshot=snapshot),
        SetSnapshotRefUpdate.model_validate(
            {"ref-name": MAIN_BRANCH, "type": SnapshotRefType.BRANCH, "snapshot-id": snapshot_id}
        ),
    ]
    if properties:
        updates.append(SetPropertiesUpdate(updates=properties))
    dead = _expired(metadata, keep=table.lake.settings.snapshots_kept)
    # what a snapshot touched must be on record before it dies: a lagging reader asks for it
    if dead and _record(table, metadata, current.io):
        updates.append(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": dead}))
    return _Staged(
        updates=tuple(updates),
        requirements=(
            AssertTableUUID(uuid=metadata.table_uuid),
            AssertRefSnapshotId.model_validate(
                {"ref": MAIN_BRANCH, "snapshot-id": parent.snapshot_id if parent else None}
            ),
        ),
        parent_id=parent.snapshot_id if parent else None,
        removed=rewritten.removed,
        written=(*builder.written, location),
    )


def _checked_properties(name: str, metadata: TableMetadata, change: _Change) -> dict[str, str]:
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


def _summary(
    table: LakeTable, change: _Change, removed: Sequence[DataFile], parent: Snapshot | None
) -> Summary:
    before = parent.summary.additional_properties if parent and parent.summary else {}
    deltas = {
        "data-files": (len(change.added), len(removed)),
        "records": (_rows(change.added), _rows(removed)),
        "files-size": (_bytes(change.added), _bytes(removed)),
    }
    entries: dict[str, str] = {}
    for name, (plus, minus) in deltas.items():
        if plus:
            entries[f"added-{name}"] = str(plus)
        if minus:
            entries[f"{'removed' if name == 'files-size' else 'deleted'}-{name}"] = str(minus)
        if parent is None or f"total-{name}" in before:  # else nobody knows, and readers count
            entries[f"total-{name}"] = str(int(before.get(f"total-{name}", 0)) + plus - minus)
    for name in ("delete-files", "position-deletes", "equality-deletes"):
        entries[f"total-{name}"] = before.get(f"total-{name}", "0")
    if change.fence is not None:
        entries[OFFSETS_PREFIX + change.fence.key] = json.dumps(
            {k: v for k, v in change.fence.offsets.items() if change.fence.expected.get(k) != v}
        )
    touched = change.touched
    if touched is None:
        touched = _keys(table, (*change.added, *removed))
    if len(touched) <= _PARTITIONS_IN_SUMMARY_MAX:
        entries[PARTITIONS] = json.dumps(sorted(partitions.key_to_text(key) for key in touched))
    return Summary(operation=change.operation, **entries, **change.provenance.summary())


def _rows(files: Sequence[DataFile]) -> int:
    return sum(file.record_count for file in files)


def _bytes(files: Sequence[DataFile]) -> int:
    return sum(file.file_size_in_bytes for file in files)


def _expired(metadata: TableMetadata, *, keep: int) -> list[int]:
    """Pick the oldest unreferenced snapshots once there are a fifth more than `keep`."""
    referenced = {ref.snapshot_id for ref in metadata.refs.values()}
    loose = [s for s in metadata.snapshots if s.snapshot_id not in referenced]
    if len(loose) < keep + max(1, keep // 5):
        return []
    loose.sort(key=lambda s: s.sequence_number or 0)
    return [s.snapshot_id for s in loose[: len(loose) - keep + 1]]


def _swap(
    table: LakeTable, current: Table, staged: _Staged, *, snapshot_id: int
) -> TableMetadata | None:
    """Ask the catalog to adopt the staged snapshot; None means it did not, and it is safe to retry."""
    catalog = table.lake.catalog
    try:
        response = catalog.commit_table(current, staged.requirements, staged.updates)
    except CommitFailedException:
        landed = _landed(table, snapshot_id=snapshot_id)
        if landed is None:
            for location in staged.written:
                current.io.delete(location)
        return landed
    except (DatabaseUnavailableError, OSError):
        # the answer is lost or the catalog is locked: only the table itself knows. The files stay:
        # a commit that arrives late would need them, and clean-up takes them otherwise
        return _landed(table, snapshot_id=snapshot_id)
    # the catalog prunes old metadata files itself only when a pyiceberg transaction commits
    catalog._delete_old_metadata(current.io, current.metadata, response.metadata)
    return response.metadata


def _landed(table: LakeTable, *, snapshot_id: int) -> TableMetadata | None:
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            metadata = table.iceberg().metadata
        except (DatabaseUnavailableError, OSError):
            time.sleep(_BACKOFF_S * 2 ** min(attempt, 6))
        else:
            return metadata if metadata.snapshot_by_id(snapshot_id) else None
    raise CommitOutcomeUnknownError(str(table.name), snapshot_id)


def _report(
    table: LakeTable, change: _Change, staged: _Staged, *, snapshot_id: int, attempts: int
) -> Commit:
    return Commit(
        table=table.name,
        snapshot_id=snapshot_id,
        parent_id=staged.parent_id,
        operation=change.operation.value,
        files_added=len(change.added),
        files_removed=len(staged.removed),
        rows_added=_rows(change.added),
        rows_removed=_rows(staged.removed),
        bytes_added=_bytes(change.added),
        bytes_removed=_bytes(staged.removed),
        attempts=attempts,
    )
