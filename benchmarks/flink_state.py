"""Claim: the state of a window view's job, and its checkpoints, grow no faster than its entities.

1,000,000 entities, then 5,000,000, have an event each within one tile, and time goes on to its end: so the job holds of
each the row that tells repeats, the moments at which its event leaves windows, and what they hold now. A checkpoint is
a full one, of RocksDB the files on the TaskManager's disk count, without what it still holds in memory. Sizes do not
depend on what else the machine does.
"""

import contextlib
import datetime as dt
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.flink_servers import flink_pids, lake_on, rss_mib, wait_for
from benchmarks.flink_views import BEGIN, NOBODY, TILE_S, declare_view
from benchmarks.harness import MIB, Result, show
from headrace.flink.client import Gateway, JobManager
from headrace.flink.places import access_of
from headrace.flink.session import SESSION
from infra.launcher import flink
from infra.launcher.cluster import Cluster

SIZES = (1_000_000, 5_000_000)
GROWTH_MAX = (
    1.05  # of what is linear: a checkpoint has parts that do not depend on the number of entities
)
_BY_ITSELF_NEVER = {
    # the first one comes at any time within this
    "execution.checkpointing.interval": "10000 h",
    # it waits for the end of all windows of a tile
    "execution.checkpointing.timeout": "2 h",
}
_WAIT_S_MAX = 7200.0


@dataclass(frozen=True, kw_only=True)
class State:
    """What a job holds, in MiB: a full checkpoint, files of RocksDB, and memory of the TaskManager."""

    entities: int
    checkpoint_mib: float
    rocksdb_mib: float
    rss_mib: float
    taken_s: float


def run(*, quick: bool) -> list[Result]:
    """Measure 1,000,000 and 5,000,000 entities; `quick` a twentieth of them."""
    from tests.flink.servers import flink_servers

    with flink_servers() as cluster:
        small, large = (measured(cluster, entities=n // (20 if quick else 1)) for n in SIZES)
    show("state of a window view's job", [vars(each) for each in (small, large)])
    return [
        _result("flink_checkpoint_growth", "MiB of a checkpoint", small, large, "checkpoint_mib"),
        _result("flink_state_growth", "MiB of RocksDB on disk", small, large, "rocksdb_mib"),
    ]


def measured(cluster: Cluster, *, entities: int) -> State:
    """Let a job take an event of each entity, and the end of their tile; return what it holds then."""
    with (
        TemporaryDirectory(prefix="headrace-state-") as made,
        lake_on(cluster.folder, Path(made)) as lake,
    ):
        viewed = declare_view(lake)
        access = access_of(lake.settings)
        manager = JobManager(access)
        begun_s = time.monotonic()
        job = Gateway(access).submit(
            viewed.statements(),
            properties={**SESSION, **_BY_ITSELF_NEVER},
        )
        span = dt.timedelta(seconds=TILE_S - 15)
        times = [BEGIN + span * n / entities for n in range(entities)]
        viewed.add(times, users=range(entities), first=1)
        after = BEGIN + dt.timedelta(seconds=2.5 * TILE_S)
        viewed.add([after], users=[NOBODY], first=entities + 1)
        wait_for(
            lambda: _held(manager, job) >= entities,
            what=f"the rows of {entities:,} entities",
            seconds=_WAIT_S_MAX,
        )
        taken_s = time.monotonic() - begun_s
        found = State(
            entities=entities,
            checkpoint_mib=_checkpoint_bytes(manager, job) / MIB,
            rocksdb_mib=_files_bytes(cluster.of("flink") / "tmp", job) / MIB,
            rss_mib=rss_mib(flink_pids(cluster)[1]),
            taken_s=taken_s,
        )
        manager.cancel(job)
        return found


def _held(manager: JobManager, job: str) -> int:
    """Return how many moments the task that holds the values of windows has read: the last one that does."""
    vertices = manager.ask(f"/jobs/{job}")["vertices"]
    found = [each for each in vertices if str(each["name"]).startswith("OverAggregate")]
    return int(found[-1]["metrics"]["read-records"]) if len(found) > 1 else 0


def _checkpoint_bytes(manager: JobManager, job: str) -> int:
    """Ask for a checkpoint, and return its size in bytes."""
    begun_ms = int(time.time() * 1000)
    url = f"{manager.address}/jobs/{job}/checkpoints"
    flink.ask(url, method="POST", body={"checkpointType": "FULL"})

    def newest() -> dict[str, Any]:
        return (flink.ask(url)["latest"] or {}).get("completed") or {}

    wait_for(
        lambda: int(newest().get("trigger_timestamp", 0)) >= begun_ms,
        what="a checkpoint",
        seconds=_WAIT_S_MAX,
    )
    return int(newest()["state_size"])


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
        unit=f"{unit} at {large.entities:,} entities, taken in {large.taken_s:,.0f} s, {large.rss_mib:,.0f} MiB in the TaskManager",
        peer=f"{before:,.1f} at {small.entities:,} entities",
        ratio=growth,
        target=f"ratio to linear <= {GROWTH_MAX}",
        holds=growth <= GROWTH_MAX,
    )
