"""Claim: the job of a window view of 61 tiles takes a fifth of the CPU that it took with copies to each end.

The same events of many entities over two hours, by the job's statements and by those that copy each event to every
end of a tile at which a window may hold it, which views of few tiles have: in the memory that `infra/flink` gives to
RocksDB, and in the managed memory of a slot, Flink's default. What is compared is the CPU time of the TaskManager
from the job's start until all rows are in the table; each way ran once before.
"""

import datetime as dt
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks.flink_servers import cpu_s, flink_pids, lake_on, wait_for
from benchmarks.flink_views import BEGIN, LONGEST, NOBODY, Viewed, declare_view
from benchmarks.harness import Result, show
from headrace.definitions.stream import COORDINATES
from headrace.engines.open import open_engine
from headrace.flink.client import Gateway, JobManager
from headrace.flink.places import access_of
from headrace.flink.session import SESSION
from headrace.identifiers import quote
from headrace.samples.window_rows import rows_sql
from infra.launcher.cluster import Cluster

EVENTS, EVENTS_WARM = 40_000, 2_000
PER_ENTITY = 2.5
HOURS = 2
SHARE_MAX = 0.2
_COMMITS = 8
_FAR_US = 1 << 60
_NOTHING: Mapping[str, str] = {}
_MANAGED = {
    "state.backend.rocksdb.memory.managed": "true",
    "state.backend.rocksdb.memory.partitioned-index-filters": "false",
}


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a job spent on some events."""

    events: int
    rows: int
    cpu_us: float
    per_s: float


def run(*, quick: bool) -> list[Result]:
    """Measure 40,000 events; `quick` a twentieth of them."""
    from tests.flink.servers import flink_servers

    with (
        flink_servers() as cluster,
        TemporaryDirectory(prefix="headrace-view-") as made,
        lake_on(cluster.folder, Path(made)) as lake,
    ):
        found = dict[str, Spent]()
        for events in (EVENTS_WARM, EVENTS // (20 if quick else 1)):
            viewed = declare_view(lake)
            since = viewed.table.head().snapshot_id
            assert since is not None
            wanted = _add(viewed, events)
            found["moments"] = _spent(cluster, viewed, events, since=since, rows=wanted)
            with patch("headrace.flink.window_sql.needs_moments", return_value=False):
                for name, more in (("copies", {}), ("copies, managed memory", _MANAGED)):
                    found[name] = _spent(
                        cluster, viewed, events, since=since, rows=wanted, more=more
                    )
    show(
        "the job of a window view of 61 tiles",
        [{"": name, **vars(each)} for name, each in found.items()],
    )
    ours, same, peer = found.values()
    ratio = ours.cpu_us / peer.cpu_us
    return [
        Result(
            claim="flink_view_cpu",
            value=ours.cpu_us,
            unit=f"CPU µs of the TaskManager an event, {ours.per_s:,.0f} events/s, "
            f"{ours.events:,} events and {ours.rows:,} rows",
            peer=f"copies to each end in managed memory, {peer.cpu_us:,.0f} CPU µs and {peer.per_s:,.0f} "
            f"events/s; in the same memory {same.cpu_us:,.0f} CPU µs and {same.per_s:,.0f} events/s",
            ratio=ratio,
            target=f"ratio <= {SHARE_MAX:g}",
            holds=ratio <= SHARE_MAX,
        )
    ]


def _add(viewed: Viewed, events: int) -> int:
    """Append events in some commits, and one that moves time past all of them; return how many rows are due."""
    rng = random.Random(events)
    times = [BEGIN + dt.timedelta(hours=HOURS) * n / events for n in range(events)]
    users = [rng.randrange(int(events / PER_ENTITY)) for _ in range(events)]
    viewed.add(times, users=users, first=1, chunk=events // _COMMITS)
    name = str(viewed.stream.table)
    with open_engine(viewed.lake.settings) as engine:
        engine.bind(name, viewed.table.head())
        sql = rows_sql(
            viewed.rows,
            ".".join(map(quote, name.split("."))),
            COORDINATES.names[:3],
            dialect=engine.dialect,
            after_us=int(BEGIN.timestamp() * 1_000_000),
            until_us=_FAR_US,
        )
        wanted = engine.query(sql).read_all().num_rows
    viewed.add([times[-1] + 2 * LONGEST], users=[NOBODY], first=events + 1)
    return wanted


def _spent(
    cluster: Cluster,
    viewed: Viewed,
    events: int,
    *,
    since: int,
    rows: int,
    more: Mapping[str, str] = _NOTHING,
) -> Spent:
    """Let a job write all rows."""
    access = access_of(viewed.lake.settings)
    manager, worker = JobManager(access), flink_pids(cluster)[1]
    table = viewed.lake.table(viewed.rows.table)
    before, spent_s, begun_s = table.head().row_count, cpu_s(worker), time.monotonic()
    job = Gateway(access).submit(viewed.statements(since=since), properties={**SESSION, **more})
    wait_for(lambda: table.head().row_count - before >= rows, what="all rows", seconds=600)
    wall_s, cpu = time.monotonic() - begun_s, cpu_s(worker) - spent_s
    manager.cancel(job)
    return Spent(
        events=events,
        rows=rows,
        cpu_us=cpu / events * 1e6,
        per_s=events / wall_s,
    )
