"""Decides what a publication reads, from what happened to its view since the published snapshot."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from headrace.definitions.feature_view import FeatureView
from headrace.errors import SnapshotNotFoundError, UnsupportedTableError
from headrace.serving.store import ViewState
from headrace.tables.history.changes import Changes, changed_days, changes
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

Mode = Literal["full", "incremental", "unchanged", "superseded"]


@dataclass(frozen=True, kw_only=True)
class PublishPlan:
    """What a publication reads: the listed `days`, or all of them if None.

    `may_recede` says that rows of those days may have been deleted or changed. Then entities whose
    stored row is in those days are compared with what is left, and read from all days if their
    stored row is newer than that.
    """

    mode: Mode
    days: tuple[dt.date, ...] | None = None
    may_recede: bool = False


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
    found = _since(lake, view, before)
    if isinstance(found, PublishPlan):
        return found
    if not state.same_shape(before):
        return PublishPlan(mode="full")
    days = _days_to_read(found, view, declared, before)
    if days == () and state.ttl == before.ttl:
        # state.as_of stays: nothing is held back, so a later one finds the same rows
        return PublishPlan(mode="unchanged")
    if days is None:
        return PublishPlan(mode="full")
    return PublishPlan(mode="incremental", days=days, may_recede=not _is_append(found))


def _since(lake: OpenLake, view: TableVersion, before: ViewState) -> Changes | PublishPlan:
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
