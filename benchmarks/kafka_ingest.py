"""Claim: events from Kafka cost at most 1.3 times the CPU of a bare loop without any guarantee.

The bare loop polls, parses with `pyarrow.json` and an explicit schema, and writes Parquet with each
record's partition and offset. headrace checks every offset and every field, and commits. A real broker
runs on the same cores.
"""

import io
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Contender, Result, Rounds, Spent, measure, open_lake, show

EVENTS = 2_000_000
PARTITIONS = 16
RATIO_MAX = 1.3
RATE_MIN = 300_000
_TOPIC = "events"
_FIELDS = {
    "event_id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "user_id": {"type": "long", "required": True},
    "item_id": {"type": "long", "required": True},
    "position": {"type": "int"},
    "score": {"type": "double"},
    "campaign": {"type": "string"},
    "page": {"type": "string"},
}


def bare(*, folder: str, servers: str, events: int) -> Rounds:
    """Poll, parse and write; a record that cannot be parsed would end it."""
    import pyarrow as pa
    import pyarrow.json as pa_json
    import pyarrow.parquet as pq
    from confluent_kafka import Consumer, TopicPartition

    kinds = {"long": pa.int64(), "int": pa.int32(), "double": pa.float64()}
    schema = pa.schema([(n, kinds.get(str(f["type"]), pa.string())) for n, f in _FIELDS.items()])
    whole = pa.schema([*schema, ("partition", pa.int32()), ("offset", pa.int64())])
    yield {}
    for number in range(1_000):
        spent = Spent()
        consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "bare",
                "enable.auto.commit": False,
                "queued.min.messages": 1_000_000,
                "fetch.max.bytes": 16 * 1024 * 1024,
                "max.partition.fetch.bytes": 4 * 1024 * 1024,
            }
        )
        consumer.assign([TopicPartition(_TOPIC, each, 0) for each in range(PARTITIONS)])
        rows = 0
        with pq.ParquetWriter(Path(folder) / f"{number}.parquet", whole, compression="zstd") as out:
            while rows < events:
                found = [each for each in consumer.consume(20_000, 1.0) if not each.error()]
                if not found:
                    continue
                lines = [each.value() or b"" for each in found]
                table = pa_json.read_json(
                    io.BytesIO(b"\n".join(lines)),
                    read_options=pa_json.ReadOptions(use_threads=False, block_size=1 << 26),
                    parse_options=pa_json.ParseOptions(explicit_schema=schema),
                )
                table = table.append_column(
                    "partition", pa.array([each.partition() for each in found], pa.int32())
                ).append_column("offset", pa.array([each.offset() for each in found], pa.int64()))
                out.write_table(table)
                rows += len(found)
        consumer.close()
        yield {**spent.figures(), "rows": rows}


def headrace(*, folder: str, servers: str, events: int) -> Rounds:
    """Drain the topic into a table of its own, with every guarantee."""
    from headrace.definitions.stream import Stream
    from headrace.ingest.run import ingest
    from headrace.ingest.sources.kafka import KafkaSource

    _ = events
    with open_lake(folder) as lake:
        yield {}
        for number in range(1_000):
            stream = Stream.model_validate(
                {
                    "stream": f"events_{number}",
                    "table": f"raw.events_{number}",
                    "source": {"kafka": {"topic": _TOPIC}},
                    "format": "json",
                    "key": "event_id",
                    "event_time": "at",
                    "fields": _FIELDS,
                }
            )
            spent = Spent()
            done = ingest(lake, stream, source=KafkaSource(_TOPIC, {"bootstrap.servers": servers}))
            yield {**spent.figures(), "rows": done.rows}


def run(*, quick: bool = False) -> list[Result]:
    """Measure both on the same topic of a broker that this starts."""
    events = EVENTS // 10 if quick else EVENTS
    with _broker() as servers:
        fill(servers, events=events)
        arguments = {"servers": servers, "events": events}
        found = measure(
            [
                Contender(name=name, module=__name__, function=name, arguments=arguments)
                for name in ("bare", "headrace")
            ],
            rounds=2 if quick else 4,
        )
    per_event = {
        name: each.figure("cpu_s") / each.figure("rows") * 1e6 for name, each in found.items()
    }
    rates = {name: each.figure("rows") / each.figure("wall_s") for name, each in found.items()}
    show(
        "events from Kafka",
        [
            {
                "": name,
                "us CPU an event": per_event[name],
                "events/s": rates[name],
                "peak MiB": each.peak_rss_mib,
            }
            for name, each in found.items()
        ],
    )
    ratio = per_event["headrace"] / per_event["bare"]
    return [
        Result(
            claim="kafka_ingest",
            value=per_event["headrace"],
            unit="us of CPU an event",
            peer=f"a bare loop, {per_event['bare']:.2f} us",
            ratio=ratio,
            target=f"ratio <= {RATIO_MAX}",
            holds=ratio <= RATIO_MAX,
        ),
        Result(
            claim="kafka_rate",
            value=rates["headrace"],
            unit="events/s beside the broker",
            peer=f"a bare loop, {rates['bare']:,.0f} events/s",
            ratio=rates["bare"] / rates["headrace"],
            target=f">= {RATE_MIN:,} events/s",
            holds=rates["headrace"] >= RATE_MIN,
        ),
    ]


def fill(servers: str, *, events: int) -> None:
    """Make the topic anew, with events of about 215 bytes."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    if _TOPIC not in admin.list_topics(timeout=20).topics:
        admin.create_topics([NewTopic(_TOPIC, num_partitions=PARTITIONS)])[_TOPIC].result(20)
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 50,
            "compression.type": "zstd",
            "queue.buffering.max.messages": 500_000,
        }
    )
    for at in range(events):
        value = json.dumps(
            {
                "event_id": f"e-{at:012d}",
                "at": f"2026-03-01T{at // 3600 % 24:02d}:{at // 60 % 60:02d}:{at % 60:02d}.{at % 10**6:06d}Z",
                "user_id": at * 7919 % 10_000_019,
                "item_id": at * 104729 % 1_000_003,
                "position": at % 40,
                "score": at % 1000 / 1000,
                "campaign": f"campaign-{at % 50:03d}",
                "page": f"/home/feed/{at % 97:03d}",
            }
        )
        while True:
            try:
                producer.produce(_TOPIC, value.encode(), partition=at // 500 % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.2)
    producer.flush(60)


@contextmanager
def _broker() -> Generator[str]:
    """Start a broker, or use that of the cluster which HEADRACE_TEST_CLUSTER names."""
    from infra.launcher import kafka, run
    from infra.launcher.cluster import Cluster

    running = os.environ.get("HEADRACE_TEST_CLUSTER")
    if running:
        yield kafka.servers(Cluster(Path(running).absolute()))
        return
    with tempfile.TemporaryDirectory(prefix="headrace-kafka-") as made:
        cluster = Cluster(Path(made) / "cluster")
        broker = run.only(("kafka",))
        try:
            run.up(cluster, broker, say=print)
            yield kafka.servers(cluster)
        finally:
            run.down(cluster, say=print)
