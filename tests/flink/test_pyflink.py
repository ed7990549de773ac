"""Rows of a view of many tiles by a function of Python in Flink: those of the batch build and of the online tiles."""

import contextlib
import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.config import MIB
from headrace.definitions.stream import COORDINATES
from headrace.flink.recovery import restore
from headrace.serving.tile_text import parse_tiles, values_at, write_tiles
from headrace.serving.tiles import folded
from headrace.serving.window_events import columns_of, events_of
from infra.launcher.cluster import Cluster
from infra.launcher.flink import PYTHON
from tests.flink.events import Followed, Row, events, microseconds
from tests.flink.servers import cancel_all, kill, start
from tests.flink.streams import until

pytestmark = [pytest.mark.pyflink, pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = 5
CLASSES_MAX = 3 * MIB  # that a job may leave behind
MANY = "3h"  # of 10 s: more tiles than SQL copies events to


@pytest.fixture
def long(flink_lake: Lake, cluster: Cluster) -> Iterator[Followed]:
    """A view whose windows reach over many tiles; its jobs are cancelled afterwards."""
    aggregates: list[dict[str, Any]] = [
        {"name": "plays", "take": "count", "windows": ["10s", "30m", MANY]},
        {"name": "rated", "take": "count", "of": "score", "windows": [MANY]},
        {"name": "total", "take": "sum", "of": "item", "windows": ["30m", MANY]},
        {"name": "paid", "take": "sum", "of": "price", "windows": [MANY]},
        {"name": "least", "take": "min", "of": "score", "windows": ["30m"]},
        {"name": "most", "take": "max", "of": "price", "windows": [MANY]},
        {"name": "newest", "take": "max", "of": "known_at", "windows": [MANY]},
        {"name": "first", "take": "min", "of": "day", "windows": ["30m"]},
        {"name": "items", "take": "distinct", "of": "item", "windows": [MANY], "keep": 2},
        {"name": "ids", "take": "distinct", "of": "id", "windows": [MANY], "keep": 8},
        {"name": "recent", "take": "last", "of": "item", "windows": ["10s", MANY], "keep": 4},
        {"name": "names", "take": "last", "of": "name", "windows": [MANY], "keep": 3},
        {"name": "scores", "take": "last", "of": "score", "windows": ["30m"], "keep": 5},
        {"name": "prices", "take": "last", "of": "price", "windows": [MANY], "keep": 5},
        {"name": "times", "take": "last", "of": "known_at", "windows": [MANY], "keep": 2},
        {"name": "flags", "take": "last", "of": "flag", "windows": [MANY], "keep": 3},
    ]
    made = Followed.make(
        flink_lake, cluster, f"p{uuid.uuid4().hex[:10]}", aggregates=aggregates, python=str(PYTHON)
    )
    yield made
    cancel_all(made.job.manager, f"headrace features.{made.stream.name}")


def test_a_job_that_calls_python_is_killed_and_restored_without_a_difference(
    long: Followed, cluster: Cluster
) -> None:
    sent = events(800, seconds=4 * 3600, seed=15)
    long.add(sent[:200])
    long.job.submit()
    by_batch = len(long.written())
    assert by_batch > 0
    long.add(sent[200:400])
    long.wait_for([{}] * (by_batch + 100))
    kill(cluster, "flink_worker")
    long.add(sent[400:500])
    start(cluster, "flink_worker")
    job = long.job
    assert job.stop().savepoint
    restore(job)
    long.add(sent[500:])
    long.heartbeat(sent[-1], later=dt.timedelta(hours=4))
    wanted = long.wanted()
    assert len(wanted) > 2 * by_batch
    found = long.wait_for(wanted)
    assert found == wanted
    health = job.check().health
    assert health is not None
    assert not health.faults
    assert found == online(long, found)


def test_jobs_that_were_stopped_leave_neither_classes_nor_processes(
    long: Followed, cluster: Cluster
) -> None:
    long.add(events(100, seconds=3600, seed=16))
    long.job.submit()
    used = list[int]()
    for _ in range(ROUNDS):
        long.job.stop()
        used.append(metaspace(long))
        restore(long.job)
    until(lambda: python_processes(cluster) > 0)
    long.job.stop()
    # it keeps them for another job of the same environment
    until(lambda: python_processes(cluster) == 0)
    # the first ones load what all share
    assert used[-1] - used[1] < CLASSES_MAX * (ROUNDS - 2), used


def python_processes(cluster: Cluster) -> int:
    """Count the workers of Python that the TaskManager has, by the folder of its files."""
    found = 0
    for each in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            said = each.read_bytes()
            program = Path(each.parent, "cmdline").read_bytes().split(b"\0")[0]
            found += b"FLINK_CONF_DIR=" + bytes(cluster.of("flink")) in said and (
                Path(program.decode()).name.startswith("python")
            )
    return found


def metaspace(followed: Followed) -> int:
    """Return how many bytes of classes the TaskManager has loaded."""
    manager = followed.job.manager
    (worker,) = manager.ask("/taskmanagers")["taskmanagers"]
    path = f"/taskmanagers/{worker['id']}/metrics?get=Status.JVM.Memory.Metaspace.Used"
    until(lambda: bool(manager.ask(path)))  # it is there once it was collected
    listed: Any = manager.ask(path)
    return int(listed[0]["value"])


def online(followed: Followed, rows: list[Row]) -> list[Row]:
    """Compute the values of rows by the online tiles, from all events that were known at each moment."""
    windows = followed.rows.windows
    table = followed.lake.table(followed.stream.table).head().to_arrow()
    coordinate = tuple(COORDINATES.names[:3])
    batch = table.select(columns_of(windows, coordinate)).combine_chunks().to_batches()[0]
    by_key: dict[Any, list[Any]] = {}
    for key, event in events_of(windows, batch, coordinate=coordinate):
        by_key.setdefault(key, []).append(event)
    found: list[Row] = []
    for row in rows:
        at_us = microseconds(row["event_time"])
        known = [each for each in by_key[row["u"], row["c"]] if each.known_us < at_us]
        tiles = folded(windows, None, known, floor_us=at_us, position=1)
        values = values_at(windows, parse_tiles(write_tiles(windows, tiles)), at_us)
        assert values is not None
        named = zip(windows.schema().names, values, strict=True)
        listed = {name: list(v) if isinstance(v, tuple) else v for name, v in named}
        kept = {name: row[name] for name in ("u", "c", "event_time", "known_at")}
        found.append(kept | listed)
    return found
