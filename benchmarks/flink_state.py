"""Claim: the state of a window view's job, and its checkpoints, grow no faster than its entities.

40,000 entities, then 200,000, have an event each within one tile, so that the job holds all of them: the rows
that tell repeats, and the cell of each entity. A checkpoint is a full one; the size of RocksDB is that of its
files on the TaskManager's disk, without what it still holds in memory. Sizes do not depend on what else the machine does.
"""

import contextlib
import datetime as dt
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from benchmarks.flink_servers import flink_pids, lake_on, rss_mib
from benchmarks.harness import MIB, Result, show
from headrace.api import Lake
from headrace.clock import ONE_US
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.flink.backfill import feature_table
from headrace.flink.begin import Begin
from headrace.flink.client import Gateway, JobManager
from headrace.flink.places import access_of, catalog_of
from headrace.flink.session import SESSION
from headrace.flink.window_sql import view_sql
from headrace.ingest.stream_tables import declared
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from infra.launcher.cluster import Cluster

SIZES = (40_000, 200_000)
GROWTH_MAX = (
    1.05  # of what is linear: a checkpoint has parts that do not depend on the number of entities
)
_CHUNK = 250_000
_BEGIN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
_TILE_S = 60
_EVERY = "10 s"
_WAIT_S_MAX = 900.0
_FIELDS = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "user_id": {"type": "long", "required": True},
    "item_id": {"type": "long"},
}


@dataclass(frozen=True, kw_only=True)
class State:
    """What a job holds, in MiB: a full checkpoint, files of RocksDB, and memory of the TaskManager."""

    entities: int
    checkpoint_mib: float
    rocksdb_mib: float
    rss_mib: float


def run(*, quick: bool) -> list[Result]:
    """Measure 40,000 and 200,000 entities; `quick` a twentieth of them."""
    from tests.flink.servers import flink_servers

    with flink_servers() as cluster:
        small, large = (measured(cluster, entities=n // (20 if quick else 1)) for n in SIZES)
    show("state of a window view's job", [vars(each) for each in (small, large)])
    return [
        _result("flink_checkpoint_growth", "MiB of a checkpoint", small, large, "checkpoint_mib"),
        _result("flink_state_growth", "MiB of RocksDB on disk", small, large, "rocksdb_mib"),
    ]


def measured(cluster: Cluster, *, entities: int) -> State:
    """Let a job take an event of each entity; return what it holds then."""
    with (
        TemporaryDirectory(prefix="headrace-state-") as made,
        lake_on(cluster.folder, Path(made)) as lake,
    ):
        stream, rows = _declared(lake)
        table = lake.table(stream.table)
        _add(table, stream, range(-1, 0), entities=entities)
        access = access_of(lake.settings)
        manager = JobManager(access)
        job = Gateway(access).submit(
            _statements(lake, rows, table),
            properties={**SESSION, "execution.checkpointing.interval": _EVERY},
        )
        for first in range(0, entities, _CHUNK):
            some = range(first, min(first + _CHUNK, entities))
            _add(table, stream, some, entities=entities)
        _wait_for_all(manager, job, entities)
        found = State(
            entities=entities,
            checkpoint_mib=_next_checkpoint(manager, job) / MIB,
            rocksdb_mib=_files_bytes(cluster.of("flink") / "tmp", job) / MIB,
            rss_mib=rss_mib(flink_pids(cluster)[1]),
        )
        manager.cancel(job)
        return found


def _declared(lake: Lake) -> tuple[Stream, WindowRows]:
    mark = uuid.uuid4().hex[:8]
    stream = Stream.model_validate(
        {
            "stream": f"state_{mark}",
            "table": f"raw.state_{mark}",
            "source": {"files": "*.jsonl"},
            "format": "json",
            "key": "id",
            "event_time": "at",
            "known_at": {"after_event": "0s"},
            "allowed_lateness": "10s",
            "fields": _FIELDS,
        }
    )
    view = WindowView.model_validate(
        {
            "view": f"features.state_{mark}",
            "events": str(stream.table),
            "entity": ["user_id"],
            "hop": f"{_TILE_S}s",
            "lateness": "5m",
            "aggregates": [
                {"name": "seen", "take": "count", "windows": ["5m", "1h"]},
                {"name": "total", "take": "sum", "of": "item_id", "windows": ["5m", "1h"]},
            ],
        }
    )
    declared(lake, stream)
    rows = WindowRows.of(resolve_windows(view, [stream]), stream)
    feature_table(lake, rows)
    return stream, rows


def _statements(lake: Lake, rows: WindowRows, table: LakeTable) -> tuple[str, ...]:
    snapshot_id = table.head().snapshot_id
    assert snapshot_id is not None
    begin = Begin(
        after_us=int(_BEGIN.timestamp() * 1_000_000) - 60_000_000 * 60,
        snapshot_id=snapshot_id,
        history_id=None,
    )
    sql = view_sql(rows, catalog_of(lake.settings, stream=rows.windows.view), begin=begin)
    return (*sql.setup, sql.insert)


def _add(table: LakeTable, stream: Stream, numbers: range, *, entities: int) -> None:
    """Append an event of each entity in one commit; all of them lie within one tile."""
    append(
        table,
        write_batches(table, _batches(stream, numbers, entities=entities)),
        provenance=Provenance(),
    )


def _batches(stream: Stream, numbers: range, *, entities: int) -> Iterator[pa.RecordBatch]:
    schema = stream.table_schema()
    span_us = (_TILE_S - 15) * 1_000_000
    times = [_BEGIN + (span_us * max(0, n) // entities) * ONE_US for n in numbers]
    at = pa.array(times, schema.field(EVENT_TIME).type)
    columns: dict[str, pa.Array] = {
        "id": pa.array([f"e{n}" for n in numbers]),
        EVENT_TIME: at,
        KNOWN_AT: at,
        "user_id": pa.array(numbers, pa.int64()),
        "item_id": pa.array([n % 1000 for n in numbers], pa.int64()),
        "_source": pa.array(["made"] * len(numbers)),
        "_source_partition": pa.array([0] * len(numbers), pa.int32()),
        "_source_offset": pa.array([n + 1 for n in numbers], pa.int64()),
        "_source_time": at,
    }
    yield pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _wait_for_all(manager: JobManager, job: str, entities: int) -> None:
    """Wait until the task that tells repeats has taken an event of each entity; a checkpoint empties its buffer."""
    end_s = time.monotonic() + _WAIT_S_MAX
    while (taken := _taken(manager.ask(f"/jobs/{job}"))) < entities:
        if time.monotonic() > end_s:
            msg = f"{taken:,} of {entities:,} events were taken"
            raise RuntimeError(msg)
        time.sleep(2)


def _taken(job: Mapping[str, Any]) -> int:
    """Return how many records the task that tells repeats has read."""
    found = [each for each in job["vertices"] if str(each["name"]).startswith("OverAggregate")]
    return max((int(each["metrics"]["read-records"]) for each in found), default=0)


def _next_checkpoint(manager: JobManager, job: str) -> int:
    """Return the size of a checkpoint that begins from now on, in bytes."""
    begun_ms, end_s = int(time.time() * 1000), time.monotonic() + _WAIT_S_MAX
    while True:
        newest = (manager.ask(f"/jobs/{job}/checkpoints")["latest"] or {}).get("completed") or {}
        if int(newest.get("trigger_timestamp", 0)) >= begun_ms:
            return int(newest["state_size"])
        if time.monotonic() > end_s:
            msg = "no checkpoint was complete"
            raise RuntimeError(msg)
        time.sleep(1)


def _files_bytes(folder: Path, job: str) -> int:
    """Return the size of what a job's RocksDB has on the disk of the TaskManager."""
    found = 0
    for each in folder.rglob("*"):
        if job in str(each.parent):
            with contextlib.suppress(FileNotFoundError):  # RocksDB merged it meanwhile
                found += each.stat().st_size if each.is_file() else 0
    return found


def _result(claim: str, unit: str, small: State, large: State, name: str) -> Result:
    value, before = getattr(large, name), getattr(small, name)
    growth = value / before / (large.entities / small.entities)
    return Result(
        claim=claim,
        value=value,
        unit=f"{unit} at {large.entities:,} entities, {large.rss_mib:,.0f} MiB in the TaskManager",
        peer=f"{before:,.1f} at {small.entities:,} entities",
        ratio=growth,
        target=f"ratio to linear <= {GROWTH_MAX}",
        holds=growth <= GROWTH_MAX,
    )
