"""Topics of a real broker: transactions, compaction, deletions, restarts, damage, a real registry."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from headrace.api import Lake
from headrace.errors import OffsetGapError, TopicDamagedError, TopicReplacedError
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Records, SourcePartition
from headrace.ingest.sources.holes import AcceptedGap, HoleKind
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.schema_stores import Registry
from infra.launcher import kafka, run
from infra.launcher.cluster import Cluster
from tests.cluster.kafka_topics import Topic, brokers
from tests.ingest.factories import dead_of, rows_of
from tests.ingest.kafka_ingesters import killed_at_random, stream_of, taken, value
from tests.waiting import WAIT_S

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with brokers() as running:
        yield running


def values(count: int, *, first: int = 0) -> list[bytes]:
    return [b"value %06d" % at for at in range(first, first + count)]


def read(parts: Sequence[Records], partition: int = 0) -> list[bytes]:
    return [v for part in parts if part.partition.partition == partition for v in part.lines]


def covered(parts: Sequence[Records], partition: int = 0) -> list[int]:
    """All offsets that records and holes cover together, in order; raises if one is there twice."""
    found: list[int] = []
    for part in parts:
        if part.partition.partition == partition:
            found += part.offsets.tolist()
            found += [at for hole in part.holes for at in range(hole.first, hole.end)]
    assert len(set(found)) == len(found)
    return sorted(found)


def kinds(parts: Sequence[Records]) -> set[HoleKind]:
    return {hole.kind for part in parts for hole in part.holes}


def test_a_drain_ends_behind_a_commit_marker_and_passes_it(cluster: Cluster) -> None:
    """Row 1: the end is the position, not the last record."""
    topic = Topic.make(cluster, partitions=3)
    producer = topic.transactional()
    producer.begin_transaction()
    topic.send(producer, values(100))
    producer.commit_transaction(20)
    producer.begin_transaction()
    topic.send(producer, values(7), partition=1)
    producer.abort_transaction(20)
    topic.settle()
    begun_s = time.monotonic()
    parts = topic.drain()
    assert time.monotonic() - begun_s < 60
    ends = {part.partition.partition: part.end.offset for part in parts}
    assert ends == {0: 101, 1: 8}
    assert read(parts) == values(100)
    assert covered(parts) == list(range(101))
    assert covered(parts, 1) == list(range(8))


def test_aborted_and_committed_transactions_of_two_producers_are_told_apart(
    cluster: Cluster,
) -> None:
    """Rows 3 and 32: compressed, interleaved, with empty transactions."""
    topic = Topic.make(cluster)
    producers = [topic.transactional(**{"compression.type": "zstd"}) for _ in range(2)]
    wanted: list[bytes] = []
    for step in range(12):
        for number, producer in enumerate(producers):
            producer.begin_transaction()
            some = values(0 if step % 5 == 4 else 20, first=1000 * step + 100 * number)
            topic.send(producer, some)
            if (step + number) % 3 == 0:
                producer.abort_transaction(20)
            else:
                producer.commit_transaction(20)
                wanted += some
    topic.settle()
    parts = topic.drain()
    assert sorted(read(parts)) == sorted(wanted)
    end = parts[-1].end.offset
    assert covered(parts) == list(range(end))
    assert kinds(parts) <= {HoleKind.EMPTY, HoleKind.ABORTED}
    assert HoleKind.ABORTED in kinds(parts)
    again = topic.drain({SourcePartition(topic.name): parts[-1].end})
    assert again == []


def test_an_open_transaction_holds_the_end_back_and_nothing_of_it_is_read(
    cluster: Cluster,
) -> None:
    topic = Topic.make(cluster)
    topic.send(topic.producer(), values(5))
    producer = topic.transactional()
    producer.begin_transaction()
    topic.send(producer, values(5, first=5))
    before = topic.drain()
    assert read(before) == values(5)
    producer.commit_transaction(20)
    topic.settle()
    after = topic.drain({SourcePartition(topic.name): before[-1].end})
    assert read(after) == values(5, first=5)


def test_a_compacted_topic_has_holes_and_an_end(cluster: Cluster) -> None:
    """Row 3: what compaction took away is no loss."""
    config = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
        "min.compaction.lag.ms": "0",
        "segment.bytes": "1048576",
        "delete.retention.ms": "0",
    }
    topic = Topic.make(cluster, config=config)
    producer = topic.producer()
    for step in range(30):
        for key in (b"a", b"b"):
            topic.send(producer, [b"%d" % step], key=key)
        time.sleep(0.02)
    deadline_s = time.monotonic() + WAIT_S
    parts = topic.drain()
    while len(read(parts)) >= 60 and time.monotonic() < deadline_s:
        time.sleep(1)
        topic.send(producer, [b"more"], key=b"c")
        parts = topic.drain()
    assert len(read(parts)) < 60, "the broker did not compact"
    assert kinds(parts) == {HoleKind.EMPTY}
    assert covered(parts) == list(range(parts[-1].end.offset))


def test_deleted_records_stop_the_stream_until_their_loss_is_accepted(cluster: Cluster) -> None:
    topic = Topic.make(cluster, partitions=2)
    producer = topic.producer()
    topic.send(producer, values(50))
    first = topic.drain()
    taken = {part.partition: part.end for part in first}
    topic.send(producer, values(50, first=50))
    topic.send(producer, values(10), partition=1)
    topic.delete_records(0, 80)
    with pytest.raises(OffsetGapError) as caught:
        topic.drain(taken)
    assert (caught.value.first, caught.value.end) == (50, 80)
    parts = topic.drain(taken, accepted=[AcceptedGap(0, 50, 80)])
    assert read(parts) == values(20, first=80)
    assert read(parts, 1) == values(10)
    assert covered(parts) == list(range(50, 100))


def test_a_topic_that_was_created_again_with_more_records_is_refused(cluster: Cluster) -> None:
    """Row 6."""
    topic = Topic.make(cluster)
    topic.send(topic.producer(), values(20))
    taken = {part.partition: part.end for part in topic.drain()}
    topic.delete()
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            topic.create()
            break
        except Exception:  # noqa: BLE001  (the deletion goes on in the background)
            assert time.monotonic() < deadline_s
            time.sleep(0.3)
    topic.send(topic.producer(), values(60))
    with pytest.raises(TopicReplacedError):
        topic.drain(taken)


def test_partitions_that_are_added_are_read_from_their_first_record(cluster: Cluster) -> None:
    """Row 8."""
    topic = Topic.make(cluster)
    topic.send(topic.producer(), values(10))
    parts: list[Records] = []
    with closing(topic.open(follow=True)) as reader:
        deadline_s = time.monotonic() + WAIT_S
        while len(read(parts)) < 10:
            batch = reader.poll(100, max_s=1.0)
            parts += batch.parts if batch is not None else ()
        topic.add_partitions(3)
        topic.send(topic.producer(), values(30), partition=2)
        while len(read(parts, 2)) < 30:
            assert time.monotonic() < deadline_s
            reader.confirm()
            batch = reader.poll(100, max_s=1.0)
            parts += batch.parts if batch is not None else ()
    assert read(parts, 2) == values(30)


def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    cluster: Cluster,
) -> None:
    topic = Topic.make(cluster, partitions=2)
    topic.send(topic.producer(), values(500), partition=0)
    topic.send(topic.producer(), values(500), partition=1)
    parts: list[Records] = []
    broker = run.by_name("kafka")
    with closing(topic.open(follow=True)) as reader:
        batch = reader.poll(300, max_s=10.0)
        parts += batch.parts if batch is not None else ()
        run.stop(cluster, broker)
        for _ in range(3):
            batch = reader.poll(300, max_s=0.5)
            parts += batch.parts if batch is not None else ()
        run.up(cluster, [broker], say=lambda _: None)
        topic.send(topic.producer(), values(100, first=500), partition=1)
        deadline_s = time.monotonic() + WAIT_S
        while sum(part.count for part in parts) < 1100:
            assert time.monotonic() < deadline_s
            batch = reader.poll(300, max_s=1.0)
            parts += batch.parts if batch is not None else ()
    assert read(parts, 0) == values(500)
    assert read(parts, 1) == values(600)


def test_a_flipped_byte_on_the_brokers_disk_is_no_record(cluster: Cluster) -> None:
    """Row 33: checksums of records are compared, and the damage is named."""
    topic = Topic.make(cluster)
    topic.send(topic.producer(**{"linger.ms": 0}), [b"x" * 500])
    topic.send(topic.producer(), [b"y" * 500])
    data = cluster.of("kafka") / "data" / f"{topic.name}-0" / "00000000000000000000.log"
    content = bytearray(data.read_bytes())
    at = content.index(b"x" * 100) + 50
    content[at] ^= 1
    data.write_bytes(content)
    with pytest.raises(TopicDamagedError):
        topic.drain()


def register(cluster: Cluster, subject: str, schema: dict[str, Any]) -> int:
    import urllib.request

    url = f"{kafka.SchemaRegistry().address(cluster)}/subjects/{subject}/versions"
    request = urllib.request.Request(url, data=json.dumps(schema).encode(), method="POST")
    request.add_header("Content-Type", "application/vnd.schemaregistry.v1+json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.loads(answer.read())["id"])


def test_schemas_come_from_a_real_registry_with_what_they_refer_to(cluster: Cluster) -> None:
    """Row 41."""
    kind = {"type": "enum", "name": "shop.Kind", "symbols": ["A", "B"]}
    register(cluster, "kind", {"schema": json.dumps(kind)})
    thing = {
        "type": "record",
        "name": "Thing",
        "fields": [{"name": "kind", "type": "shop.Kind"}],
    }
    references = [{"name": "shop.Kind", "subject": "kind", "version": 1}]
    number = register(cluster, "thing", {"schema": json.dumps(thing), "references": references})
    url = kafka.SchemaRegistry().address(cluster)
    store = Registry("things", url, user="", password="", serialized=False)
    found = store.text(number)
    assert found is not None
    assert json.loads(found.text)["name"] == "Thing"
    assert [json.loads(each)["name"] for each in found.references] in (["shop.Kind"], ["Kind"])
    assert store.text(999_999) is None


def test_thirty_kills_beside_transactions_lose_and_double_nothing(
    cluster: Cluster, lake: Lake
) -> None:
    """Half of the transactions are aborted; the rows are exactly the committed records."""
    topic = Topic.make(cluster, partitions=4)
    stream = stream_of(topic.name)
    producer = topic.transactional()
    wanted: set[tuple[int, int]] = set()
    number, caught = 0, 0
    for step in range(10):
        for abort in (False, True):
            producer.begin_transaction()
            for partition in range(4):
                some = [value(partition, number + at) for at in range(50)]
                topic.send(producer, some, partition=partition)
                if not abort:
                    wanted |= {(partition, number + at) for at in range(50)}
            number += 50
            if abort:
                producer.abort_transaction(20)
            else:
                producer.commit_transaction(20)
        servers = kafka.servers(cluster)
        caught += killed_at_random(lake.settings, stream, servers, kills=3, seed=step)
    assert caught > 5
    topic.settle()
    ingest(lake, stream, source=KafkaSource(topic.name, topic.settings))
    taken(lake, stream)
    good = {tuple(map(int, name.split("-"))) for name in rows_of(lake, stream)["id"].to_pylist()}
    assert good == {each for each in wanted if each[1] % 7}
    assert dead_of(lake, stream).num_rows == sum(each[1] % 7 == 0 for each in wanted)
    assert ingest(lake, stream, source=KafkaSource(topic.name, topic.settings)).commits == 0
