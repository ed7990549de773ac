"""Claim: a look-up takes at most twice as long while a million rows are published, or retired, as before.

A look-up is of 100 random keys of a published view of 1,000,000 rows, one each 2 ms; its time is the 99th
percentile. The view is replaced meanwhile, by a process of its own and by a thread of the one that looks up;
on Redis it is deleted as well, while another view is looked up. The peer is the store when nothing else is
done.
"""

import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import online_store
from benchmarks.harness import ROOT, Result, show

if TYPE_CHECKING:
    from headrace.serving.store import OnlineStore, ViewState

ROWS, KEYS = 1_000_000, 100
RATIO_MAX = 2.0
_OTHER, _ALONE = "features.other", "alone"
_IDLE_S, _PAUSE_S, _RETIRED_S = 8.0, 0.002, 4.0


def run(*, quick: bool) -> list[Result]:
    """Measure each store once; `quick` with a twentieth of the rows."""
    rows = ROWS // 20 if quick else ROWS
    found: dict[str, float] = {}
    with TemporaryDirectory(prefix="headrace-beside-") as scratch:
        for name, opened in (("SQLite", _sqlite), ("Redis", _redis)):
            with opened(Path(scratch) / name) as address, open_at(address) as store:
                store.replace(online_store.state(), online_store.engine_rows(rows))
                store.replace(_other(), online_store.engine_rows(rows // 10))
                found |= {
                    f"{name}, {what}": p99 for what, p99 in _p99(store, address, rows).items()
                }
    show(
        f"99th percentile of a look-up of {KEYS} keys",
        [{"": name, "ms": p99 * 1e3} for name, p99 in found.items()],
    )
    return [
        Result(
            claim="look_ups_beside_publishing",
            value=p99 * 1e3,
            unit=f"ms, 99th percentile of a look-up: {name}",
            peer=f"the store alone, {idle * 1e3:.2f} ms",
            ratio=p99 / idle,
            target=f"ratio <= {RATIO_MAX:g}",
            holds=p99 / idle <= RATIO_MAX,
        )
        for store in ("SQLite", "Redis")
        for idle in [found[f"{store}, {_ALONE}"]]
        for name, p99 in found.items()
        if name.startswith(store) and not name.endswith(_ALONE)
    ]


def _p99(store: "OnlineStore", address: str, rows: int) -> dict[str, float]:
    """Return the times by what is done meanwhile."""
    ends_s = time.monotonic() + _IDLE_S
    found = {_ALONE: _look_up_while(store, lambda: time.monotonic() < ends_s)}
    command = [sys.executable, "-m", __spec__.name, address, str(rows)]
    process = subprocess.Popen(command, cwd=ROOT)
    found["published by another process"] = _look_up_while(store, lambda: process.poll() is None)
    if process.wait():
        msg = f"publishing to {address.partition('@')[2] or address} failed"
        raise AssertionError(msg)
    thread = threading.Thread(target=publish, args=(store, rows))
    thread.start()
    found["published by the same process"] = _look_up_while(store, thread.is_alive)
    thread.join()
    ends_s = time.monotonic() + _RETIRED_S
    thread = threading.Thread(target=store.drop, args=(online_store.VIEW,))
    thread.start()
    found["deleted"] = _look_up_while(store, lambda: time.monotonic() < ends_s, view=_OTHER)
    thread.join()
    return found


def _look_up_while(
    store: "OnlineStore", goes_on: Callable[[], bool], *, view: str = online_store.VIEW
) -> float:
    """Look up again and again; return the 99th percentile of the times in seconds."""
    draw, times = random.Random(1), list[float]()
    while goes_on():
        keys = [(item,) for item in draw.choices(range(ROWS // 200), k=KEYS)]
        begun = time.perf_counter()
        rows = store.get(view, keys)
        times.append(time.perf_counter() - begun)
        if None in rows:
            msg = "a row that is published was not found"
            raise AssertionError(msg)
        time.sleep(_PAUSE_S)
    return statistics.quantiles(times, n=100)[-1]


def publish(store: "OnlineStore", rows: int) -> None:
    """Replace the view by a newer state of as many rows."""
    newer = replace(online_store.state(), snapshot_id=2)
    store.replace(newer, online_store.engine_rows(rows))


def open_at(address: str) -> "OnlineStore":
    """Open the store at an address of Redis, or in a file."""
    from headrace.serving.redis import RedisOnlineStore
    from headrace.serving.sqlite import SQLiteOnlineStore

    if address.startswith("redis"):
        return RedisOnlineStore(address)
    return SQLiteOnlineStore(Path(address))


def _other() -> "ViewState":
    return replace(online_store.state(), view=_OTHER)


@contextmanager
def _sqlite(home: Path) -> Generator[str]:
    home.mkdir()
    yield str(home / "online.db")


@contextmanager
def _redis(home: Path) -> Generator[str]:
    from infra.launcher.redis import url
    from tests.redis_server import redis_server

    with redis_server(home) as cluster:
        yield url(cluster)


if __name__ == "__main__":
    with open_at(sys.argv[1]) as opened:
        publish(opened, int(sys.argv[2]))
