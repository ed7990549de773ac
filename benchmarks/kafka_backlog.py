"""Claim: a service takes a backlog for five minutes at 300,000 events a second, on the broker's two cores.

A topic of 16 partitions is filled with more than that by producers that have ended when it starts, then
`headrace ingest run --follow` takes it with every guarantee, for five minutes or until nothing is left. A bare
loop (`kafka_ingest`) reads the same topic before. In the end an audit compares every offset that was taken with
rows and dead letters.

Filling takes longer than measuring: the broker that HEADRACE_TEST_CLUSTER names may be filled before,
by `python -m benchmarks.kafka_backlog`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness import ROOT, Contender, Measured, Result, measure, show, status_mib
from benchmarks.kafka_followed import audited, commits_s, declare, percentile, start
from benchmarks.kafka_topics import PARTITIONS, broker, create, json_event

if TYPE_CHECKING:
    from headrace.config import Settings

EVENTS, SECONDS = 180_000_000, 300
BARE_EVENTS = 3_000_000
RATE_MIN, CPU_RATIO_MAX = 300_000, 1.3
COMMIT_S_MAX, RSS_MIB_MAX, STILL_S_MAX = 1.0, 1_200.0, 10.0
_CADENCE_S = 5
_TOPIC = "backlog"
_PRODUCERS = 2
_HEAD = b'{"event_id": "e-'
_ID_DIGITS = 12
_TAILS = 100_000  # events beyond these differ in their ids alone
_LOOK_S = 0.5
_START_S_MAX = 60.0


class Look(NamedTuple):
    """How far the service was at a moment, by its own report."""

    at_s: float
    lag: int
    taken: int
    committed_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What was seen of the service; `looks` begin with its first commit."""

    looks: Sequence[Look]
    commits_s: Sequence[float]
    peak_rss_mib: float

    @property
    def rate(self) -> float:
        """Events a second, from the first commit to the last."""
        first, last = self.looks[0], self.looks[-1]
        return (last.taken - first.taken) / (last.committed_s - first.committed_s)

    @property
    def cpu_us(self) -> float:
        """CPU of the service for each event that it read."""
        first, last = self.looks[0], self.looks[-1]
        return (last.cpu_s - first.cpu_s) / (first.lag - last.lag) * 1e6

    @property
    def still_s(self) -> float:
        """The longest time in which the lag did not fall."""
        falls = [self.looks[0].at_s]
        falls += [after.at_s for before, after in pairwise(self.looks) if after.lag < before.lag]
        return max(after - before for before, after in pairwise([*falls, self.looks[-1].at_s]))


def run(*, quick: bool = False) -> list[Result]:
    """Fill a topic, unless it is, and measure the bare loop and the service on it."""
    from headrace.config import Settings
    from infra.launcher import kafka

    events, seconds = (6_000_000, 15) if quick else (EVENTS, SECONDS)
    with TemporaryDirectory(prefix="headrace-backlog-") as made, broker() as cluster:
        servers = kafka.servers(cluster)
        fill(servers, events=events)
        bare = Contender(
            name="bare",
            module="benchmarks.kafka_ingest",
            function="bare",
            arguments={
                "servers": servers,
                "topic": _TOPIC,
                "events": events // 10 if quick else BARE_EVENTS,
            },
        )
        beside = measure([bare], rounds=1 if quick else 2)["bare"]
        file = declare(Path(made), servers, _TOPIC, cadence_s=_CADENCE_S)
        settings = Settings.load(env={}, path=file)
        found = _follow(settings, file, Path(made) / "service.log", seconds=seconds)
        taken, exact = audited(settings, _TOPIC)
    if not exact or taken < found.looks[-1].taken:
        last = found.looks[-1]
        msg = f"{last.taken:,} reported, {taken:,} found; exact: {exact}; {last.lag:,} left"
        raise RuntimeError(msg)
    return results_of(found, beside)


def results_of(found: Followed, bare: Measured) -> list[Result]:
    """Compare with the bare loop and the limits, and show them."""
    bare_rate = bare.figure("rows") / bare.figure("wall_s")
    bare_us = bare.figure("cpu_s") / bare.figure("rows") * 1e6
    seconds = found.looks[-1].at_s - found.looks[0].at_s
    about = f"in {seconds:.0f} s beside the broker, after {found.looks[-1].taken:,} events"
    limits = [
        (
            "kafka_backlog_commit",
            percentile(found.commits_s, 99),
            "s, p99 of commits",
            COMMIT_S_MAX,
        ),
        ("kafka_backlog_memory", found.peak_rss_mib, "MiB, peak of the service", RSS_MIB_MAX),
        ("kafka_backlog_lag", found.still_s, "s, the longest without less lag", STILL_S_MAX),
    ]
    results = [
        Result(
            claim="kafka_backlog_rate",
            value=found.rate,
            unit=f"events/s {about}",
            peer=f"a bare loop, {bare_rate:,.0f} events/s",
            ratio=bare_rate / found.rate,
            target=f">= {RATE_MIN:,} events/s",
            holds=found.rate >= RATE_MIN and found.looks[-1].taken >= RATE_MIN * SECONDS,
        ),
        Result(
            claim="kafka_backlog_cpu",
            value=found.cpu_us,
            unit=f"us of CPU an event {about}",
            peer=f"a bare loop, {bare_us:.2f} us",
            ratio=found.cpu_us / bare_us,
            target=f"ratio <= {CPU_RATIO_MAX}",
            holds=found.cpu_us / bare_us <= CPU_RATIO_MAX,
        ),
        *(
            Result(
                claim=claim,
                value=value,
                unit=f"{unit}, {about}",
                peer="the limit",
                ratio=value / limit,
                target=f"value <= {limit:g}",
                holds=value <= limit,
            )
            for claim, value, unit, limit in limits
        ),
    ]
    show(
        f"a backlog {about}",
        [{"": each.claim, "value": each.value, "target": each.target} for each in results],
    )
    return results


def _follow(settings: "Settings", file: Path, log: Path, *, seconds: int) -> Followed:
    service = start(file, _TOPIC, log)
    looks: list[Look] = []
    try:
        end_s = time.monotonic() + _START_S_MAX
        while time.monotonic() < end_s and service.poll() is None:
            look = _look(settings, service.pid)
            if look is not None:
                end_s = end_s if looks else time.monotonic() + seconds
                looks.append(look)
                if not look.lag:
                    break
            time.sleep(_LOOK_S)
        peak = status_mib(service.pid, "VmHWM")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    if not looks or not peak:
        msg = f"the service ended by itself, or made no commit:\n{log.read_text()[-2_000:]}"
        raise RuntimeError(msg)
    return Followed(looks=looks, commits_s=commits_s(log), peak_rss_mib=peak)


def _look(settings: "Settings", pid: int) -> Look | None:
    """Look at the service's report; None before its first commit."""
    from headrace.ingest.progress import read

    found = read(settings, _TOPIC)
    if found is None or found.committed_ms is None:
        return None
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return Look(
        at_s=time.monotonic(),
        lag=sum(found.lag.values()),
        taken=found.rows + found.dead_letters,
        committed_s=found.committed_ms / 1e3,
        cpu_s=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
    )


def fill(servers: str, *, events: int) -> None:
    """Send what the topic lacks of so many events, by two processes."""
    create(servers, _TOPIC)
    first = _held(servers)
    step = -(-(events - first) // _PRODUCERS)
    with ExitStack() as stack:
        producers = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "benchmarks.kafka_backlog", servers),
                        *(str(begin), str(min(begin + step, events))),
                    ],
                    cwd=ROOT,
                )
            )
            for begin in range(first, events, max(1, step))
        ]
        for each in producers:
            each.wait()
    if (held := _held(servers)) < events:
        msg = f"the topic has {held:,} of {events:,} events"
        raise RuntimeError(msg)


def _held(servers: str) -> int:
    """Return how many events the topic has."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "headrace"})
    try:
        ranges = (
            consumer.get_watermark_offsets(TopicPartition(_TOPIC, each), timeout=20)
            for each in range(PARTITIONS)
        )
        return sum(high - low for low, high in ranges)
    finally:
        consumer.close()


def produce(servers: str, first: int, end: int) -> None:
    """Send the events of these numbers, spread over the partitions by 500."""
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 50,
            "compression.type": "zstd",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 500_000,
        }
    )
    tails = [json_event(at)[len(_HEAD) + _ID_DIGITS :] for at in range(_TAILS)]
    for at in range(first, end):
        value = b"%s%0*d%s" % (_HEAD, _ID_DIGITS, at, tails[at % _TAILS])
        while True:
            try:
                producer.produce(_TOPIC, value, partition=at // 500 % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.2)
        if not at % 1_000:
            producer.poll(0)
    producer.flush(120)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        produce(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        from infra.launcher import kafka

        with broker() as cluster:
            fill(kafka.servers(cluster), events=EVENTS)
