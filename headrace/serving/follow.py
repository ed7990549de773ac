"""Keeps the online store up to date: publishes each view as soon as it has a new snapshot."""

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headrace.definitions.windows import Windows
from headrace.errors import LakeError
from headrace.identifiers import TableName
from headrace.serving.beside import publish_versions
from headrace.serving.publish import Published
from headrace.serving.store import OnlineStore
from headrace.serving.versions import versions_of
from headrace.tables.lake import OpenLake

_PAUSE_S_MAX = 5.0  # values online grow old meanwhile, also after the store is back
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


class _Rest(NamedTuple):
    """Until when nothing held back is looked for, and the versions that the last look had to keep."""

    snapshot_id: int | None
    until_s: float
    kept: frozenset[str]  # names in the store; they stay behind `snapshot_id`


def follow(
    lake: OpenLake,
    store: OnlineStore,
    views: Sequence[TableName],
    *,
    every_s: float,
    stop: threading.Event,
    report: Callable[[Followed | Failed], None],
    windows: Mapping[TableName, Windows] | None = None,
    beside: bool = False,
) -> None:
    """Publish views until `stop` is set, each as soon as its table has another snapshot.

    Whoever commits, it is the table that is looked at. A view that fails does not hold up the others;
    it is tried again after a pause that doubles, up to 5 s. Safe to kill and to run several times at
    once: see `publish_view`.

    Args:
        lake: The lake.
        store: The store to keep up to date.
        views: The feature views.
        every_s: How often to look.
        stop: Ends it after the publication that runs.
        report: Called after each publication, and each that failed.
        windows: The declarations of those `views` that are window views.
        beside: See `publish_versions`.

    """
    pauses: dict[TableName, tuple[float, float]] = {}  # how long, and until when
    rests: dict[TableName, _Rest] = {}
    while not stop.is_set():
        for view in views:
            pause_s, until_s = pauses.get(view, (0.0, 0.0))
            if stop.is_set() or time.monotonic() < until_s:
                continue
            try:
                computed = (windows or {}).get(view)
                done = _publish_new(lake, store, view, computed, rests, beside=beside)
            except LakeError as error:
                pause_s = min(_PAUSE_S_MAX, max(every_s, 2 * pause_s))
                pauses[view] = (pause_s, time.monotonic() + pause_s)
                report(Failed(view=view, error=error, pause_s=pause_s))
            else:
                pauses.pop(view, None)
                for each in done:
                    report(each)
        stop.wait(every_s)


def _publish_new(
    lake: OpenLake,
    store: OnlineStore,
    view: TableName,
    windows: Windows | None,
    rests: MutableMapping[TableName, _Rest],
    *,
    beside: bool,
) -> list[Followed]:
    """Publish the head, unless the store has it and nothing of it was held back.

    What is held back may wait for long, and each look reads whole days: `rests` says until when there
    is none. A new snapshot is published at once. A window view is looked at each time: its store
    notes now and then that it was.
    """
    head = lake.table(view if windows is None else windows.events).head()
    found = versions_of(store, str(view))
    rest = rests.get(view)
    kept = rest.kept if rest and rest.snapshot_id == head.snapshot_id else frozenset[str]()
    again = "served" in found and all(  # a store that lost something is published to again
        state.snapshot_id == head.snapshot_id or state.view in kept for state in found.values()
    )
    held_back = any(state.held_back for state in found.values())
    resting = rest is not None and time.monotonic() < rest.until_s
    if windows is None and again and (not held_back or resting):
        return []
    started_s = time.monotonic()
    published = publish_versions(lake, store, view, windows=windows, beside=beside)
    seconds = time.monotonic() - started_s
    kept = frozenset(each.view for each in published if each.mode == "kept")
    rests[view] = _Rest(head.snapshot_id, time.monotonic() + seconds / _WORK_SHARE, kept)
    behind_s = max(0.0, time.time() - (head.committed_at_ms or 0) / 1_000)
    return [
        Followed(published=each, seconds=seconds, behind_s=behind_s)
        for each in published
        if each.mode not in {"unchanged", "kept"}
        and (windows is not None or each.rows_changed or not again)
    ]
