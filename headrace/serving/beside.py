"""Publishes all versions of a view, so that another definition can be filled beside the served one."""

import datetime as dt
from collections.abc import Callable, Mapping

from headrace.definitions.windows import Windows
from headrace.errors import PublicationOvertakenError
from headrace.identifiers import TableName
from headrace.serving.moved import VersionMovedError, same_version
from headrace.serving.publish import Published, publish_target
from headrace.serving.publish_windows import publish_windows
from headrace.serving.store import Guard, OnlineStore, ViewState
from headrace.serving.stored_names import Version, stored_name
from headrace.serving.target import Target
from headrace.serving.versions import versions_of
from headrace.serving.window_state import windows_of
from headrace.tables.lake import OpenLake

_ATTEMPTS_MAX = 8


def publish_versions(
    lake: OpenLake,
    store: OnlineStore,
    view: TableName,
    *,
    windows: Windows | None = None,
    beside: bool = False,
    as_of: dt.datetime | None = None,
) -> tuple[Published, ...]:
    """Bring every version of a view that the store has up to the head of its table.

    A version goes on with the definition it was published by, so that it can be served again at any
    time; its mode is `kept`, and its rows stay as they are, once the table no longer has its columns.
    Where the view is defined otherwise than the served version, that one is replaced in one step; with
    `beside`, or where the next version has that definition already, it is left alone, and the next
    version gets the new definition. Versions that a switch, a rollback or a retirement moves meanwhile
    are looked at again: what is written under a name is what that name has.

    Args:
        lake: The lake.
        store: The store to bring up to date.
        view: The view.
        windows: Its declaration, if it is a window view.
        beside: Fill the next version where the definition has changed.
        as_of: See `publish_view`; the same for all versions.

    Returns:
        What was done, the served version first; each is named as in the store.

    Raises:
        NotAFeatureViewError: If the table is no feature view, or lacks a column.
        PublicationOvertakenError: If other publications were faster at every attempt.
        UnservableColumnError: If a column has a type that the store cannot keep.

    """
    as_of = dt.datetime.now(dt.UTC) if as_of is None else as_of
    for _ in range(_ATTEMPTS_MAX):
        found = versions_of(store, str(view))
        kind = _Stored if windows is None else _Computed
        one = kind(lake, store, view, windows, as_of=as_of, found=found)
        try:
            return _publish_found(one, found, beside=beside)
        except VersionMovedError:
            continue
    raise PublicationOvertakenError(str(view))


def _publish_found(
    one: "_Stored | _Computed", found: Mapping[Version, ViewState], *, beside: bool
) -> tuple[Published, ...]:
    beside = beside or ("next" in found and one.fits(found["next"]))
    served = found.get("served")
    if served is None or (not beside and not one.fits(served)):
        done = [one.declared("served")]
    else:
        done = [one.declared("served") if one.fits(served) else one.as_published(served)]
    if "former" in found:
        done.append(one.as_published(found["former"]))
    if served is not None and beside and not one.fits(served):
        done.append(one.declared("next"))
    elif "next" in found:
        done.append(one.as_published(found["next"]))
    return tuple(done)


class _Stored:
    """A view whose rows a table has."""

    def __init__(
        self,
        lake: OpenLake,
        store: OnlineStore,
        view: TableName,
        windows: Windows | None,
        *,
        as_of: dt.datetime,
        found: Mapping[Version, ViewState],
    ) -> None:
        _ = windows
        head = lake.table(view).head()
        self._view, self._head = str(view), head
        self._target = Target.of(lake, head)
        self._publish: Callable[[Target], Published] = lambda target: publish_target(
            lake, store, head, target, as_of=as_of, chosen=_chosen(found, target.name)
        )

    def fits(self, state: ViewState) -> bool:
        before, now = Target.as_published(state, self._head), self._target
        return before is not None and before.same_shape(now)

    def declared(self, version: Version) -> Published:
        return self._publish(self._target.called(stored_name(self._view, version)))

    def as_published(self, state: ViewState) -> Published:
        before = Target.as_published(state, self._head)
        if before is None:
            return _kept(state)
        return self._publish(before)


class _Computed:
    """A window view, whose tiles come of a table of events."""

    def __init__(
        self,
        lake: OpenLake,
        store: OnlineStore,
        view: TableName,
        windows: Windows | None,
        *,
        as_of: dt.datetime,
        found: Mapping[Version, ViewState],
    ) -> None:
        assert windows is not None
        self._view, self._windows = str(view), windows
        self._publish: Callable[[Windows, str], Published] = lambda declared, name: publish_windows(
            lake,
            store,
            declared,
            lake.table(declared.events).head(),
            as_of=as_of,
            name=name,
            chosen=_chosen(found, name),
        )

    def fits(self, state: ViewState) -> bool:
        return windows_of(state) == self._windows

    def declared(self, version: Version) -> Published:
        return self._publish(self._windows, stored_name(self._view, version))

    def as_published(self, state: ViewState) -> Published:
        before = windows_of(state)
        return _kept(state) if before is None else self._publish(before, state.view)


def _chosen(found: Mapping[Version, ViewState], name: str) -> Guard:
    """Refuse to write what was chosen for another version: a switch would be undone."""
    return same_version(next((each for each in found.values() if each.view == name), None))


def _kept(state: ViewState) -> Published:
    return Published(
        view=state.view,
        snapshot_id=state.snapshot_id,
        mode="kept",
        rows_read=0,
        rows_changed=0,
    )
