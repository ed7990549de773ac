"""Claim: appends keep their rate while compaction and expiration run continuously in another process.

Both contenders append one file of 1,000 rows at a time for as long as a round takes. The peer is the
same appends without any other process. An append that fails ends the benchmark.
"""

import multiprocessing
import time
from multiprocessing.synchronize import Event

from benchmarks.commit_cost import rows
from benchmarks.harness import (
    Contender,
    Measured,
    Result,
    Rounds,
    declare_lake,
    measure,
    open_lake,
    show,
)
from headrace.api import Lake
from headrace.config import Settings
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import Provenance, append, expire
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

NAME = TableName("raw", "impressions")
ROUND_S = 10.0
KEPT_MIN = 0.8


def alone(*, folder: str, round_s: float) -> Rounds:
    """Append."""
    with open_lake(folder) as lake:
        table = lake.create(NAME, rows(0).schema)
        yield {}
        appended = 0
        while True:
            done = _append_for(table, round_s, first=appended)
            appended += done
            yield {"appends_per_s": done / round_s, "maintenance_commits": 0}


def beside(*, folder: str, round_s: float) -> Rounds:
    """Append while another process compacts and expires as fast as it can, in this round only."""
    settings = Settings.load(env={}, path=declare_lake(folder))
    with Lake.open(settings) as lake:
        table = lake.create(NAME, rows(0).schema)
        context = multiprocessing.get_context("spawn")
        go, stop = context.Event(), context.Event()
        commits = context.Value("q", 0)
        worker = context.Process(target=_maintain, args=(settings, go, stop, commits))
        worker.start()
        yield {}
        appended = 0
        try:
            while True:
                before = commits.value
                go.set()
                done = _append_for(table, round_s, first=appended)
                go.clear()
                appended += done
                assert table.head().row_count == appended * rows(0).num_rows
                assert worker.is_alive()
                yield {
                    "appends_per_s": done / round_s,
                    "maintenance_commits": commits.value - before,
                }
        finally:
            stop.set()
            go.set()
            worker.join()


def run(*, quick: bool) -> list[Result]:
    """Measure rounds of both in turn."""
    arguments = {"round_s": 1.0 if quick else ROUND_S}
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments=arguments)
        for name in ("alone", "beside")
    ]
    found = measure(contenders, rounds=2 if quick else 6)
    show("appends beside maintenance", [_row(each) for each in found.values()])
    kept, before = found["beside"].figure("appends_per_s"), found["alone"].figure("appends_per_s")
    return [
        Result(
            claim="beside_maintenance",
            value=kept,
            unit="appends per s beside continuous compaction and expiry, none failed",
            peer=f"the same appends alone, {before:.1f} per s",
            ratio=kept / before,
            target=f"ratio >= {KEPT_MIN}",
            holds=kept >= KEPT_MIN * before,
        )
    ]


def _append_for(table: LakeTable, duration_s: float, *, first: int) -> int:
    end, done = time.monotonic() + duration_s, 0
    while time.monotonic() < end:
        files = write_batches(table, rows(first + done).to_batches())
        append(table, files, provenance=Provenance())
        done += 1
    return done


def _maintain(settings: Settings, go: Event, stop: Event, commits: "_Counter") -> None:
    with Lake.open(settings) as lake:
        table = lake.table(NAME)
        while not stop.is_set():
            go.wait()
            if compact(table).commit is not None:
                commits.value += 1
            if expire(table, keep=10, before_ms=time.time_ns() // 1_000_000):
                commits.value += 1


class _Counter:
    value: int


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "appends per s": measured.figure("appends_per_s"),
        "maintenance commits a round": measured.figure("maintenance_commits"),
        "CPU s": measured.cpu_s,
        "peak RSS MiB": measured.peak_rss_mib,
    }
