"""A sink of topics: streams of JSON lines go to Kafka, the others to files as before."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.errors import TopicNotEmptyError, TopicUnreachableError
from headrace.simulate.render import FORMS, Form
from headrace.simulate.write import FileSink, Landing

TO_TOPICS = tuple(form.stream for form in FORMS if form.suffix == "jsonl")
_ANSWER_S_MAX = 30.0
_US_PER_MS = 1000


def declared_as_topics(files: Mapping[str, str]) -> dict[str, str]:
    """Change the contracts of streams that go to topics: each reads the topic of its name."""
    changed = dict(files)
    for stream in TO_TOPICS:
        path = f"streams/{stream}.yaml"
        changed[path] = changed[path].replace(
            f'source: {{files: "{stream}/*.jsonl"}}', f"source: {{kafka: {{topic: {stream}}}}}"
        )
    return changed


class TopicSink:
    """Appends to the partitions of empty topics in turn; a record's time is when it arrived.

    Raises:
        TopicNotEmptyError: If a topic has records: the truth counts offsets from 0.
        TopicUnreachableError: If the brokers do not answer.

    """

    def __init__(self, inner: FileSink, *, servers: str, partitions: int) -> None:
        self._inner, self._servers = inner, servers
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": servers,
            "log_level": 0,
        }
        try:
            admin = AdminClient(settings)  # pyright: ignore[reportArgumentType]
            there = admin.list_topics(timeout=_ANSWER_S_MAX).topics
            counts = {each: len(there[each].partitions) for each in TO_TOPICS if each in there}
            self._refuse_records(Consumer({**settings, "group.id": "headrace"}), counts)
            counts |= self._make(
                admin, [each for each in TO_TOPICS if each not in counts], partitions
            )
        except KafkaException as error:
            detail = error.args[0].str()
            raise TopicUnreachableError(TO_TOPICS[0], servers=servers, detail=detail) from error
        self._producer = Producer(
            {**settings, "enable.idempotence": True, "linger.ms": 20, "compression.type": "zstd"}
        )
        self._ends = {stream: [0] * count for stream, count in counts.items()}
        self._turn = 0

    def _make(self, admin: AdminClient, topics: Sequence[str], partitions: int) -> dict[str, int]:
        new = [NewTopic(each, num_partitions=partitions) for each in topics]
        for done in (admin.create_topics(new) if new else {}).values():
            done.result(_ANSWER_S_MAX)
        return dict.fromkeys(topics, partitions)

    def _refuse_records(self, consumer: Consumer, counts: Mapping[str, int]) -> None:
        try:
            for stream, count in counts.items():
                consumer.list_topics(stream, timeout=_ANSWER_S_MAX)
                for partition in range(count):
                    at = TopicPartition(stream, partition)
                    _, end = consumer.get_watermark_offsets(at, timeout=_ANSWER_S_MAX)
                    if end:
                        raise TopicNotEmptyError(stream, servers=self._servers)
        finally:
            consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, form: Form, lines: pa.Array, received_at: np.ndarray) -> Sequence[Landing]:
        """Append the records of one call to one partition."""
        if form.stream not in TO_TOPICS:
            return self._inner.write(form, lines, received_at)
        ends = self._ends[form.stream]
        partition = self._turn % len(ends)
        self._turn += 1
        times_ms = (received_at // _US_PER_MS).tolist()
        for line, time_ms in zip(lines.cast(pa.binary()).to_pylist(), times_ms, strict=True):
            self._append(form.stream, line.rstrip(b"\n"), partition, time_ms)
        first = ends[partition]
        ends[partition] += len(lines)
        source = f"{form.stream}//{partition}" if partition else form.stream
        return [Landing(source=source, offset=first, rows=len(lines))]

    def _append(self, topic: str, value: bytes, partition: int, time_ms: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value, partition=partition, timestamp=time_ms)
                return
            except BufferError:
                self._producer.poll(0.1)

    def close(self) -> None:
        """Wait until the brokers have everything.

        Raises:
            TopicUnreachableError: If they do not take it in time.

        """
        self._inner.close()
        left = self._producer.flush(_ANSWER_S_MAX)
        if left:
            raise TopicUnreachableError(
                TO_TOPICS[0], servers=self._servers, detail=f"{left} records were not taken"
            )
