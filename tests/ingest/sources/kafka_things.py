"""A topic of small values on a mock cluster, and readers of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

from confluent_kafka import Consumer, Message

from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.kafka_reader import KafkaReader
from tests.mock_kafka import MockKafka
from tests.waiting import WAIT_S

Positions = Mapping[SourcePartition, Position]
TOPIC = "things"


def values(count: int, *, first: int = 0) -> list[bytes | None]:
    return [b"value %06d" % at for at in range(first, first + count)]


def open_at(
    cluster: MockKafka,
    positions: Positions | None = None,
    *,
    follow: bool = False,
    **more: Any,  # noqa: ANN401  (what the source takes)
) -> KafkaReader:
    source = KafkaSource(TOPIC, {"bootstrap.servers": cluster.servers}, **more)
    taken = positions or {}
    return source.open(
        lambda wanted: {each: taken[each] for each in wanted if each in taken},
        rows_per_commit=1000,
        follow=follow,
    )


def drain(reader: KafkaReader, *, max_rows: int = 10_000, max_s: float = 5.0) -> list[Records]:
    parts: list[Records] = []
    until_s = time.monotonic() + WAIT_S
    while not reader.drained:
        assert time.monotonic() < until_s, "the end never came"
        batch = reader.poll(max_rows, max_s=max_s)
        parts += batch.parts if batch is not None else ()
    return parts


def ends_of(parts: Sequence[Records]) -> dict[SourcePartition, Position]:
    return {each.partition: each.end for each in parts}


def offsets_of(parts: Sequence[Records], partition: int = 0) -> list[int]:
    return [
        offset
        for each in parts
        if each.partition.partition == partition
        for offset in each.offsets.tolist()
    ]


def drained(cluster: MockKafka) -> list[Records]:
    with closing(open_at(cluster)) as reader:
        return drain(reader)


def take(cluster: MockKafka) -> dict[SourcePartition, Position]:
    return ends_of(drained(cluster))


def take_next(reader: KafkaReader, count: int) -> list[Records]:
    """Poll a follower until it returned so many records."""
    parts: list[Records] = []
    until_s = time.monotonic() + WAIT_S
    while sum(part.count for part in parts) < count:
        assert time.monotonic() < until_s, "no more records came"
        batch = reader.poll(count, max_s=0.5)
        parts += batch.parts if batch is not None else ()
    return parts


class Swallowing:
    """A consumer that leaves out one record."""

    def __init__(self, inner: Consumer, offset: int) -> None:
        self._inner, self._offset = inner, offset

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def consume(self, count: int, timeout: float) -> list[Message]:
        found = self._inner.consume(count, timeout=timeout)
        return [each for each in found if each.error() or each.offset() != self._offset]


def swallowing(offset: int) -> Callable[[dict[str, object]], Consumer]:
    """Let only the consumer that reads leave it out, not the ones that ask or look again."""
    made: list[Consumer] = []

    def make(config: dict[str, object]) -> Consumer:
        found = Swallowing(Consumer(config), offset if len(made) == 1 else -1)
        made.append(cast("Consumer", found))
        return made[-1]

    return make
