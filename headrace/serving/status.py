"""Whether what the online store has of an entity can be used at a moment, and why not."""

import datetime as dt
from collections.abc import Sequence
from typing import Literal, TypeAlias

from headrace.definitions.windows import Windows
from headrace.serving.kept import Times
from headrace.serving.store import EntityKey, OnlineRow, ViewState, epoch_us
from headrace.serving.tile_text import parse_tiles, values_at
from headrace.serving.tiles import floor_of

Status: TypeAlias = Literal["fresh", "expired", "missing", "not_yet_known"]


def statuses_of(
    times: Sequence[Times | None], *, ttl: dt.timedelta | None, at: dt.datetime
) -> list[Status]:
    """Judge stored rows by the point-in-time rule; rows that came together share their times."""
    judged: dict[Times | None, Status] = {
        each: _status(each, ttl=ttl, at=at) for each in set(times)
    }
    return [judged[each] for each in times]


def _status(times: Times | None, *, ttl: dt.timedelta | None, at: dt.datetime) -> Status:
    if times is None:
        return "missing"
    event_time, known_at = times
    if event_time >= at or known_at >= at:
        return "not_yet_known"
    return "expired" if ttl is not None and at - event_time > ttl else "fresh"


def window_answer(
    windows: Windows,
    state: ViewState,
    key: EntityKey,
    row: OnlineRow | None,
    *,
    ttl: dt.timedelta | None,
    at: dt.datetime,
) -> tuple[OnlineRow, Status]:
    """Compute the values of an entity at the moment from its tiles; one without tiles had no events.

    Its times are those of the newest event that the store has, or without one the moment up to which
    the store knows that there is none.
    """
    times = (state.as_of, state.as_of) if row is None else (row.event_time, row.known_at)
    at_us = epoch_us(at)
    # an entity without tiles has no event that a window reaches from the floor on
    unclear = row is None and at_us < floor_of(windows, epoch_us(state.as_of))
    tiles = None if row is None else parse_tiles(str(row.values[0]))
    values = None if unclear else values_at(windows, tiles, at_us)
    found = OnlineRow(key=key, event_time=times[0], known_at=times[1], values=values or ())
    if values is None:
        return found._replace(values=(None,) * len(state.columns)), "not_yet_known"
    return found, "expired" if ttl is not None and state.as_of < at - ttl else "fresh"
