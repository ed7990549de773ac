"""A real Kafka broker and a schema registry for tests, without the other servers."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import (  # it has no `__all__`
    AdminClient,
    NewPartitions,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
)

from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.kafka_reader import KafkaReader
from infra.launcher import kafka, run
from infra.launcher.cluster import Cluster
from tests.waiting import wait_until

RUNNING = "HEADRACE_TEST_CLUSTER"


@contextlib.contextmanager
def brokers() -> Generator[Cluster]:
    """Start Kafka and the registry, or use the cluster that `RUNNING` names."""
    if RUNNING in os.environ:
        yield Cluster(Path(os.environ[RUNNING]).absolute())
        return
    with tempfile.TemporaryDirectory(prefix="headrace-kafka-") as made:
        cluster = Cluster(Path(made) / "cluster")
        try:
            run.up(cluster, run.only(("kafka", "schemas")), say=lambda _: None)
            yield cluster
        finally:
            run.down(cluster, say=lambda _: None)


@dataclass(frozen=True)
class Topic:
    """One topic of a test's own."""

    cluster: Cluster
    name: str

    @classmethod
    def make(
        cls, cluster: Cluster, *, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> "Topic":
        topic = cls(cluster, f"t-{uuid.uuid4().hex[:10]}")
        topic.create(partitions=partitions, config=config)
        return topic

    @property
    def settings(self) -> dict[str, object]:
        return {"bootstrap.servers": kafka.servers(self.cluster)}

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": kafka.servers(self.cluster), "log_level": 0})

    def create(self, *, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        new = NewTopic(self.name, num_partitions=partitions, config=dict(config or {}))
        admin = self.admin()  # kept while it answers
        admin.create_topics([new])[self.name].result(20)

    def delete(self) -> None:
        admin = self.admin()
        admin.delete_topics([self.name])[self.name].result(20)

    def delete_records(self, partition: int, before: int) -> None:
        at = TopicPartition(self.name, partition, before)
        admin = self.admin()
        for done in admin.delete_records([at]).values():
            done.result(20)

    def add_partitions(self, count: int) -> None:
        admin = self.admin()
        admin.create_partitions([NewPartitions(self.name, count)])[self.name].result(20)

    def producer(self, **more: object) -> Producer:
        settings = {"bootstrap.servers": kafka.servers(self.cluster), "log_level": 0, **more}
        return Producer(settings)  # pyright: ignore[reportArgumentType]

    def transactional(self, **more: object) -> Producer:
        made = self.producer(**{"transactional.id": uuid.uuid4().hex, **more})
        made.init_transactions(20)
        return made

    def settle(self) -> None:
        """Wait until each transaction that ended has its marker, which the broker writes after its answer.

        Until then readers of what is committed see an earlier end. None may be open.
        """
        admin = self.admin()
        numbers = admin.list_topics(self.name, timeout=20).topics[self.name].partitions
        newest: Any = OffsetSpec.latest()  # None, by its annotation
        latest = {TopicPartition(self.name, number): newest for number in numbers}

        def ends(level: IsolationLevel) -> dict[int, int]:
            asked = admin.list_offsets(latest, isolation_level=level)
            return {at.partition: each.result(20).offset for at, each in asked.items()}

        committed, all_there = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED
        assert wait_until(lambda: ends(committed) == ends(all_there))

    def send(
        self, producer: Producer, values: Sequence[bytes], *, partition: int = 0, key: bytes = b""
    ) -> None:
        for value in values:
            producer.produce(self.name, value, key=key or None, partition=partition)
        assert producer.flush(30) == 0

    def open(
        self,
        positions: Mapping[SourcePartition, Position] | None = None,
        *,
        follow: bool = False,
        accepted: Sequence[AcceptedGap] = (),
    ) -> KafkaReader:
        taken = positions or {}
        return KafkaSource(self.name, self.settings, accepted=accepted).open(
            lambda wanted: {each: taken[each] for each in wanted if each in taken},
            rows_per_commit=1000,
            follow=follow,
        )

    def drain(
        self,
        positions: Mapping[SourcePartition, Position] | None = None,
        *,
        accepted: Sequence[AcceptedGap] = (),
    ) -> list[Records]:
        parts: list[Records] = []
        with closing(self.open(positions, accepted=accepted)) as reader:
            for _ in range(200):
                if reader.drained:
                    return parts
                batch = reader.poll(10_000, max_s=2.0)
                parts += batch.parts if batch is not None else ()
        raise AssertionError("the end never came")
