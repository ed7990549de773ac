"""Whether what the online store has of an entity can be used at a moment, and why not."""

import datetime as dt
from dataclasses import replace
from typing import Literal, TypeAlias

from headrace.definitions.windows import Windows
from headrace.serving.store import EntityKey, OnlineRow, ViewState, epoch_us
from headrace.serving.tile_text import parse_tiles, values_at
from headrace.serving.tiles import floor_of

Status: TypeAlias = Literal["fresh", "expired", "missing", "not_yet_known"]


def status_of(row: OnlineRow | None, *, ttl: dt.timedelta | None, at: dt.datetime) -> Status:
    """Judge a stored row by the point-in-time rule."""
    if row is None:
        return "missing"
    if not (row.event_time < at and row.known_at < at):
        return "not_yet_known"
    if ttl is not None and row.event_time < at - ttl:
        return "expired"
    return "fresh"


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
        return replace(found, values=(None,) * len(state.columns)), "not_yet_known"
    return found, "expired" if ttl is not None and state.as_of < at - ttl else "fresh"
