"""Tiles as the online store keeps them, and the values of a moment straight from there."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from headrace.definitions.windows import Windows
from headrace.serving.store import Value
from headrace.serving.tiles import EntityTiles, Identity, Tile
from headrace.serving.window_slots import result_of
from headrace.window_states import Event, State, merged, merged_since, state_of

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class StoredTiles(NamedTuple):
    """The tiles of an entity by column, so that a look-up slices them.

    `numbers` counts hops since 1970, in order; `states` has one list a slot, and `seen` pairs of key
    and time after the tile's start. `newest` are the event time and `known_at` of the entity.
    """

    position: int
    floor_us: int
    newest: Sequence[int]
    numbers: Sequence[int]
    states: Sequence[Sequence[State]]
    seen: Sequence[Sequence[Any] | None]
    events: Sequence[Sequence[Any]]


def parse_tiles(text: str) -> StoredTiles:
    """Read what `write_tiles` wrote, to compute values."""
    return StoredTiles(*json.loads(text))


def values_at(windows: Windows, tiles: StoredTiles | None, at_us: int) -> tuple[Value, ...] | None:
    """Return the values of the view's columns at a moment; None if it is before the floor.

    Without tiles the entity had no events.
    """
    if tiles is None:
        slots = (windows.slots[column.slot] for column in windows.columns)
        return tuple(result_of(slot, merged(slot, ())) for slot in slots)
    if at_us < tiles.floor_us:
        return None
    inputs = {name: number for number, name in enumerate(windows.inputs)}
    # an event that was known before the moment happened before it
    events = [event for each in tiles.events if (event := Event(*each)).known_us < at_us]
    starts_us = [windows.first_of(event.event_us) for event in events]
    values: list[Value] = []
    for column in windows.columns:
        slot, first_us = windows.slots[column.slot], windows.first_of(at_us - column.window_us)
        single: list[State] = []
        if events:
            at = None if slot.of is None else inputs[slot.of]
            single = [
                state_of(slot, event, None if at is None else event.values[at])
                for start_us, event in zip(starts_us, events, strict=True)
                if start_us >= first_us
            ]
        first, states = first_us // windows.hop_us, tiles.states[column.slot]
        values.append(result_of(slot, merged_since(slot, tiles.numbers, states, first, single)))
    return tuple(values)


def write_tiles(windows: Windows, tiles: EntityTiles) -> str:
    """Write tiles as JSON; equal ones have equal texts."""
    listed = sorted(tiles.tiles.items())
    stored = StoredTiles(
        position=tiles.position,
        floor_us=tiles.floor_us,
        newest=(tiles.newest_event_us, tiles.newest_known_us),
        numbers=[start_us // windows.hop_us for start_us, _ in listed],
        states=[
            [tile.states[number] for _, tile in listed] for number in range(len(windows.slots))
        ],
        seen=[_written_seen(tile.seen, start_us) for start_us, tile in listed],
        events=[[*event[:-1], list(event.values)] for event in sorted(tiles.events, key=_place)],
    )
    return _ENCODER.encode(stored)


def read_tiles(windows: Windows, text: str) -> EntityTiles:
    """Read what `write_tiles` wrote, to fold more events in."""
    stored = parse_tiles(text)
    columns = zip(*stored.states, strict=True) if stored.numbers else ()
    starts_us = [number * windows.hop_us for number in stored.numbers]
    return EntityTiles(
        position=stored.position,
        floor_us=stored.floor_us,
        newest_event_us=stored.newest[0],
        newest_known_us=stored.newest[1],
        tiles={
            start_us: Tile(list(states), _read_seen(seen, start_us))
            for start_us, states, seen in zip(starts_us, columns, stored.seen, strict=True)
        },
        events=[Event(*each) for each in stored.events],
    )


def _written_seen(seen: set[Identity] | None, start_us: int) -> list[Any] | None:
    if seen is None:
        return None
    listed = sorted(seen, key=lambda each: (each[1], str(each[0])))
    return [part for key, event_us in listed for part in (key, event_us - start_us)]


def _read_seen(seen: Sequence[Any] | None, start_us: int) -> set[Identity] | None:
    if seen is None:
        return None
    pairs = zip(seen[::2], seen[1::2], strict=True)
    return {(key, start_us + after_us) for key, after_us in pairs}


def _place(event: Event) -> tuple[int, str, int, int]:
    return event.event_us, event.source, event.partition, event.offset
