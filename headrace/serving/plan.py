"""Decides what a publication reads, from what happened to its view since the published snapshot."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from pyiceberg.table.snapshots import Operation

from headrace.definitions.feature_view import FeatureView
from headrace.errors import SnapshotNotFoundError, UnsupportedTableError
from headrace.serving.store import ViewState
from headrace.tables.history.changes import Changes, changed_days, changes
from headrace.tables.lake import OpenLake
from headrace.tables.version import FileEntry, TableVersion

Mode = Literal["full", "incremental", "unchanged", "superseded", "kept"]
_ADDED_ROWS_MAX = 500_000  # held in memory; more of them are read by the engine, day by day


@dataclass(frozen=True, kw_only=True)
class PublishPlan:
    """What a publication reads: the listed `days`, or all of them if None.

    `may_recede` says that rows of those days may have been deleted or changed. Then entities whose
    stored row is in those days are compared with what is left, and read from all days if their
    stored row is newer than that. `added` lists the files of appends, where nothing else happened: they
    have all that is new, and are read first.
    """

    mode: Mode
    days: tuple[dt.date, ...] | None = None
    may_recede: bool = False
    added: tuple[FileEntry, ...] = ()


def plan_publication(
    lake: OpenLake,
    view: TableVersion,
    declared: FeatureView,
    state: ViewState,
    before: ViewState | None,
) -> PublishPlan:
    """Plan bringing a view from the state `before` to `state`, which is that of `view`."""
    if before is None:
        return PublishPlan(mode="full")
    found = history_since(lake, view, before)
    if isinstance(found, PublishPlan):
        return found
    if not state.same_shape(before):
        return PublishPlan(mode="full")
    days = _days_to_read(found, view, declared, before)
    if days == () and state.ttl == before.ttl:
        # state.as_of stays: nothing is held back, so a later one finds the same rows
        return PublishPlan(mode="unchanged")
    added = _added(view, before) if _is_append(found) and not before.held_back else ()
    if days is None:
        return PublishPlan(mode="full", added=added)
    recede = not _is_append(found)
    return PublishPlan(mode="incremental", days=days, may_recede=recede, added=added)


def history_since(lake: OpenLake, view: TableVersion, before: ViewState) -> Changes | PublishPlan:
    """Ask what changed since the published snapshot, or plan at once where there is no answer."""
    table = lake.table(view.name)
    try:
        return changes(table, since=before.snapshot_id, until=view.snapshot_id)
    except UnsupportedTableError:
        return PublishPlan(mode="full")  # the partition spec changed in between
    except SnapshotNotFoundError:
        pass
    try:
        changes(table, since=before.snapshot_id)
    except UnsupportedTableError:
        return PublishPlan(mode="superseded")
    except SnapshotNotFoundError:
        return PublishPlan(mode="full")  # what is published was rolled back, or is unknown
    # the published snapshot is in the history of `main`, and `view` is older or on another branch
    return PublishPlan(mode="superseded")


def _is_append(found: Changes) -> bool:
    return set(found.operations) <= {"append"}


def _added(view: TableVersion, before: ViewState) -> tuple[FileEntry, ...]:
    """List the files of the appends since the published snapshot, if they are few and all there is.

    Empty if snapshots in between have expired, or a compaction put their rows into other files.
    """
    published = view.metadata.snapshot_by_id(before.snapshot_id)
    snapshot = view.snapshot
    if published is None or published.sequence_number is None:
        return ()
    while snapshot is not None and snapshot.snapshot_id != before.snapshot_id:
        if snapshot.summary is None or snapshot.summary.operation is not Operation.APPEND:
            return ()
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else view.metadata.snapshot_by_id(parent)
    if snapshot is None:
        return ()
    since = published.sequence_number
    files = view.files_in(lambda manifest: (manifest.sequence_number or 0) > since)
    added = tuple(file for file in files if file.sequence > since)
    few = sum(file.rows for file in added) <= _ADDED_ROWS_MAX
    return added if few and not any(file.deletes for file in added) else ()


def _days_to_read(
    found: Changes, view: TableVersion, declared: FeatureView, before: ViewState
) -> tuple[dt.date, ...] | None:
    """List the days to read again; None means all, where the days are not known."""
    if not found.partitions:
        return None if found.operations else before.held_back
    days = changed_days(found, column=declared.event_time)
    if days is None or (None,) in found.partitions:
        return None
    if not _is_append(found) and set(view.partitions) <= found.partitions:
        return None  # every remaining partition was rewritten
    return tuple(sorted({*days, *before.held_back}))
