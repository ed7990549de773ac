"""Claims: an event counts online soon after its commit, and tiles make long windows cheap to look up.

Freshness: 500 events of 10,000 entities arrive in each second and are committed together; `follow` runs
beside. An event is online when the view has the snapshot that brought it. The peer is the commit alone:
what any reader of the table waits for.

Look-ups: each entity has 2,000 events in seven days, asked for the counts, sums and last values of an
hour, a day and the week. The peer keeps the events themselves in the same store and looks at each.
"""

import datetime as dt
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.harness import Contender, Result, Rounds, Spent, measure, show

if TYPE_CHECKING:
    from headrace.definitions.windows import Windows
    from headrace.serving.store import OnlineRow, OnlineStore, ViewState

EVENTS_PER_S, ENTITIES, SECONDS = 500, 10_000, 20
FRESH_S_MAX = 2.0
LOOKED_UP, EVENTS_EACH, KEYS, LOOKUPS = 200, 2_000, 100, 20
_NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
_STREAM = {
    "stream": "plays",
    "table": "raw.plays",
    "source": {"files": "plays/*.jsonl"},
    "format": "json",
    "event_time": "at",
    "fields": {
        "at": {"type": "timestamptz", "required": True},
        "user_id": {"type": "long", "required": True},
        "item": {"type": "long", "required": True},
    },
}
_WEEK = ["1h", "1d", "7d"]
_VIEW = {
    "view": "features.recent",
    "events": "raw.plays",
    "entity": ["user_id"],
    "hop": "1h",
    "aggregates": [
        {"name": "plays", "take": "count", "windows": _WEEK},
        {"name": "total", "take": "sum", "of": "item", "windows": _WEEK},
        {"name": "recent", "take": "last", "of": "item", "keep": 10, "windows": _WEEK},
    ],
}


def declared() -> "Windows":
    """The view of both claims."""
    from headrace.definitions.stream import Stream
    from headrace.definitions.window_view import WindowView
    from headrace.definitions.windows import resolve_windows

    stream = Stream.model_validate(_STREAM)
    return resolve_windows(WindowView.model_validate(_VIEW), [stream])


def fresh_on_sqlite(*, folder: str, seconds: int) -> Rounds:
    """Follow into the embedded store."""
    from headrace.serving.sqlite import SQLiteOnlineStore

    with SQLiteOnlineStore(Path(folder) / "online.db") as store:
        yield from _fresh_rounds(store, folder, seconds)


def fresh_on_redis(*, folder: str, seconds: int) -> Rounds:
    """Follow into a server."""
    from headrace.serving.redis import RedisOnlineStore
    from infra.launcher.redis import url
    from tests.redis_server import redis_server

    with redis_server(Path(folder)) as cluster, RedisOnlineStore(url(cluster)) as store:
        yield from _fresh_rounds(store, folder, seconds)


def _fresh_rounds(store: "OnlineStore", folder: str, seconds: int) -> Rounds:
    from benchmarks.harness import open_lake
    from headrace.api import Lake
    from headrace.definitions.stream import Stream
    from headrace.identifiers import TableName
    from headrace.serving.follow import follow
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    windows, stop = declared(), threading.Event()
    view = TableName.parse(windows.view)
    with open_lake(folder) as lake:
        schema = Stream.model_validate(_STREAM).table_schema()
        table = lake.create(
            TableName.parse(windows.events), schema, partition_by=["day(event_time)"]
        )

        def keep_up() -> None:
            with Lake.open(lake.settings) as mine:
                named = {view: windows}
                follow(mine, store, [view], every_s=0.05, stop=stop, report=_ignore, windows=named)

        draw, offset = random.Random(1), 0
        begin = threading.Thread(target=keep_up, daemon=True)
        begin.start()
        yield {}
        while True:
            spent = Spent()
            online: list[float] = []
            committed: list[float] = []
            for _ in range(seconds):
                time.sleep(1.0)
                until = time.time()
                times = sorted(until - draw.random() for _ in range(EVENTS_PER_S))
                batch = _batch(schema, times, offset, draw)
                offset += EVENTS_PER_S
                done = append(table, write_batches(table, [batch]), provenance=Provenance())
                committed += [time.time() - each for each in times]
                while (state := store.state(windows.view)) is None or (
                    state.snapshot_id != done.snapshot_id
                ):
                    time.sleep(0.002)
                online += [time.time() - each for each in times]
            yield {**spent.figures(), "online_s": _p95(online), "committed_s": _p95(committed)}


def _ignore(_: object) -> None:
    """Take a report of `follow`: the round looks at the store itself."""


def _batch(
    schema: pa.Schema, times: Sequence[float], offset: int, draw: random.Random
) -> pa.RecordBatch:
    moments = [dt.datetime.fromtimestamp(each, dt.UTC) for each in times]
    rows = [
        {
            "user_id": draw.randrange(ENTITIES),
            "item": draw.randrange(1_000),
            "event_time": moment,
            "known_at": moments[-1],
            "_source": "plays",
            "_source_partition": 0,
            "_source_offset": offset + number,
            "_source_time": None,
        }
        for number, moment in enumerate(moments)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def tiled(*, folder: str, entities: int) -> Rounds:
    """Look the values up from tiles."""
    from headrace.serving.sqlite import SQLiteOnlineStore
    from headrace.serving.vectors import lookup_vectors

    windows = declared()
    with SQLiteOnlineStore(Path(folder) / "online.db") as store:
        store.replace(_state(windows), _tiled_rows(windows, entities))
        yield {}
        draw = random.Random(2)
        while True:
            spent, total = Spent(), 0.0
            for _ in range(LOOKUPS):
                keys = [{"user_id": user} for user in draw.choices(range(entities), k=KEYS)]
                found = lookup_vectors(store, [windows.view], keys, at=_NOW).columns()
                total += sum(value for value in found["total_7d"] if isinstance(value, int))
            yield {**spent.figures(), "total": total}


def untiled(*, folder: str, entities: int) -> Rounds:
    """Look the events up and go through them."""
    from dataclasses import replace

    from headrace.serving.sqlite import SQLiteOnlineStore
    from headrace.serving.store import OnlineRow

    windows = declared()
    state = replace(_state(windows), schema=pa.schema([("user_id", pa.int64())]))
    with SQLiteOnlineStore(Path(folder) / "online.db") as store:
        rows = (
            OnlineRow(
                key=(user,), event_time=_NOW, known_at=_NOW, values=(json.dumps(_plays(user)),)
            )
            for user in range(entities)
        )
        store.replace(state, rows)
        yield {}
        draw = random.Random(2)
        while True:
            spent, total = Spent(), 0.0
            for _ in range(LOOKUPS):
                keys = [(user,) for user in draw.choices(range(entities), k=KEYS)]
                for row in store.get(windows.view, keys):
                    assert row is not None
                    total += _looked_at(json.loads(str(row.values[0])))
            yield {**spent.figures(), "total": total}


def _looked_at(plays: Sequence[Sequence[int]]) -> int:
    """Compute the nine values from the events; return one of them."""
    now_us, hour_us, found = int(_NOW.timestamp() * 1e6), 3_600_000_000, []
    for hours in (1, 24, 168):
        first_us = now_us - hours * hour_us
        items = [item for at_us, item in plays if first_us <= at_us < now_us]
        found.append((len(items), sum(items), items[-10:]))
    return found[-1][1]


def _plays(user: int) -> list[list[int]]:
    """Times and items of one entity, in order."""
    draw, now_us = random.Random(user), int(_NOW.timestamp() * 1e6)
    week_us = 7 * 24 * 3_600_000_000
    times = sorted(now_us - week_us + draw.randrange(week_us) for _ in range(EVENTS_EACH))
    return [[at_us, draw.randrange(1_000)] for at_us in times]


def _state(windows: "Windows") -> "ViewState":
    from headrace.serving.store import ViewState
    from headrace.serving.window_state import stored_columns, stored_schema

    return ViewState(
        view=windows.view,
        entity=windows.entity,
        columns=stored_columns(),
        schema=stored_schema(windows, pa.schema([("user_id", pa.int64())])),
        ttl=None,
        delay=dt.timedelta(0),
        snapshot_id=1,
        as_of=_NOW,
        published_at=_NOW,
    )


def _tiled_rows(windows: "Windows", entities: int) -> "Iterator[OnlineRow]":
    from headrace.serving.tiles import floor_of, folded
    from headrace.serving.window_state import row_of
    from headrace.window_states import Event

    floor_us = floor_of(windows, int(_NOW.timestamp() * 1e6))
    for user in range(entities):
        events = [
            Event(at_us, at_us, "plays", 0, number, None, (item,))
            for number, (at_us, item) in enumerate(_plays(user))
        ]
        yield row_of(windows, (user,), folded(windows, None, events, floor_us=floor_us, position=1))


def run(*, quick: bool) -> list[Result]:
    """Measure three rounds of each; `quick` measures one that is a quarter as long.

    Raises:
        AssertionError: If tiles give other values than the events.

    """
    rounds = 1 if quick else 3
    arguments: dict[str, Any] = {"seconds": SECONDS // 4 if quick else SECONDS}
    names = ("fresh_on_sqlite", "fresh_on_redis")
    fresh = measure([_contender(name, arguments) for name in names], rounds=rounds)
    arguments = {"entities": LOOKED_UP // 4 if quick else LOOKED_UP}
    looked = measure([_contender(name, arguments) for name in ("tiled", "untiled")], rounds=rounds)
    tiles, events = looked["tiled"], looked["untiled"]
    if tiles.figure("total") != events.figure("total"):
        msg = "tiles and events have other sums"
        raise AssertionError(msg)
    show(
        "s from event to commit and online, 95th percentile",
        [
            {"": one.name, "committed": one.figure("committed_s"), "online": one.figure("online_s")}
            for one in fresh.values()
        ],
    )
    each_us = {one.name: one.figure("cpu_s") / LOOKUPS / KEYS * 1e6 for one in looked.values()}
    show("CPU us a key", [{"": name, "us": us} for name, us in each_us.items()])
    slower = max(fresh.values(), key=lambda one: one.figure("online_s"))
    online_s, committed_s = slower.figure("online_s"), slower.figure("committed_s")
    ratio = each_us["tiled"] / each_us["untiled"]
    return [
        Result(
            claim="window_view_freshness",
            value=online_s,
            unit="s from event to online, 95th percentile, commits of 1 s",
            peer=f"the commit alone, {committed_s:.2f} s",
            ratio=online_s / committed_s,
            target=f"value <= {FRESH_S_MAX:g} s",
            holds=online_s <= FRESH_S_MAX,
        ),
        Result(
            claim="window_view_lookup",
            value=each_us["tiled"],
            unit="CPU us a key for nine values of up to seven days",
            peer=f"going through the events, {each_us['untiled']:.0f} us",
            ratio=ratio,
            target="ratio < 1",
            holds=ratio < 1,
        ),
    ]


def _contender(name: str, arguments: dict[str, Any]) -> Contender:
    return Contender(name=name, module=__name__, function=name, arguments=arguments)
