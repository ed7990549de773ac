"""Attempt a commit: stage on the newest metadata, swap, resolve a lost answer.

After a lost swap the commit is staged again; a lost answer is resolved by looking for the commit's
own snapshot id. Source offsets are part of the same swap and are checked on every attempt.
"""

import contextlib
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFileContent
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from headrace.crash_points import crash_point
from headrace.errors import (
    CatalogBusyError,
    CommitConflictError,
    CommitOutcomeUnknownError,
    ConflictReason,
    DatabaseUnavailableError,
    StorageError,
    StorageFullError,
    StoreUnavailableError,
    TableNotFoundError,
    is_full,
)
from headrace.iceberg.memo_catalog import CATALOG
from headrace.iceberg.pyiceberg_calls import delete_old_metadata
from headrace.iceberg.standard_properties import metadata_folder
from headrace.iceberg.updates import requires
from headrace.tables import intents
from headrace.tables.commits.adopt import adopting
from headrace.tables.commits.change import Change, Commit
from headrace.tables.commits.planned import PlannedTable, StagedTable
from headrace.tables.commits.same_writers import SameWriters
from headrace.tables.commits.staging import Staged, remove_all, stage
from headrace.tables.history.commit_log import record_head, record_of
from headrace.tables.lake import LakeTable

# what `commit_updates` takes is built with the two of staging
__all__ = ["ATTEMPTS_MAX", "NO_ANSWER", "commit_change", "commit_updates"]

ATTEMPTS_MAX = 12
UNANSWERED_MAX = 3  # each time after the catalog waited for its database
_BACKOFF_S = 0.02
# catalog errors that leave it unknown whether the request was carried out
NO_ANSWER = (
    DatabaseUnavailableError,
    OSError,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
)


def commit_change(table: LakeTable, change: Change) -> Commit:
    """Commit a change to its branch in one snapshot, together with a planned table's columns.

    Raises:
        CommitConflictError, FencedError: If the change is no longer valid; nothing was changed.
        CommitOutcomeUnknownError: If it cannot be determined whether it landed.
        CatalogBusyError: If it lost `ATTEMPTS_MAX` swaps; nothing was changed.
        StorageError: If a file cannot be written; nothing was changed.

    """
    crash_point("commit.after_data_files")
    planned = table
    if isinstance(planned, PlannedTable | StagedTable):
        table = LakeTable(table.lake, table.name)
    if isinstance(planned, PlannedTable):
        properties = {**change.properties, **planned.properties}
        change = replace(change, alter=planned.plan, properties=properties)
    with table.lake.locks.hold(table.name), adopting(planned, change.added):
        current = _needed(_base_of(planned), table)
        snapshot_id = current.metadata.new_snapshot_id()
        table_uuid = current.metadata.table_uuid
        with _doubting(table, snapshot_id) as doubt:
            for attempt in range(1, ATTEMPTS_MAX + 1):
                if current.metadata.table_uuid != table_uuid:
                    detail = "the table was dropped and created again concurrently"
                    reason = ConflictReason.TABLE_RECREATED
                    raise CommitConflictError(str(table.name), detail, reason=reason)
                staged = stage(table, current, change, snapshot_id=snapshot_id)
                if isinstance(planned, StagedTable):
                    staged = staged.creating(planned)
                crash_point("commit.after_manifests")
                landed = _swap(table, current, staged, doubt, snapshot_id=snapshot_id)
                if landed is None:
                    time.sleep(_backoff_s(attempt))
                    # in this order: if a request whose answer was lost is in the loaded metadata,
                    # it must be found now or it would look like a conflict; if it is carried out
                    # later, it fails the next swap
                    base = _base_of(planned)
                    landed = _landed(table, snapshot_id=snapshot_id)
                    if landed is None:
                        current = _needed(base, table)
                        continue
                crash_point("commit.after_swap")
                intents.landed(table.lake.registry, change.added)
                _record(table, landed, current.io, branch=change.branch)
                crash_point("commit.after_record")
                return _report(table, change, staged, snapshot_id=snapshot_id, attempts=attempt)
    raise CatalogBusyError(str(table.name), attempts=ATTEMPTS_MAX)


@dataclass
class _Doubt:
    """Whether an answer was lost, so that the request may still be carried out later."""

    is_left: bool = False


@contextlib.contextmanager
def _doubting(table: LakeTable, snapshot_id: int) -> Generator[_Doubt]:
    """Run attempts; a full disk is reported as "nothing was changed" only if that is certain."""
    doubt = _Doubt()
    try:
        yield doubt
    except StorageError as error:
        if doubt.is_left:
            raise CommitOutcomeUnknownError(str(table.name), snapshot_id) from error
        raise


def _base_of(table: LakeTable) -> Table | None:
    """Load the base of an attempt: the current table, or the table that the commit creates.

    None if a table to create exists by now: this commit may have landed, or another process won.
    """
    if isinstance(table, PlannedTable):
        return LakeTable(table.lake, table.name).iceberg()
    if not isinstance(table, StagedTable):
        return table.iceberg()
    return None if table.lake.exists(table.name) else table.staged


def _needed(base: Table | None, table: LakeTable) -> Table:
    if base is None:
        detail = "another process created the table concurrently"
        reason = ConflictReason.TABLE_CREATED
        raise CommitConflictError(str(table.name), detail, reason=reason)
    return base


def commit_updates(
    table: LakeTable,
    updates_of: Callable[[Table], tuple[TableUpdate, ...]],
    *,
    requirements_of: Callable[[TableMetadata], tuple[TableRequirement, ...]] = lambda _: (),
) -> TableMetadata:
    """Commit metadata-only updates (refs, expiry, properties, schema) built on the newest metadata.

    `updates_of` is called on every attempt, also after a lost answer: it must return no updates
    when there is nothing to do or when it finds them done. `requirements_of` adds what must still
    hold when the updates land.

    Raises:
        CatalogBusyError: If it lost every swap; nothing was changed.
        DatabaseUnavailableError: If the catalog does not answer; a retry is safe.
        StorageError: If the disk is too full for the catalog's writes; nothing was changed.

    """
    unanswered = 0
    with table.lake.locks.hold(table.name):
        for attempt in range(1, ATTEMPTS_MAX + 1):
            current = table.iceberg()
            updates = updates_of(current)
            if not updates:
                return current.metadata
            requirements = (
                *_requirements(current.metadata, updates),
                *requirements_of(current.metadata),
            )
            crash_point("updates.before_swap")
            try:
                response = table.lake.catalog.commit_table(current, requirements, updates)
            except CommitFailedException:
                time.sleep(_backoff_s(attempt))
                continue
            except NO_ANSWER as error:
                if (refusal := _refusal(error, current)) is not None:
                    raise refusal from error
                unanswered += 1
                if unanswered == UNANSWERED_MAX:
                    raise DatabaseUnavailableError(CATALOG, str(error)) from error
                time.sleep(_backoff_s(attempt))
                continue
            crash_point("updates.after_swap")
            delete_old_metadata(
                table.lake.catalog, current.io, before=current.metadata, after=response.metadata
            )
            return response.metadata
    raise CatalogBusyError(str(table.name), attempts=ATTEMPTS_MAX)


def _requirements(
    metadata: TableMetadata, updates: tuple[TableUpdate, ...]
) -> tuple[TableRequirement, ...]:
    """Require that changed refs are as the updates saw them, and that created refs are new."""
    wanted: dict[str, int | None] = {
        update.ref_name: None for update in updates if isinstance(update, SetSnapshotRefUpdate)
    }
    wanted |= {name: ref.snapshot_id for name, ref in metadata.refs.items()}
    return (
        SameWriters.of(metadata),
        *(requires(name, snapshot_id) for name, snapshot_id in wanted.items()),
    )


def _record(table: LakeTable, metadata: TableMetadata, io: FileIO, *, branch: str) -> None:
    """Record the branch in the registry, without failing a commit that has landed.

    If the registry is unavailable, or the store of the manifests, the next commit records it.
    """
    with contextlib.suppress(DatabaseUnavailableError, StoreUnavailableError):
        if table.lake.foreign:  # commits of other programs are not recorded
            head = metadata.snapshot_by_name(branch)
            if head is not None:
                table.lake.registry.record_commit(
                    record_of(table.name, head, metadata, io), on_main=branch == MAIN_BRANCH
                )
            return
        record_head(table.lake.registry, table.name, metadata, io, branch=branch)


def _backoff_s(attempt: int) -> float:
    return random.uniform(0, _BACKOFF_S * 2 ** min(attempt, 6))


def _swap(
    table: LakeTable, current: Table, staged: Staged, doubt: _Doubt, *, snapshot_id: int
) -> TableMetadata | None:
    """Ask the catalog to adopt the staged snapshot; None if it did not, so that a retry is safe.

    Raises:
        StorageError: If the disk is too full for the catalog's writes; nothing was changed.

    """
    try:
        response = table.lake.catalog.commit_table(current, staged.requirements, staged.updates)
    except (CommitFailedException, TableAlreadyExistsError):
        landed = _landed(table, snapshot_id=snapshot_id)
        if landed is None:
            remove_all(current.io, staged.written)
        return landed
    except (StorageError, *NO_ANSWER) as error:
        landed = _landed(table, snapshot_id=snapshot_id)
        refusal = _refusal(error, current)
        if refusal is None:
            # the answer is lost or the catalog is locked: only the table itself can tell. Keep the
            # files: a commit carried out late needs them, otherwise clean-up removes them
            doubt.is_left = True
        elif landed is None:
            remove_all(current.io, staged.written)
            raise refusal from error
        return landed
    delete_old_metadata(
        table.lake.catalog, current.io, before=current.metadata, after=response.metadata
    )
    return response.metadata


def _refusal(error: Exception, current: Table) -> StorageError | None:
    """Return the error of a disk that refused, so that nothing was swapped; None if in doubt."""
    if isinstance(error, StorageError):
        return error
    if is_full(error):
        folder = metadata_folder(current.metadata.location, current.metadata.properties)
        return StorageFullError.at(folder, str(error))
    return None


def _landed(table: LakeTable, *, snapshot_id: int) -> TableMetadata | None:
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            metadata = table.iceberg().metadata
        except TableNotFoundError:
            return None
        except (StoreUnavailableError, *NO_ANSWER):
            time.sleep(_BACKOFF_S * 2 ** min(attempt, 6))
        else:
            found = metadata.snapshot_by_id(snapshot_id) or _is_on_record(table, snapshot_id)
            return metadata if found else None
    raise CommitOutcomeUnknownError(str(table.name), snapshot_id)


def _is_on_record(table: LakeTable, snapshot_id: int) -> bool:
    """Whether the registry recorded a snapshot that the table no longer has.

    Snapshots are recorded before they expire, so a hit means that the commit landed.
    """
    try:
        return table.lake.registry.knows_commit(str(table.name), snapshot_id)
    except DatabaseUnavailableError:
        return False  # nothing expires while the registry cannot record it


def _report(
    table: LakeTable, change: Change, staged: Staged, *, snapshot_id: int, attempts: int
) -> Commit:
    removed = [file for file in staged.removed if file.content == DataFileContent.DATA]
    return Commit(
        table=table.name,
        snapshot_id=snapshot_id,
        parent_id=staged.parent_id,
        operation=change.operation.value,
        files_added=len(change.added),
        files_removed=len(removed),
        rows_added=sum(file.record_count for file in change.added),
        rows_removed=sum(file.record_count for file in removed),
        bytes_added=sum(file.file_size_in_bytes for file in change.added),
        bytes_removed=sum(file.file_size_in_bytes for file in removed),
        attempts=attempts,
    )
