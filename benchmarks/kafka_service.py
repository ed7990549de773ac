"""Claim: a followed topic is committed in seconds, after SIGKILL and after an outage of the broker too.

A producer writes events at a steady rate for five minutes while `headrace ingest run --follow` takes them
at a cadence of 5 s; broker, producer and service share the cores. The service is killed and started again; then the
broker is stopped for a minute, in which events at half the rate pile up in the producer. In the end an
audit compares every offset of the topic with rows and dead letters.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT, Result, show, status_mib
from benchmarks.kafka_followed import audited, commits_s, declare, percentile, start
from benchmarks.kafka_topics import PARTITIONS, broker, create, json_event

if TYPE_CHECKING:
    from headrace.api import Lake
    from headrace.config import Settings
    from headrace.tables.lake import LakeTable
    from infra.launcher.cluster import Cluster

RATE = 100_000  # events a second: what broker, producer and service bear together on two cores
CADENCE_S = 5
FRESH_S_MAX, RECOVERY_S_MAX, CAUGHT_UP_S_MAX = 7.0, 5.0, 30.0
LAG_S_MAX = 10.0  # of the oldest event of all commits: two cadences
COMMIT_S_MAX, RSS_MIB_MAX = 1.0, 1_200.0
_TOPIC = "service"
_KILLS = 3
_TICK_S = 0.05
_WAIT_S_MAX = 120.0


@dataclass(kw_only=True)
class Found:
    """What was measured, in seconds and MiB; `sent` and `consumed` count events."""

    fresh_s: list[float] = field(default_factory=list[float])
    commits_s: list[float] = field(default_factory=list[float])
    recovered_s: list[float] = field(default_factory=list[float])
    caught_up_s: float = 0.0
    rss_mib: float = 0.0
    rate: float = 0.0
    steady_s: int = 0
    sent: int = 0
    consumed: int = 0
    exact: bool = False


def run(*, quick: bool = False) -> list[Result]:
    """Measure all phases on a broker that this starts; `quick` takes seconds of each."""
    from headrace.config import Settings
    from infra.launcher import kafka

    steady_s, outage_s = (6, 10) if quick else (300, 60)
    found = Found(steady_s=steady_s)
    with TemporaryDirectory(prefix="headrace-service-") as made, broker() as cluster:
        servers = kafka.servers(cluster)
        create(servers, _TOPIC)
        file = declare(Path(made), servers, _TOPIC, cadence_s=CADENCE_S)
        settings = Settings.load(env={}, path=file)
        log = Path(made) / "service.log"
        service = start(file, _TOPIC, log)
        try:
            _steady(found, settings, service, servers, seconds=steady_s)
            service = _kills(found, settings, service, servers, file=file, log=log)
            _outage(found, settings, cluster, servers, seconds=outage_s)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(30)
        found.commits_s = commits_s(log)
        found.consumed, found.exact = audited(settings, _TOPIC)
    if not found.exact or found.consumed != found.sent:
        msg = f"{found.sent:,} events were sent, {found.consumed:,} consumed; exact: {found.exact}"
        raise RuntimeError(msg)
    return results_of(found)


def results_of(found: Found) -> list[Result]:
    """Compare with the limits, and show them."""
    fresh, commit = percentile(found.fresh_s, 95), percentile(found.commits_s, 99)
    about, half = (
        f"at {rate:,.0f} events/s beside broker and producer" for rate in (found.rate, RATE / 2)
    )
    about = f"{about} for {found.steady_s} s"
    fresh_is = f"s from event to commit, p95 at {CADENCE_S} s, {about}"
    commit_is = f"s, p99 of {len(found.commits_s)} commits, {about}"
    killed_s, up_s = max(found.recovered_s), found.caught_up_s
    lag_is = f"s, the oldest event of any commit, {about}"
    figures = [
        ("kafka_lag", max(found.fresh_s), lag_is, LAG_S_MAX),
        ("kafka_freshness", fresh, fresh_is, FRESH_S_MAX),
        ("kafka_commit", commit, commit_is, COMMIT_S_MAX),
        ("kafka_recovery", killed_s, f"s from SIGKILL to a commit, {half}", RECOVERY_S_MAX),
        ("kafka_outage", up_s, f"s from broker up to caught up, {half}", CAUGHT_UP_S_MAX),
        ("kafka_memory", found.rss_mib, f"MiB, the most of the service, {about}", RSS_MIB_MAX),
    ]
    show(
        f"a followed topic {about}",
        [{"": claim, "value": value, "limit": limit} for claim, value, _, limit in figures],
    )
    return [
        Result(
            claim=claim,
            value=value,
            unit=unit,
            peer="the limit",
            ratio=value / limit,
            target=f"value <= {limit:g}",
            holds=value <= limit,
        )
        for claim, value, unit, limit in figures
    ]


def _steady(
    found: Found,
    settings: "Settings",
    service: "subprocess.Popen[bytes]",
    servers: str,
    *,
    seconds: int,
) -> None:
    """Write and take at the full rate; events are as old as their commit says."""
    begun_s = time.monotonic()
    with _producing(servers, rate=RATE, seconds=seconds) as producer:
        while producer.poll() is None:
            found.rss_mib = max(found.rss_mib, status_mib(service.pid, "VmRSS"))
            time.sleep(0.5)
    sent = _sent(producer)
    found.sent += sent
    _wait_for(settings, found.sent)
    found.rate = sent / (time.monotonic() - begun_s)
    found.fresh_s = _ages(settings)


def _kills(
    found: Found,
    settings: "Settings",
    service: "subprocess.Popen[bytes]",
    servers: str,
    *,
    file: Path,
    log: Path,
) -> "subprocess.Popen[bytes]":
    """Kill the service while events come, start it again, and time its first commit."""
    with _producing(servers, rate=RATE // 2, seconds=_KILLS * (CADENCE_S + 3)) as producer:
        for _ in range(_KILLS):
            time.sleep(CADENCE_S - 1)
            service.send_signal(signal.SIGKILL)
            service.wait()
            killed_s, before = time.monotonic(), _head(settings)
            service = start(file, _TOPIC, log)
            while _head(settings) == before:
                time.sleep(0.02)
            found.recovered_s.append(time.monotonic() - killed_s)
    found.sent += _sent(producer)
    _wait_for(settings, found.sent)
    return service


def _outage(
    found: Found, settings: "Settings", cluster: "Cluster", servers: str, *, seconds: int
) -> None:
    """Stop the broker; what is sent waits in the producer, and comes at once with it."""
    from infra.launcher import run as launcher

    down, rate = launcher.by_name("kafka"), RATE // 2
    with _producing(servers, rate=rate, seconds=seconds + 40) as producer:
        begun_s = time.monotonic()
        time.sleep(CADENCE_S)
        launcher.stop(cluster, down)
        time.sleep(seconds)
        launcher.up(cluster, [down], say=lambda _: None)
        up_s = time.monotonic()
        while producer.poll() is None:
            found.caught_up_s = time.monotonic() - up_s
            due = (time.monotonic() - begun_s) * rate
            # what is behind is no more than the service takes between two commits
            if _rows(settings) - found.sent >= due - rate * (CADENCE_S + 2):
                break
            time.sleep(0.1)
    found.sent += _sent(producer)
    _wait_for(settings, found.sent)


def _ages(settings: "Settings") -> list[float]:
    """Return how old rows were when they were committed, in seconds: every hundredth one."""
    import pyarrow.parquet as pq

    from headrace.api import Lake

    ages: list[float] = []
    with Lake.open(settings) as lake:
        table = _table(lake)
        loaded = table.iceberg()
        times = {each.snapshot_id: each.timestamp_ms for each in loaded.metadata.snapshots}
        current = loaded.current_snapshot()
        assert current is not None
        for manifest in current.manifests(loaded.io):
            for entry in manifest.fetch_manifest_entry(loaded.io):
                file = entry.data_file.file_path.removeprefix("file://")
                column = pq.read_table(file, columns=["_source_time"]).column(0)[::100]
                at_ms = times[entry.snapshot_id or 0]
                ages += [at_ms / 1e3 - each.timestamp() for each in column.to_pylist()]
    return ages


def _table(lake: "Lake") -> "LakeTable":
    from headrace.identifiers import TableName

    return lake.table(TableName("raw", _TOPIC))


def _head(settings: "Settings") -> int | None:
    from headrace.api import Lake

    with Lake.open(settings) as lake:
        return _table(lake).head().snapshot_id


def _rows(settings: "Settings") -> int:
    from headrace.api import Lake

    with Lake.open(settings) as lake:
        head = lake.head_of(f"raw.{_TOPIC}")
        return 0 if head is None else head.row_count


def _wait_for(settings: "Settings", rows: int) -> None:
    deadline_s = time.monotonic() + _WAIT_S_MAX
    while (found := _rows(settings)) < rows:
        if time.monotonic() > deadline_s:
            msg = f"{found:,} of {rows:,} events were taken"
            raise RuntimeError(msg)
        time.sleep(0.2)


@contextmanager
def _producing(servers: str, *, rate: int, seconds: int) -> "Generator[subprocess.Popen[bytes]]":
    """Produce in a process of its own; it has ended when the block has."""
    command = [sys.executable, "-m", "benchmarks.kafka_service", servers, str(rate), str(seconds)]
    producer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield producer
        producer.wait(_WAIT_S_MAX)
    finally:
        producer.kill()
        producer.wait()


def _sent(producer: "subprocess.Popen[bytes]") -> int:
    assert producer.stdout is not None
    return int(producer.stdout.read())


def produce(servers: str, *, rate: int, seconds: int) -> int:
    """Send events at a rate, however the broker is; return how many it has."""
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "compression.type": "zstd",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 10_000_000,
            "queue.buffering.max.kbytes": 1_500_000,
            "message.timeout.ms": 300_000,
            "log_level": 0,
        }
    )
    values = [json_event(at) for at in range(10_000)]
    begun_s, sent = time.monotonic(), 0
    while (now_s := time.monotonic() - begun_s) < seconds:
        due = int(now_s * rate)
        for at in range(sent, due):
            producer.produce(_TOPIC, values[at % len(values)], partition=at // 500 % PARTITIONS)
        sent = due
        producer.poll(0)
        time.sleep(_TICK_S)
    left = producer.flush(60)
    return sent - left


if __name__ == "__main__":
    print(produce(sys.argv[1], rate=int(sys.argv[2]), seconds=int(sys.argv[3])))
