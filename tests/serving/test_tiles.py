"""Tiles against a brute-force oracle: the value at each moment, however the events came."""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.windows import Windows
from headrace.serving.store import EntityKey
from headrace.serving.tile_text import parse_tiles, read_tiles, values_at, write_tiles
from headrace.serving.tiles import EntityTiles, RepeatUnclearError, folded
from headrace.serving.window_events import events_of
from headrace.serving.window_slots import plain_of, value_of
from headrace.window_states import Event
from tests.amounts import examples
from tests.samples.window_oracle import (
    PLACE,
    SCHEMA,
    Row,
    at,
    event_rows,
    expected,
    instants,
    views,
    windows_of,
)

KEYS = [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_a_decimal_of_more_digits_than_python_computes_with_is_kept_exactly() -> None:
    kind, values = pa.decimal128(38, 2), [Decimal("9" * 36 + ".99"), Decimal("-0.01"), None]
    plain = plain_of(pa.array(values, kind))
    assert [value_of(each, kind) for each in plain] == values


def us(moment: dt.datetime) -> int:
    return (moment - EPOCH) // ONE_US


def by_entity(windows: Windows, rows: Sequence[Row]) -> dict[EntityKey, list[Event]]:
    found: dict[EntityKey, list[Event]] = {}
    batch = pa.RecordBatch.from_pylist(list(rows), SCHEMA)
    for key, event in events_of(windows, batch, coordinate=PLACE):
        found.setdefault(key, []).append(event)
    return found


class World:
    """The table so far, and the texts of the tiles that a store would hold."""

    def __init__(self, windows: Windows) -> None:
        self.windows, self.rows = windows, list[Row]()
        self.texts: dict[EntityKey, str] = {}
        self.floor_us, self.position = 0, 0

    def publish(self, rows: Sequence[Row], as_of: dt.datetime) -> None:
        self.rows += rows
        self.position += 1
        self.floor_us = max(self.floor_us, self.windows.first_of(us(as_of)))
        for key, events in by_entity(self.windows, rows).items():
            self.texts[key] = write_tiles(self.windows, self.next_of(key, events))

    def next_of(self, key: EntityKey, events: Sequence[Event]) -> EntityTiles:
        text = self.texts.get(key)
        before = None if text is None else read_tiles(self.windows, text)
        try:
            return self.fold(before, events)
        except RepeatUnclearError:
            return self.fold(None, by_entity(self.windows, self.rows)[key])

    def fold(self, before: EntityTiles | None, events: Sequence[Event]) -> EntityTiles:
        return folded(self.windows, before, events, floor_us=self.floor_us, position=self.position)

    def values(self, entity: Row, moment: dt.datetime) -> Mapping[str, Any] | None:
        text = self.texts.get(tuple(entity[name] for name in self.windows.entity))
        tiles = None if text is None else parse_tiles(text)
        found = values_at(self.windows, tiles, us(moment))
        if found is None:
            return None
        return {
            column.name: list(value) if isinstance(value, tuple) else value
            for column, value in zip(self.windows.columns, found, strict=True)
        }


@settings(max_examples=examples(1500, few=60), deadline=None)
@given(
    windows=views,
    rows=event_rows(size_max=30),
    cuts=st.lists(st.tuples(st.integers(0, 12), instants), min_size=1, max_size=6),
    data=st.data(),
)
def test_the_value_at_each_moment_is_that_of_looking_at_every_event(
    windows: Windows, rows: list[Row], cuts: list[tuple[int, dt.datetime]], data: st.DataObject
) -> None:
    world = World(windows)
    for count, as_of in [*cuts, (len(rows), at(95))]:
        world.publish(rows[:count], as_of)
        rows = rows[count:]
        moment = data.draw(instants)
        for u, c in KEYS:
            found = world.values({"u": u, "c": c}, moment)
            if found is None:
                assert us(moment) < world.floor_us
            else:
                wanted = expected(windows, world.rows, {"u": u, "c": c}, moment)
                assert found == wanted


@settings(max_examples=examples(500, few=25), deadline=None)
@given(windows=views, rows=event_rows(size_max=30), cut=st.integers(0, 30), as_of=instants)
def test_a_step_that_is_repeated_changes_nothing(
    windows: Windows, rows: list[Row], cut: int, as_of: dt.datetime
) -> None:
    world = World(windows)
    world.publish(rows[:cut], at(0))
    before = dict(world.texts)
    world.publish(rows[cut:], as_of)
    after = dict(world.texts)
    # the position of what is stored tells which events it has; these are not given to it again
    world.texts = {key: after[key] if n % 2 else before[key] for n, key in enumerate(before)}
    for key, events in by_entity(windows, rows[cut:]).items():
        text = world.texts.get(key)
        stored = 0 if text is None else read_tiles(windows, text).position
        if stored < world.position:
            world.texts[key] = write_tiles(windows, world.next_of(key, events))
    assert world.texts == after


def row(seconds: float, **changes: object) -> Row:
    values = {"u": 1, "c": "a", "item": 1, "price": None, "score": None, "tag": None}
    place = {"_source": "one", "_source_partition": 0, "_source_offset": 0}
    times = {"event_time": at(seconds), "known_at": at(seconds)}
    return {"id": f"e{seconds}", **values, **place, **times, **changes}


def test_a_quiet_entity_loses_its_events_without_any_write() -> None:
    world = World(windows_of(entity=["u"]))
    world.publish([row(5), row(7)], at(8))
    seen = [world.values({"u": 1}, at(s)) for s in (9, 40, 40 - 0.000001, 60, 70)]
    assert all(each is not None for each in seen)
    counts = [(each["plays_30s"], each["plays_1m"]) for each in seen if each is not None]
    assert counts == [(2, 2), (0, 2), (2, 2), (0, 2), (0, 0)]


def test_one_event_of_the_future_freezes_nothing() -> None:
    world = World(windows_of(entity=["u"]))
    world.publish([row(86_400), row(5)], at(6))
    world.publish([row(8)], at(9))
    found, later = world.values({"u": 1}, at(10)), world.values({"u": 1}, at(86_401))
    assert found is not None
    assert later is not None
    assert (found["plays_30s"], later["plays_30s"]) == (2, 1)


def test_tiles_keep_no_more_than_their_windows_and_forget_repeats_after_the_lateness() -> None:
    windows = windows_of(entity=["u"], lateness="15s")
    world = World(windows)
    for second in range(0, 400, 2):
        world.publish([row(second, id=f"e{second}")], at(second))
    tiles = read_tiles(windows, world.texts[1,])
    assert len(tiles.tiles) <= 6 + 1
    assert len(tiles.events) <= 5
    kept = [start for start, tile in tiles.tiles.items() if tile.seen is not None]
    assert all(start + 25_000_000 >= tiles.floor_us for start in kept)
    assert len(kept) <= 3


def test_tiles_keep_nothing_that_newer_ones_hide() -> None:
    world = World(windows_of(entity=["u"]))
    for second in range(0, 60, 2):
        world.publish([row(second, item=second % 6)], at(second + 20))
    stored = parse_tiles(world.texts[1,])
    recent = next(n for n, slot in enumerate(world.windows.slots) if slot.take == "last")
    items = next(
        n
        for n, slot in enumerate(world.windows.slots)
        if slot.of == "item" and slot.take == "distinct"
    )
    assert len(stored.numbers) == 5
    assert sum(map(len, stored.states[recent])) == 3
    assert sum(map(len, stored.states[items])) <= 3
    found = world.values({"u": 1}, at(79))
    assert found is not None
    assert found == expected(world.windows, world.rows, {"u": 1}, at(79))


def test_a_moment_before_the_floor_has_no_value() -> None:
    world = World(windows_of(entity=["u"]))
    world.publish([row(5)], at(31))
    assert world.values({"u": 1}, at(30 - 0.000001)) is None
    found = world.values({"u": 1}, at(30))
    assert found is not None
    assert found["plays_30s"] == 1
