"""What the benchmark of topics compares is comparable: every contender takes every event."""

import pytest

from benchmarks import kafka_ingest
from benchmarks.harness import measure
from benchmarks.kafka_topics import PARTITIONS, fill, poisoned_event
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.proof  # five processes that import the whole library

EVENTS = 2_400  # two of each kind of poison


def test_rows_and_dead_letters_are_all_events_of_each_topic() -> None:
    with MockKafka() as cluster:
        for topic in kafka_ingest.TOPICS.values():
            cluster.create(topic.name, PARTITIONS)
            fill(cluster.servers, topic, events=EVENTS)
        found = measure(kafka_ingest.contenders(cluster.servers, events=EVENTS), rounds=1)
    for name, each in found.items():
        poison = EVENTS // 100 if name == "poison" else 0
        assert each.figure("dead_letters") == poison, name
        assert each.figure("rows") == EVENTS - poison, name
    results = {each.claim for each in kafka_ingest.results_of(found, events=EVENTS)}
    assert results == {
        "kafka_ingest", "kafka_rate", "kafka_avro", "kafka_framed_avro", "kafka_poison",
    }  # fmt: skip


def test_every_kind_of_poison_is_its_own() -> None:
    assert len({poisoned_event(at * 100)[:200] for at in range(12)}) == 12
