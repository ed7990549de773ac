"""Topics for benchmarks: a broker, events of one shape as JSON and as Avro, and 12 kinds of poison."""

import functools
import io
import json
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.definitions.stream import Stream
    from infra.launcher.cluster import Cluster

PARTITIONS = 16
SCHEMA_ID = 7
FIELDS = {
    "event_id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "user_id": {"type": "long", "required": True},
    "item_id": {"type": "long", "required": True},
    "position": {"type": "int"},
    "score": {"type": "double"},
    "campaign": {"type": "string"},
    "page": {"type": "string"},
}
_AVRO = {
    "event_id": "string",
    "at": {"type": "long", "logicalType": "timestamp-micros"},
    "user_id": "long",
    "item_id": "long",
    "position": "int",
    "score": "double",
    "campaign": "string",
    "page": "string",
}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "fields": [{"name": name, "type": kind} for name, kind in _AVRO.items()],
}
_FIRST_US = 1_772_323_200_000_000  # 2026-03-01
_POISON_EVERY = 100
_SCHEMA_FILE = "event.avsc"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic of the benchmark: how its values are written."""

    name: str
    value: Callable[[int], bytes]
    format: str = "json"
    framed: bool = False


def write_schema(folder: Path) -> None:
    """Write the schema of Avro events where contracts look for it."""
    (folder / _SCHEMA_FILE).write_text(json.dumps(SCHEMA))


def stream_of(topic: Topic, *, number: int) -> "Stream":
    """Return the contract of a topic, for a table of its own."""
    from headrace.definitions.stream import Stream

    source: dict[str, Any] = {"topic": topic.name}
    if topic.framed:
        source |= {"framing": "registry", "schemas": {SCHEMA_ID: _SCHEMA_FILE}}
    elif topic.format == "avro":
        source["schema_file"] = _SCHEMA_FILE
    return Stream.model_validate(
        {
            "stream": f"events_{number}",
            "table": f"raw.events_{number}",
            "source": {"kafka": source},
            "format": topic.format,
            "key": "event_id",
            "event_time": "at",
            "fields": FIELDS,
        }
    )


def json_event(at: int) -> bytes:
    """Write an event of about 215 bytes."""
    return json.dumps(_event(at, moment_of(at))).encode()


def avro_event(at: int) -> bytes:
    """Write the same event as Avro."""
    import fastavro

    out = io.BytesIO()
    us = _FIRST_US + at % 86_400 * 1_000_000 + at % 10**6
    fastavro.schemaless_writer(out, _written(), _event(at, us))
    return out.getvalue()


def framed_event(at: int) -> bytes:
    """Write it as Confluent's serializers do, behind the id of its schema."""
    return b"\0" + SCHEMA_ID.to_bytes(4, "big") + avro_event(at)


def poisoned_event(at: int) -> bytes:
    """Write an event; one in a hundred is one of 12 kinds that are no event."""
    good = json_event(at)
    if at % _POISON_EVERY:
        return good
    return list(_POISON.values())[at // _POISON_EVERY % len(_POISON)](good)


_POISON: Mapping[str, Callable[[bytes], bytes]] = {
    "cut off": lambda good: good[: len(good) // 2],
    "no object": lambda good: b"[" + good + b"]",
    "a wrong type": lambda good: good.replace(b'"position": ', b'"position": "x", "other": '),
    "a missing field": lambda good: good.replace(b'"user_id"', b'"user"'),
    "a time without a zone": lambda good: good.replace(b'Z"', b'"'),
    "an integer beyond 64 bits": lambda good: good.replace(
        b'"item_id": ', b'"item_id": 9' + b"9" * 20
    ),
    "NaN": lambda good: good.replace(b'"score": ', b'"score": NaN, "other": '),
    "invalid UTF-8": lambda good: good.replace(b"/home", b"/\xff\xfe"),
    "text behind it": lambda good: good + b" x",
    "a newline in a text": lambda good: good.replace(b"/home", b"/\n"),
    "deep nesting": lambda good: good[:-1] + b', "other": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    "nothing": lambda good: good[:0],
}


def _event(at: int, moment: object) -> dict[str, object]:
    return {
        "event_id": f"e-{at:012d}",
        "at": moment,
        "user_id": at * 7919 % 10_000_019,
        "item_id": at * 104729 % 1_000_003,
        "position": at % 40,
        "score": at % 1000 / 1000,
        "campaign": f"campaign-{at % 50:03d}",
        "page": f"/home/feed/{at % 97:03d}",
    }


def moment_of(at: int) -> str:
    """Return the time of an event, of one day."""
    clock = f"{at // 3600 % 24:02d}:{at // 60 % 60:02d}:{at % 60:02d}.{at % 10**6:06d}"
    return f"2026-03-01T{clock}Z"


@functools.cache
def _written() -> Any:  # noqa: ANN401  (fastavro's)
    """Parse the schema without its logical type: events have their times as numbers already."""
    import fastavro

    bare = {k: v["type"] if isinstance(v, dict) else v for k, v in _AVRO.items()}
    fields = [{"name": name, "type": kind} for name, kind in bare.items()]
    return fastavro.parse_schema(SCHEMA | {"fields": fields})


def fill(servers: str, topic: Topic, *, events: int, first: int = 0) -> None:
    """Make a topic with so many events, or add those from a `first` on, spread over its partitions by 500."""
    from confluent_kafka import Producer

    create(servers, topic.name)
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 50,
            "compression.type": "zstd",
            "queue.buffering.max.messages": 500_000,
        }
    )
    for at in range(first, first + events):
        while True:
            try:
                producer.produce(topic.name, topic.value(at), partition=at // 500 % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.2)
    left = producer.flush(60)
    if left:
        msg = f"{left} events were not taken by the broker"
        raise RuntimeError(msg)


def create(servers: str, name: str, *, partitions: int = PARTITIONS) -> None:
    """Make a topic, unless there is one of that name."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    if name not in admin.list_topics(timeout=20).topics:
        admin.create_topics([NewTopic(name, num_partitions=partitions)])[name].result(20)


@contextmanager
def broker() -> Generator["Cluster"]:
    """Start a broker, or use that of the cluster which HEADRACE_TEST_CLUSTER names."""
    from infra.launcher import run
    from infra.launcher.cluster import Cluster

    running = os.environ.get("HEADRACE_TEST_CLUSTER")
    if running:
        yield Cluster(Path(running).absolute())
        return
    with tempfile.TemporaryDirectory(prefix="headrace-kafka-") as made:
        cluster = Cluster(Path(made) / "cluster")
        try:
            run.up(cluster, run.only(("kafka",)), say=print)
            yield cluster
        finally:
            run.down(cluster, say=print)
