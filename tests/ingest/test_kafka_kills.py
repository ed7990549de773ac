"""Kill -9 of ingesters of a topic, on the client's protocol server: nothing lost, nothing doubled."""

from collections.abc import Iterator

import pytest

from headrace.api import Lake
from headrace.crash_points import CRASH_POINTS
from headrace.ingest.run import ingest
from headrace.ingest.sources.kafka import KafkaSource
from tests.ingest.kafka_ingesters import killed_at_random, start, stream_of, taken, value
from tests.ingest.processes import FENCED, exit_code
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.slow
POINTS = [
    each
    for each in CRASH_POINTS
    if each.startswith(("ingest.", "commit.")) and each not in ("ingest.after_seal",)
]
PARTITIONS, RECORDS = 4, 60
TOPIC = "things"


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as made:
        made.create(TOPIC, PARTITIONS)
        yield made


def fill(cluster: MockKafka, *, first: int, count: int) -> None:
    for partition in range(PARTITIONS):
        some = [value(partition, at) for at in range(first, first + count)]
        cluster.produce(TOPIC, some, partition=partition)


def complete(lake: Lake, cluster: MockKafka, *, count: int) -> None:
    stream = stream_of(TOPIC)
    ingest(lake, stream, source=KafkaSource(TOPIC, {"bootstrap.servers": cluster.servers}))
    assert taken(lake, stream) == {each: list(range(count)) for each in range(PARTITIONS)}


def test_an_ingester_killed_at_every_named_point_ends_complete(
    lake: Lake, cluster: MockKafka
) -> None:
    """The short form; each point once, with records in between."""
    stream, codes = stream_of(TOPIC), list[int | None]()
    for step, point in enumerate(POINTS):
        fill(cluster, first=step * 20, count=20)
        process = start(lake.settings, stream, cluster.servers, crash_at=f"{point}:1", rows=30)
        codes.append(exit_code(process))
    assert codes.count(-9) >= len(POINTS) - 2
    complete(lake, cluster, count=20 * len(POINTS))


def test_of_two_ingesters_of_a_topic_at_most_one_takes_a_record(
    lake: Lake, cluster: MockKafka
) -> None:
    fill(cluster, first=0, count=RECORDS)
    stream = stream_of(TOPIC)
    rivals = [start(lake.settings, stream, cluster.servers, rows=20) for _ in range(2)]
    codes = [exit_code(each) for each in rivals]
    assert set(codes) <= {0, FENCED}
    complete(lake, cluster, count=RECORDS)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(3))
def test_ingesters_killed_at_random_moments_end_complete(
    lake: Lake, cluster: MockKafka, seed: int
) -> None:
    """Together 300 kills, with records that come in between."""
    stream = stream_of(TOPIC)
    caught = 0
    for step in range(10):
        fill(cluster, first=step * 200, count=200)
        caught += killed_at_random(
            lake.settings, stream, cluster.servers, kills=10, seed=1000 * seed + step
        )
    assert caught > 20
    complete(lake, cluster, count=2000)


@pytest.mark.proof
@pytest.mark.parametrize("passage", range(1, 6))
@pytest.mark.parametrize("point", POINTS)
def test_every_named_point_five_times(
    lake: Lake, cluster: MockKafka, point: str, passage: int
) -> None:
    fill(cluster, first=0, count=RECORDS)
    process = start(
        lake.settings, stream_of(TOPIC), cluster.servers, crash_at=f"{point}:{passage}", rows=20
    )
    exit_code(process)
    complete(lake, cluster, count=RECORDS)
