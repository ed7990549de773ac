"""Claim: a look-up of 100 keys costs little more than the bare commands of Redis for the same values.

The store holds 1,000,000 rows of eight values. A round is 300 look-ups of 100 random keys. The peer sends
one `HGET` for each key in one pipeline, as redis-py's documentation does, and parses the same values
from JSON. Publishing those rows is measured beside it, from the batches that an engine yields; the
peer's plain pipelines of `HSET` compare nothing and keep no times.
"""

import datetime as dt
import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from benchmarks.harness import Contender, Measured, Result, Rounds, Spent, measure, show

if TYPE_CHECKING:
    from headrace.serving.store import EncodedRow, OnlineRow, OnlineStore, ViewState

ROWS = 1_000_000
LOOKUPS = 300
KEYS = 100
RATIO_MAX = 1.3
ROWS_PER_S_MIN = 100_000
VIEW = "features.items"
COLUMNS = tuple(f"value_{number}" for number in range(8))
_BATCH_ROWS = 10_000
_START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def state() -> "ViewState":
    """The published view."""
    from headrace.serving.store import ViewState

    kinds = [("item_id", pa.int64()), *((name, pa.float64()) for name in COLUMNS)]
    return ViewState(
        view=VIEW,
        entity=("item_id",),
        columns=COLUMNS,
        schema=pa.schema(kinds),
        ttl=None,
        delay=dt.timedelta(0),
        snapshot_id=1,
        as_of=_START,
        published_at=_START,
    )


def values(item: int) -> tuple[float, ...]:
    """The values of one item."""
    return tuple((item * 7919 + number) % 1_000 / 64 for number in range(len(COLUMNS)))


def rows(count: int) -> "Iterator[OnlineRow]":
    """The rows of the view."""
    from headrace.serving.store import OnlineRow

    return (
        OnlineRow(key=(item,), event_time=_START, known_at=_START, values=values(item))
        for item in range(count)
    )


def engine_rows(count: int) -> "Iterator[EncodedRow]":
    """The rows of the view, from batches as an engine yields them."""
    from headrace.serving.encoded import encoded_batch

    for first in range(0, count, _BATCH_ROWS):
        items = np.arange(first, min(count, first + _BATCH_ROWS))
        times = pa.array([_START] * len(items), pa.timestamp("us", tz="UTC"))
        named = {"event_time": times, "known_at": times, "item_id": pa.array(items)}
        for number, name in enumerate(COLUMNS):
            named[name] = pa.array((items * 7919 + number) % 1_000 / 64)
        yield from encoded_batch(pa.RecordBatch.from_pydict(named), entity=1)


def on_redis(*, folder: str, count: int) -> Rounds:
    """Look up through the store on a server of its own."""
    from headrace.serving.redis import RedisOnlineStore
    from infra.launcher.redis import url
    from tests.redis_server import redis_server

    with redis_server(Path(folder)) as cluster, RedisOnlineStore(url(cluster)) as store:
        yield from _store_rounds(store, count)


def on_sqlite(*, folder: str, count: int) -> Rounds:
    """Look up through the embedded store."""
    from headrace.serving.sqlite import SQLiteOnlineStore

    with SQLiteOnlineStore(Path(folder) / "online.db") as store:
        yield from _store_rounds(store, count)


def bare_redis(*, folder: str, count: int) -> Rounds:
    """Send the commands by hand."""
    import redis

    from infra.launcher.redis import url
    from tests.redis_server import redis_server

    with redis_server(Path(folder)) as cluster, redis.Redis.from_url(url(cluster)) as client:
        begun, at_first = time.perf_counter(), Spent()
        for start in range(0, count, 1_000):
            step = client.pipeline(transaction=False)
            for item in range(start, min(count, start + 1_000)):
                step.hset("items", f"[{item}]", json.dumps(values(item)))
            step.execute()
        published_s = time.perf_counter() - begun
        publish_cpu_s = at_first.figures()["cpu_s"]
        yield {}
        draw = random.Random(1)
        while True:
            wanted = [draw.choices(range(count), k=KEYS) for _ in range(LOOKUPS)]
            spent, total = Spent(), 0.0
            for items in wanted:
                step = client.pipeline(transaction=False)
                for item in items:
                    step.hget("items", f"[{item}]")
                total += sum(json.loads(text)[0] for text in step.execute())
            yield {
                **spent.figures(),
                "total": total,
                "rows_per_s": count / published_s,
                "publish_us": publish_cpu_s / count * 1e6,
            }


def _store_rounds(store: "OnlineStore", count: int) -> Rounds:
    view = state()
    store.put(view, rows(1))  # the first use of a store prepares it
    begun, spent = time.perf_counter(), Spent()
    store.replace(replace(view, snapshot_id=2), engine_rows(count))
    published_s = time.perf_counter() - begun
    publish_cpu_s = spent.figures()["cpu_s"]
    yield {}
    draw = random.Random(1)
    while True:
        wanted = [[(item,) for item in draw.choices(range(count), k=KEYS)] for _ in range(LOOKUPS)]
        spent, total = Spent(), 0.0
        for keys in wanted:
            for row in store.get(view.view, keys):
                assert row is not None
                first = row.values[0]
                assert isinstance(first, float)
                total += first
        yield {
            **spent.figures(),
            "total": total,
            "rows_per_s": count / published_s,
            "publish_us": publish_cpu_s / count * 1e6,
        }


def run(*, quick: bool) -> list[Result]:
    """Measure five rounds of each; `quick` measures one, of a tenth of the rows.

    Raises:
        AssertionError: If the stores return other values than were put.

    """
    count = ROWS // 10 if quick else ROWS
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments={"count": count})
        for name in ("on_redis", "bare_redis", "on_sqlite")
    ]
    found = measure(contenders, rounds=1 if quick else 5)
    ours, bare, embedded = (found[each.name] for each in contenders)
    for name in ("total",):
        if ours.figure(name) != bare.figure(name) or ours.figure(name) != embedded.figure(name):
            msg = "the stores returned other values"
            raise AssertionError(msg)
    show(
        f"CPU us of the client for a look-up of {KEYS} keys", [_row(one) for one in found.values()]
    )
    ratio = ours.figure("cpu_s") / bare.figure("cpu_s")
    slowest = min(ours.figure("rows_per_s"), embedded.figure("rows_per_s"))
    return [
        Result(
            claim="online_store_lookup",
            value=ours.figure("cpu_s") / LOOKUPS * 1e6,
            unit=f"CPU us of the client for {KEYS} keys on Redis",
            peer=f"one HGET for each in a pipeline, {bare.figure('cpu_s') / LOOKUPS * 1e6:.0f} us",
            ratio=ratio,
            target=f"ratio <= {RATIO_MAX}",
            holds=ratio <= RATIO_MAX,
        ),
        Result(
            claim="online_store_publish",
            value=slowest,
            unit="rows/s published to the slower of SQLite and Redis",
            peer=f"plain pipelines of HSET, {bare.figure('rows_per_s'):,.0f} rows/s",
            ratio=slowest / bare.figure("rows_per_s"),
            target=f"rows/s >= {ROWS_PER_S_MIN:,}",
            holds=slowest >= ROWS_PER_S_MIN,
        ),
    ]


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "CPU us a look-up": measured.figure("cpu_s") / LOOKUPS * 1e6,
        "wall us": measured.figure("wall_s") / LOOKUPS * 1e6,
        "rows published per s": measured.figure("rows_per_s"),
        "CPU us of the client a row": measured.figure("publish_us"),
        "peak RSS MiB": measured.peak_rss_mib,
    }
