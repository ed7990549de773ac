"""Ingesters of a topic in processes of their own, killed at named points or at any moment."""

import os
import random
import signal
import sys
import time
from multiprocessing.process import BaseProcess

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import FencedError
from tests.ingest.factories import dead_of, json_line, make_stream, rows_of
from tests.ingest.processes import FENCED, exit_code
from tests.processes import CONTEXT


def stream_of(topic: str) -> Stream:
    return make_stream(
        "json", source={"kafka": {"topic": topic}}, commit={"every": "1s", "rows": 50}
    )


def value(partition: int, at: int) -> bytes:
    """A good record, and a bad one as every seventh."""
    name = f"{partition}-{at}"
    return json_line(id=name) if at % 7 else json_line(id=name, n="wrong")


def start(
    settings: Settings, stream: Stream, servers: str, *, crash_at: str = "", rows: int = 50
) -> BaseProcess:
    """Drain a topic once: exit code 0 done, `FENCED` fenced, -9 killed."""
    process = CONTEXT.Process(target=_ingest, args=(settings, stream, servers, crash_at, rows))
    process.start()
    return process


def _ingest(settings: Settings, stream: Stream, servers: str, crash_at: str, rows: int) -> None:
    from headrace.definitions.sources import KafkaSource as Declared
    from headrace.ingest.run import ingest
    from headrace.ingest.sources.kafka import KafkaSource

    if crash_at:
        os.environ["HEADRACE_CRASH_AT"] = crash_at
    assert isinstance(stream.source, Declared)
    source = KafkaSource(stream.source.kafka.topic, {"bootstrap.servers": servers})
    try:
        with Lake.open(settings) as lake:
            ingest(lake, stream, rows_per_commit=rows, source=source)
    except FencedError:
        sys.exit(FENCED)


def killed_at_random(
    settings: Settings, stream: Stream, servers: str, *, kills: int, seed: int
) -> int:
    """Start ingesters and kill each at a random moment; return how many were at work then."""
    chance = random.Random(seed)
    caught, life_s = 0, 2.5  # what an ingester takes at most, once one ended by itself
    for _ in range(kills):
        process = start(settings, stream, servers, rows=chance.choice((20, 100, 1000)))
        begun_s = time.monotonic()
        process.join(timeout=chance.uniform(0.05, life_s))
        process.kill()
        if exit_code(process) == -signal.SIGKILL:
            caught += 1
        else:
            life_s = max(0.2, min(life_s, 1.2 * (time.monotonic() - begun_s)))
    return caught


def taken(lake: Lake, stream: Stream) -> dict[int, list[int]]:
    """The offsets of rows and dead letters by partition; raises if one is there twice."""
    found: dict[int, list[int]] = {}
    for table in (rows_of(lake, stream), dead_of(lake, stream)):
        columns = table.select(["_source_partition", "_source_offset"]).to_pydict()
        pairs = zip(columns["_source_partition"], columns["_source_offset"], strict=True)
        for partition, offset in pairs:
            found.setdefault(partition, []).append(offset)
    for offsets in found.values():
        assert len(set(offsets)) == len(offsets), "doubled records"
    return {partition: sorted(offsets) for partition, offsets in found.items()}
