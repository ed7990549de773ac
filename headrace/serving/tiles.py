"""The tiles of one entity: its newest events, folded where no request can tell them apart.

A tile is the state of every aggregate over one hop of event time. What `EntityTiles` holds is a value
of a position of the table: of all events up to it, whatever was written before. So a step that is
repeated after a crash writes the same, and counts nothing twice.

Requests ask for moments from the floor on. An event is folded into its tile when the whole tile
happened before the floor and the event was known before it; the others stay events, so that the
value is exact for each moment. A window begins with a tile, so tiles are never cut.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.definitions.windows import Windows
from headrace.window_states import Event, State, merged, state_of

Identity = tuple[Any, int]  # key and event time

_BACK_US = 60_000_000  # requests may ask for moments this long before the newest publication


def floor_of(windows: Windows, as_of_us: int) -> int:
    """Return the earliest moment that may be asked for once the table was looked at at `as_of_us`."""
    return windows.first_of(as_of_us - max(_BACK_US, windows.hop_us))


def oldest_of(windows: Windows, floor_us: int) -> int:
    """Return the start of the oldest tile that a window reaches from the floor on."""
    return windows.first_of(floor_us - windows.longest_us)


class RepeatUnclearError(Exception):
    """An event came into the table after its tile forgot which ones it has: fold all events anew."""


@dataclass
class Tile:
    """The states of one hop; `seen` are the events that it has, until none can come any more."""

    states: list[State]
    seen: set[Identity] | None


@dataclass
class EntityTiles:
    """The tiles of one entity by their start, and the events that are not folded yet."""

    position: int
    floor_us: int
    newest_event_us: int
    newest_known_us: int
    tiles: dict[int, Tile] = field(default_factory=dict[int, Tile])
    events: list[Event] = field(default_factory=list[Event])

    @property
    def is_empty(self) -> bool:
        """Whether no window has anything of it."""
        return not self.tiles and not self.events


def folded(
    windows: Windows,
    before: EntityTiles | None,
    events: Iterable[Event],
    *,
    floor_us: int,
    position: int,
) -> EntityTiles:
    """Return the tiles after more events, up to `position` of the table.

    `events` are those after the position of `before`, in any order; of one that came before, nothing
    changes. `before` is used up.

    Raises:
        RepeatUnclearError: If it cannot be told whether an event is counted already.

    """
    floor_us = floor_us if before is None else max(before.floor_us, floor_us)
    oldest_us = oldest_of(windows, floor_us)
    came = [
        event
        for event in events
        if event.known_us - event.event_us <= windows.lateness_us and event.event_us >= oldest_us
    ]
    tiles = {} if before is None else before.tiles
    waiting = [] if before is None else before.events
    if windows.key is not None:
        came = _not_folded(windows, before, came)
        waiting = _first_arrivals([*waiting, *came])
    else:
        waiting = [*waiting, *came]
    stored = [] if before is None else [(before.newest_event_us, before.newest_known_us)]
    times = [*stored, *((event.event_us, event.known_us) for event in came)]
    done = EntityTiles(
        position=position,
        floor_us=floor_us,
        newest_event_us=max((event_us for event_us, _ in times), default=oldest_us),
        newest_known_us=max((known_us for _, known_us in times), default=oldest_us),
        tiles={start: tile for start, tile in tiles.items() if start >= oldest_us},
    )
    for event in waiting:
        start_us = windows.first_of(event.event_us)
        if start_us < oldest_us:
            continue
        if start_us >= floor_us or event.known_us >= floor_us:
            done.events.append(event)
        else:
            _fold(windows, done.tiles, start_us, event)
    _pruned(windows, done.tiles)
    for start_us, tile in done.tiles.items():
        if start_us + windows.hop_us + windows.lateness_us < floor_us:
            tile.seen = None  # whatever comes now is too late
    return done


def _fold(windows: Windows, tiles: dict[int, Tile], start_us: int, event: Event) -> None:
    values = dict(zip(windows.inputs, event.values, strict=True))
    states = [state_of(slot, event, values.get(slot.of or "")) for slot in windows.slots]
    tile = tiles.get(start_us)
    if tile is None:
        tile = tiles[start_us] = Tile(states, set())
    else:
        pairs = zip(windows.slots, tile.states, states, strict=True)
        tile.states = [merged(slot, (old, new)) for slot, old, new in pairs]
    if tile.seen is not None and windows.key is not None:
        tile.seen.add((event.key, event.event_us))


def _not_folded(windows: Windows, before: EntityTiles | None, came: Sequence[Event]) -> list[Event]:
    """Return the events that no tile has yet."""
    if before is None:
        return list(came)
    new: list[Event] = []
    for event in came:
        tile = before.tiles.get(windows.first_of(event.event_us))
        if tile is None:
            new.append(event)
        elif tile.seen is None:
            raise RepeatUnclearError
        elif (event.key, event.event_us) not in tile.seen:
            new.append(event)
        elif event.known_us < before.floor_us:
            raise RepeatUnclearError  # it may have been the first to arrive
    return new


def _first_arrivals(events: Iterable[Event]) -> list[Event]:
    first: dict[Identity, Event] = {}
    for event in events:
        known = first.setdefault((event.key, event.event_us), event)
        if event.arrival < known.arrival:
            first[event.key, event.event_us] = event
    return list(first.values())


def _pruned(windows: Windows, tiles: dict[int, Tile]) -> None:
    """Drop what newer tiles hide at every moment: a window that has an old tile has the newer ones."""
    newest_first = [tiles[start_us] for start_us in sorted(tiles, reverse=True)]
    for number, slot in enumerate(windows.slots):
        if slot.take == "last":
            room = slot.keep
            for tile in newest_first:
                tile.states[number] = tile.states[number][-room:] if room else []
                room -= len(tile.states[number])
        if slot.take == "distinct":
            least: list[int] = []
            for tile in newest_first:
                hidden, both = set(least), merged(slot, (least, tile.states[number]))
                tile.states[number], least = sorted(set(both) - hidden), both
