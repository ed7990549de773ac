"""Keeps the online store up to date: publishes each view as soon as it has a new snapshot."""

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from headrace.definitions.windows import Windows
from headrace.errors import LakeError
from headrace.identifiers import TableName
from headrace.serving.publish import Published, publish_view
from headrace.serving.publish_windows import publish_windows
from headrace.serving.store import OnlineStore
from headrace.tables.lake import OpenLake

_PAUSE_S_MAX = 30.0
_WORK_SHARE = 0.1  # of the time, where nothing but rows that are not known yet is waited for


@dataclass(frozen=True, kw_only=True)
class Followed:
    """One publication: what it did, how long it took, and how old the commit was when it ended."""

    published: Published
    seconds: float
    behind_s: float


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A publication that failed and is tried again after a pause."""

    view: TableName
    error: LakeError
    pause_s: float


def follow(
    lake: OpenLake,
    store: OnlineStore,
    views: Sequence[TableName],
    *,
    every_s: float,
    stop: threading.Event,
    report: Callable[[Followed | Failed], None],
    windows: Mapping[TableName, Windows] | None = None,
) -> None:
    """Publish views until `stop` is set, each as soon as its table has another snapshot.

    Whoever commits, it is the table that is looked at. A view that fails does not hold up the others;
    it is tried again after a pause that doubles, up to 30 s. Safe to kill and to run several times at
    once: see `publish_view`.

    Args:
        lake: The lake.
        store: The store to keep up to date.
        views: The feature views.
        every_s: How often to look.
        stop: Ends it after the publication that runs.
        report: Called after each publication, and each that failed.
        windows: The declarations of those `views` that are window views.

    """
    pauses: dict[TableName, tuple[float, float]] = {}  # how long, and until when
    rests: dict[TableName, float] = {}
    while not stop.is_set():
        for view in views:
            pause_s, until_s = pauses.get(view, (0.0, 0.0))
            if stop.is_set() or time.monotonic() < until_s:
                continue
            try:
                computed = (windows or {}).get(view)
                if computed is not None:
                    done = _fold_new(lake, store, computed)
                else:
                    done = _publish_new(lake, store, view, rests)
            except LakeError as error:
                pause_s = min(_PAUSE_S_MAX, max(every_s, 2 * pause_s))
                pauses[view] = (pause_s, time.monotonic() + pause_s)
                report(Failed(view=view, error=error, pause_s=pause_s))
            else:
                pauses.pop(view, None)
                if done is not None:
                    report(done)
        stop.wait(every_s)


def _publish_new(
    lake: OpenLake, store: OnlineStore, view: TableName, rests: MutableMapping[TableName, float]
) -> Followed | None:
    """Publish the head, unless the store has it and nothing of it was held back.

    What is held back may wait for long, and each look reads whole days: `rests` says until when there
    is none. A new snapshot is published at once.
    """
    head = lake.table(view).head()
    state = store.state(str(view))
    again = state is not None and state.snapshot_id == head.snapshot_id
    if (
        state is not None
        and again
        and (not state.held_back or time.monotonic() < rests.get(view, 0.0))
    ):
        return None
    started_s = time.monotonic()
    published = publish_view(lake, store, head)
    if published.mode == "unchanged":
        return None
    seconds = time.monotonic() - started_s
    rests[view] = time.monotonic() + seconds / _WORK_SHARE
    if again and not published.rows_changed:
        return None
    behind_s = time.time() - (head.committed_at_ms or 0) / 1_000
    return Followed(published=published, seconds=seconds, behind_s=max(0.0, behind_s))


def _fold_new(lake: OpenLake, store: OnlineStore, windows: Windows) -> Followed | None:
    """Fold in what the events' table has that the store has not; note now and then that it looked."""
    started_s = time.monotonic()
    head = lake.table(windows.events).head()
    published = publish_windows(lake, store, windows, head)
    if published.mode == "unchanged":
        return None
    behind_s = time.time() - (head.committed_at_ms or 0) / 1_000
    seconds = time.monotonic() - started_s
    return Followed(published=published, seconds=seconds, behind_s=max(0.0, behind_s))
