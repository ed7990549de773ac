"""Reads the gaps of a topic's partitions again, with a fresh consumer: nothing there, or left out."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from confluent_kafka import Consumer, KafkaError

from headrace.errors import (
    OffsetGapError,
    RecordsSkippedError,
    TopicDamagedError,
    TopicUnreachableError,
)
from headrace.ingest.sources.holes import Hole, HoleKind
from headrace.ingest.sources.kafka_client import ANSWER_S_MAX, KafkaClient, at

_MESSAGES = 10_000
DAMAGED = frozenset({KafkaError._BAD_MSG, KafkaError.INVALID_MSG})
Gap = tuple[int, int]  # from the first offset up to but without the second


def gaps_of(expected: int, offsets: np.ndarray, end: int) -> list[Gap]:
    """Find the ranges between `expected` and `end` that are not in `offsets`. Pure."""
    bounds = np.concatenate(([expected - 1], offsets, [end]))
    before = np.flatnonzero(np.diff(bounds) > 1)
    return [(int(bounds[each]) + 1, int(bounds[each + 1])) for each in before]


def explain(
    client: KafkaClient, gaps: Mapping[int, Sequence[Gap]], *, timeout_s: float = ANSWER_S_MAX
) -> dict[int, list[Hole]]:
    """Say why each gap is empty; gaps hold transaction markers, aborted records or nothing.

    Uncommitted records are read first: where these are none, there are no committed ones either.

    Args:
        client: Asks about the topic.
        gaps: The gaps of each partition, in order.
        timeout_s: How long reading them may take without any progress.

    Raises:
        RecordsSkippedError: If a committed record is there.
        OffsetGapError: If a gap was deleted meanwhile, so that nobody can say.
        TopicUnreachableError: If the brokers do not answer in time.

    """
    gaps = {partition: each for partition, each in gaps.items() if each}
    if not gaps:
        return {}
    any_record = _found(client, gaps, isolation="read_uncommitted", timeout_s=timeout_s)
    doubtful = {
        partition: [gap for gap in gaps[partition] if _hit(offsets, gap)]
        for partition, offsets in any_record.items()
    }
    doubtful = {partition: each for partition, each in doubtful.items() if each}
    if doubtful:
        committed = _found(client, doubtful, isolation="read_committed", timeout_s=timeout_s)
        for partition, offsets in committed.items():
            for gap in doubtful[partition]:
                if _hit(offsets, gap):
                    first, end = gap
                    raise RecordsSkippedError(
                        client.topic, partition=partition, first=first, end=end
                    )
    return {
        partition: [
            Hole(*gap, HoleKind.ABORTED if gap in doubtful.get(partition, ()) else HoleKind.EMPTY)
            for gap in each
        ]
        for partition, each in gaps.items()
    }


def _hit(offsets: Sequence[int], gap: Gap) -> bool:
    return any(gap[0] <= each < gap[1] for each in offsets)


def _found(
    client: KafkaClient, gaps: Mapping[int, Sequence[Gap]], *, isolation: str, timeout_s: float
) -> dict[int, list[int]]:
    """Read from the first gap of each partition to the end of its last; return offsets in gaps."""
    consumer = client.consumer(isolation=isolation)
    try:
        consumer.assign(at(client.topic, {each: gap[0][0] for each, gap in gaps.items()}, {}))
        return _read(client, consumer, gaps, timeout_s=timeout_s)
    finally:
        consumer.close()


def _read(
    client: KafkaClient,
    consumer: Consumer,
    gaps: Mapping[int, Sequence[Gap]],
    *,
    timeout_s: float,
) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {each: [] for each in gaps}
    open_ = set(gaps)
    moved_s = time.monotonic()
    while open_:
        messages = consumer.consume(_MESSAGES, timeout=0.1)
        for message in messages:
            partition, offset, error = message.partition(), message.offset(), message.error()
            if partition is None or offset is None or partition not in open_:
                continue
            if error is not None:
                _act(client, error, partition, offset, gaps[partition])
                if error.code() == KafkaError._PARTITION_EOF:
                    _close_at(open_, partition, offset, gaps)
                continue
            if any(first <= offset < end for first, end in gaps[partition]):
                found[partition].append(offset)
            _close_at(open_, partition, offset + 1, gaps)
        for each in consumer.position(at(client.topic, dict.fromkeys(open_, 0), {})):
            _close_at(open_, each.partition, each.offset, gaps)
        if messages:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > timeout_s:
            detail = (
                f"gaps of partitions {sorted(open_)} could not be read again in {timeout_s:g} s"
            )
            raise TopicUnreachableError(client.topic, servers=client.servers, detail=detail)
    return found


def _close_at(
    open_: set[int], partition: int, reached: int, gaps: Mapping[int, Sequence[Gap]]
) -> None:
    if reached >= gaps[partition][-1][1]:
        open_.discard(partition)


def _act(
    client: KafkaClient, error: KafkaError, partition: int, offset: int, gaps: Sequence[Gap]
) -> None:
    if error.code() in DAMAGED:
        raise TopicDamagedError(
            client.topic, partition=partition, offset=offset, detail=error.str()
        )
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        held = client.outside(partition, gaps[0][0])
        if held is not None:
            raise OffsetGapError(
                client.topic,
                partition=partition,
                first=gaps[0][0],
                end=min(held.low, gaps[-1][1]),
            )
