"""Reads a sample of a topic: records of the beginning, the middle and the end of each partition."""

import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, Message

from headrace.errors import TopicUnreachableError
from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.sources.kafka_client import ANSWER_S_MAX, KafkaClient, Range, at
from headrace.ingest.sources.kafka_records import Messages, records_of

_PLACES = 3


def sample_records(
    topic: str,
    settings: Mapping[str, object],
    *,
    records_max: int,
    answer_s_max: float | None = None,
    make_consumer: Callable[[dict[str, object]], Consumer] = Consumer,
) -> list[Records]:
    """Read up to about `records_max` committed records, spread over all partitions; takes nothing.

    Records that are deleted meanwhile are left out.

    Raises:
        TopicNotFoundError: If there is no such topic.
        TopicUnreachableError: If the brokers do not answer.
        TopicAccessError: If they refuse.

    """
    client = KafkaClient(
        topic=topic, settings=settings, make_consumer=make_consumer, answer_s_max=answer_s_max
    )
    try:
        held = client.ranges(client.facts().partitions)
        each_max = max(1, records_max // (_PLACES * max(1, len(held))))
        found: dict[int, dict[int, Message]] = {number: {} for number in held}
        for place in range(_PLACES):
            starts = {
                number: start
                for number, range_ in held.items()
                if (start := _start(range_, place, each_max)) < range_.high
            }
            _read(client, starts, held, found, each_max=each_max)
    finally:
        client.close()
    return [_records(topic, number, messages) for number, messages in found.items() if messages]


def _start(held: Range, place: int, count: int) -> int:
    last = max(held.low, held.high - count)
    return (held.low, held.low + (last - held.low) // 2, last)[place]


def _read(
    client: KafkaClient,
    starts: Mapping[int, int],
    held: Mapping[int, Range],
    found: Mapping[int, dict[int, Message]],
    *,
    each_max: int,
) -> None:
    """Read from one place of each partition; messages that are there already are not kept twice."""
    if not starts:
        return
    consumer = client.consumer()
    left = dict.fromkeys(starts, each_max)
    try:
        consumer.assign(at(client.topic, starts, {}))
        moved_s = time.monotonic()
        while left:
            messages = consumer.consume(min(10_000, sum(left.values())), timeout=0.1)
            for message in messages:
                _keep(message, left, held, found)
            for reached in consumer.position(at(client.topic, dict.fromkeys(left, 0), {})):
                if reached.offset >= held[reached.partition].high:  # behind a transaction's marker
                    left.pop(reached.partition, None)
            if messages:
                moved_s = time.monotonic()
            elif time.monotonic() - moved_s > ANSWER_S_MAX:
                detail = f"nothing of partitions {sorted(left)} came within {ANSWER_S_MAX:g} s"
                raise TopicUnreachableError(client.topic, servers=client.servers, detail=detail)
    finally:
        consumer.close()


def _keep(
    message: Message,
    left: dict[int, int],
    held: Mapping[int, Range],
    found: Mapping[int, dict[int, Message]],
) -> None:
    number, offset, error = message.partition(), message.offset(), message.error()
    if number is None or number not in left:
        return
    if error is not None:
        if error.code() in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
            left.pop(number)
        return
    if offset is not None and offset < held[number].high:
        found[number][offset] = message
        left[number] -= 1
    if not left[number] or offset is None or offset + 1 >= held[number].high:
        left.pop(number)


def _records(topic: str, number: int, messages: Mapping[int, Message]) -> Records:
    offsets: Sequence[int] = sorted(messages)
    found = Messages.of([messages[offset] for offset in offsets])
    end = Position(offsets[-1] + 1)
    return records_of(SourcePartition(topic, number), found, end=end, holes=())
