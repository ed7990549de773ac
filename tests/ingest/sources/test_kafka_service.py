"""The Kafka source as a service: partitions that stand still, forks, certificates, slow callers."""

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Message

from headrace.errors import PartitionStalledError, ReaderProcessError
from headrace.ingest.sources import kafka_client, kafka_reader
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.kafka import KafkaSource
from tests.ingest.sources.kafka_things import (
    TOPIC,
    Swallowing,
    drain,
    offsets_of,
    open_at,
    take_next,
    values,
)
from tests.mock_kafka import MockKafka
from tests.waiting import WAIT_S, wait_until


class _Deaf(Swallowing):
    """A consumer that returns nothing."""

    def consume(self, count: int, timeout: float) -> list[Message]:
        _ = self._inner.consume(count, timeout=timeout)
        return []

    def position(self, partitions: list[Any]) -> list[Any]:
        return partitions


@pytest.mark.parametrize("deaf", [1, 2])
def test_a_partition_that_stands_still_gets_one_new_connection(
    cluster: MockKafka, deaf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 42: the loop runs, and one partition is dead."""
    monkeypatch.setattr(kafka_reader, "ENDS_S", 0.05)
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(10))
    made: list[Consumer] = []
    stalled_s = (
        8.0 if deaf == 1 else 0.2
    )  # the one that is not deaf has so long for its first record

    def make(config: dict[str, object]) -> Consumer:
        # the first one asks, the second reads, the next replaces it
        kind = _Deaf if 1 <= len(made) <= deaf else Swallowing
        made.append(cast("Consumer", kind(Consumer(config), -1)))
        return made[-1]

    with closing(open_at(cluster, make_consumer=make, stalled_s=stalled_s)) as reader:
        if deaf == 1:
            assert offsets_of(drain(reader, max_s=0.1)) == list(range(10))
            return
        with pytest.raises(PartitionStalledError) as caught:
            drain(reader, max_s=0.1)
    assert caught.value.partitions == (0,)


def test_a_reader_works_only_in_the_process_that_opened_it(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 45: the client's threads do not survive a fork."""
    cluster.create(TOPIC)
    with closing(open_at(cluster)) as reader:
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        with pytest.raises(ReaderProcessError):
            reader.poll(1, max_s=0.1)
        monkeypatch.undo()


def test_a_changed_certificate_gets_a_new_connection_at_the_same_place(
    cluster: MockKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 44: the client reads its files once."""
    monkeypatch.setattr(kafka_reader, "ENDS_S", 0.05)
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(10))
    made: list[Consumer] = []

    def make(config: dict[str, object]) -> Consumer:
        config = {key: value for key, value in config.items() if not key.startswith("ssl")}
        made.append(Consumer(config))
        return made[-1]

    certificate = tmp_path / "client.pem"
    certificate.write_text("old")
    source = KafkaSource(
        TOPIC,
        {"bootstrap.servers": cluster.servers, "ssl.certificate.location": str(certificate)},
        make_consumer=make,
    )
    monkeypatch.setattr(
        kafka_client.KafkaClient,
        "_settings",
        lambda self: {"bootstrap.servers": self.servers, "log_level": 0},
    )
    with closing(source.open(lambda _: {}, rows_per_commit=1, follow=True)) as reader:
        assert offsets_of(take_next(reader, 10)) == list(range(10))
        before = len(made)
        os.utime(certificate, ns=(1, 1))
        time.sleep(0.1)
        cluster.produce(TOPIC, values(10, first=10))
        assert offsets_of(take_next(reader, 10)) == list(range(10, 20))
        assert len(made) == before + 1


def test_a_slow_caller_costs_no_second_fetch(cluster: MockKafka) -> None:
    """Row 35: the client's queue is bounded and stops by itself; nothing is paused and dropped."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, [b"x" * 1000] * 3_000)
    read: list[int] = []

    def make(config: dict[str, object]) -> Consumer:
        def note(text: str) -> None:
            import json

            read.append(sum(each["rxbytes"] for each in json.loads(text)["brokers"].values()))

        return Consumer({**config, "stats_cb": note, "statistics.interval.ms": 50})

    with closing(open_at(cluster, make_consumer=make)) as reader:
        parts: list[Records] = []
        while not reader.drained:
            batch = reader.poll(300, max_s=1.0)
            parts += batch.parts if batch is not None else ()
            time.sleep(0.02)
    assert offsets_of(parts) == list(range(3_000))
    assert max(read) <= 1.2 * 3_000 * 1_000 + 100_000


def test_brokers_that_go_away_under_a_reader_are_named_until_they_are_back(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "ENDS_S", 0.05)
    monkeypatch.setattr(kafka_reader, "_QUICK_S", 0.5)
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(10))
    with closing(open_at(cluster, follow=True)) as reader:
        assert offsets_of(take_next(reader, 10)) == list(range(10))

        def is_away() -> bool:
            reader.poll(10, max_s=0.1)
            return reader.status().unreachable is not None

        assert not is_away()
        for broker in (1, 2):
            cluster.down(broker)
        assert wait_until(is_away, seconds=WAIT_S)
        for broker in (1, 2):
            cluster.up(broker)
        assert wait_until(lambda: not is_away(), seconds=WAIT_S)
