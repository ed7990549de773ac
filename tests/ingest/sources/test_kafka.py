"""The Kafka source against the client's own protocol server: what a topic does to its readers."""

import random
import time
from contextlib import closing

import pytest
from confluent_kafka import Consumer

from headrace.errors import (
    LogTruncatedError,
    OffsetGapError,
    PartitionStalledError,
    TopicDamagedError,
    TopicNotFoundError,
    TopicReplacedError,
    TopicUnreachableError,
)
from headrace.ingest.sources import kafka_client, kafka_reader
from headrace.ingest.sources.base import Batch, Position, Records, TimeType
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.kafka_client import TopicFacts
from headrace.ingest.sources.kafka_reader import KafkaReader
from tests.ingest.sources.kafka_things import (
    TOPIC,
    drain,
    drained,
    offsets_of,
    open_at,
    take,
    take_next,
    values,
)
from tests.mock_kafka import CORRUPT, FETCH, NOT_LEADER, MockKafka
from tests.waiting import WAIT_S


def test_a_record_has_its_key_headers_time_and_a_null_value_as_they_were(
    cluster: MockKafka,
) -> None:
    cluster.create(TOPIC)
    headers = [("b", b"1"), ("a", None), ("b", b"2")]
    cluster.produce(TOPIC, [b"x", None], key=b"\xff", headers=headers, first_ms=1_700_000_000_123)
    (part,) = drained(cluster)
    assert (list(part.lines), list(part.tombstones)) == ([b"x", b""], [1])
    assert part.keys is not None
    assert part.headers is not None
    assert (part.keys[0], list(part.headers[1])) == (b"\xff", headers)
    assert part.time_type is TimeType.CREATED
    at = part.times_of([0, 1]).cast("int64").to_pylist()
    assert at == [1_700_000_000_123_000, 1_700_000_000_124_000]


def test_a_time_beyond_the_calendar_or_not_given_is_null(cluster: MockKafka) -> None:
    cluster.create(TOPIC)
    cluster.produce(TOPIC, [b"x"], first_ms=2**62)
    cluster.produce(TOPIC, [b"y"])
    parts = drained(cluster)
    times = [time for part in parts for time in part.times_of(range(part.count)).to_pylist()]
    assert times[0] is None
    assert times[1] is not None


def test_reading_headers_without_a_value_loses_no_reference_that_matters(
    cluster: MockKafka,
) -> None:
    """Row 25: only the headers of dead letters are read, not those of every record."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(20_000), headers=[("empty", None)])
    assert len(offsets_of(drained(cluster))) == 20_000


def test_what_a_client_fetched_ahead_is_given_back_once_it_is_closed(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C library keeps it for each thread, and each client has threads of its own."""
    done: list[str] = []

    class Told(Consumer):
        def close(self) -> None:
            super().close()
            done.append("closed")

    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(10))
    monkeypatch.setattr(kafka_reader, "give_back", lambda: done.append("given back"))
    with closing(open_at(cluster, make_consumer=Told)) as reader:
        assert len(offsets_of(drain(reader))) == 10
    assert done[-1] == "given back"
    assert done.count("closed") == 2  # that which reads, and that which asks


def test_batches_are_filled_by_our_own_loop(cluster: MockKafka) -> None:
    """Row 36: the client returns what it has after 200 ms; a poll goes on until it has enough."""
    cluster.create(TOPIC, 4)
    for partition in range(4):
        cluster.produce(TOPIC, values(10_000), partition=partition)
    with closing(open_at(cluster)) as reader:
        batches: list[Batch] = []
        while not reader.drained:
            batch = reader.poll(20_000, max_s=10.0)
            assert batch is not None
            batches.append(batch)
    sizes = [sum(part.count for part in batch.parts) for batch in batches]
    assert sizes == [20_000, 20_000]


def test_a_gap_that_retention_made_stops_with_its_range_until_it_is_accepted(
    cluster: MockKafka,
) -> None:
    cluster.create(TOPIC, 2)
    cluster.produce(TOPIC, values(100), partition=0)
    cluster.produce(TOPIC, values(10), partition=1)
    taken = take(cluster)
    cluster.produce(TOPIC, values(100, first=100), partition=0)
    cluster.produce(TOPIC, values(10, first=10), partition=1)
    cluster.delete_records(TOPIC, 0, 150)
    with pytest.raises(OffsetGapError) as caught:
        open_at(cluster, taken)
    gap = caught.value
    assert (gap.partition, gap.first, gap.end) == (0, 100, 150)
    assert gap.remedy is not None
    accepted = AcceptedGap.parse(gap.remedy.command[-1])
    with pytest.raises(OffsetGapError):
        open_at(cluster, taken, accepted=[accepted._replace(end=149)])
    with closing(open_at(cluster, taken, accepted=[accepted])) as reader:
        parts = drain(reader)
    assert offsets_of(parts) == list(range(150, 200))
    assert offsets_of(parts, 1) == list(range(10, 20))
    assert [each.holes for each in parts if each.holes] == [(Hole(100, 150, HoleKind.LOST),)]


def test_what_was_deleted_before_the_first_look_is_a_hole_and_no_gap(cluster: MockKafka) -> None:
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(100))
    cluster.delete_records(TOPIC, 0, 60)
    parts = drained(cluster)
    assert offsets_of(parts) == list(range(60, 100))
    assert [each.holes for each in parts if each.holes] == [(Hole(0, 60, HoleKind.BEFORE),)]


def test_records_deleted_while_reading_stop_with_their_range(cluster: MockKafka) -> None:
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(50))
    with closing(open_at(cluster, follow=True)) as reader:
        assert offsets_of(take_next(reader, 50)) == list(range(50))
        at = 50
        for end in range(100, 1_000, 55):  # again, where all were fetched before they were deleted
            cluster.down(1)
            cluster.down(2)
            cluster.up(1)
            cluster.up(2)
            cluster.produce(TOPIC, values(50, first=at))
            cluster.delete_records(TOPIC, 0, end)
            cluster.produce(TOPIC, values(5, first=end))
            try:
                while at < end + 5:
                    at += sum(part.count for part in take_next(reader, 1))
            except OffsetGapError as error:
                assert (error.first, error.end) == (at, end)
                return
    pytest.fail("none was deleted before it was fetched")


def test_no_setting_of_a_profile_resets_a_position(cluster: MockKafka) -> None:
    """Row 4: users cannot override the policy."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(20))
    settings = {"bootstrap.servers": cluster.servers, "auto.offset.reset": "earliest"}
    source = KafkaSource(TOPIC, settings | {"check.crcs": False, "isolation.level": "x"})
    seen: list[dict[str, object]] = []

    def make(config: dict[str, object]) -> Consumer:
        seen.append(config)
        return Consumer(config)

    source = KafkaSource(TOPIC, settings | {"check.crcs": False}, make_consumer=make)
    with closing(source.open(lambda _: {}, rows_per_commit=1)) as reader:
        drain(reader)
    for config in seen:
        assert config["auto.offset.reset"] == "error"
        assert (config["check.crcs"], config["enable.auto.commit"]) == (True, False)


@pytest.mark.parametrize("regrown", [10, 50, 80])
def test_a_topic_that_was_created_again_is_refused(cluster: MockKafka, regrown: int) -> None:
    """Row 6: also where the new one has more records than were taken."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(50))
    taken = take(cluster)
    cluster.delete(TOPIC)
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(regrown))
    with pytest.raises(TopicReplacedError):
        open_at(cluster, taken)


def test_a_topic_that_is_created_again_while_reading_is_found_before_the_commit(
    cluster: MockKafka,
) -> None:
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(50))
    with closing(open_at(cluster)) as reader:
        drain(reader)
        reader.confirm()
        cluster.delete(TOPIC)
        cluster.create(TOPIC)
        with pytest.raises(TopicReplacedError):
            reader.confirm()


def test_a_topic_that_is_not_there_is_named(cluster: MockKafka) -> None:
    cluster.create("another")
    with pytest.raises(TopicNotFoundError):
        open_at(cluster)


def test_a_log_that_ends_before_what_was_taken_is_refused(cluster: MockKafka) -> None:
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(50))
    (partition, end), *_ = take(cluster).items()
    with pytest.raises(LogTruncatedError):
        open_at(cluster, {partition: Position(60, fingerprint=end.fingerprint)})


def test_a_log_that_was_cut_off_and_grew_again_is_known_by_the_time_of_its_last_record(
    cluster: MockKafka,
) -> None:
    """Row 9: the record before the position is read again and compared."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(50))
    (partition, end), *_ = take(cluster).items()
    cluster.produce(TOPIC, values(50, first=50))
    with closing(open_at(cluster, {partition: end})) as reader:
        assert offsets_of(drain(reader)) == list(range(50, 100))
    form, number, offset, time_ms, *rest = end.fingerprint.split(":")
    other = ":".join((form, number, offset, str(int(time_ms) - 7), *rest))
    with (
        closing(open_at(cluster, {partition: Position(50, fingerprint=other)})) as reader,
        pytest.raises(LogTruncatedError),
    ):
        drain(reader)


def test_a_false_out_of_range_is_asked_about_and_read_on(cluster: MockKafka) -> None:
    """Row 10: the leader says that the offset is there."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(200))
    with closing(open_at(cluster)) as reader:
        cluster.fail(FETCH, [1])
        assert offsets_of(drain(reader)) == list(range(200))


def test_a_follower_reads_on_and_takes_in_added_partitions_from_their_first_record(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 8: the assignment of the others stays as it is."""
    monkeypatch.setattr(kafka_reader, "ENDS_S", 0.1)
    cluster.create(TOPIC, 2)
    cluster.produce(TOPIC, values(10), partition=0)
    facts = kafka_client.KafkaClient.facts
    known: list[tuple[int, ...]] = [(0,)]

    def before(self: kafka_client.KafkaClient, **more: float) -> TopicFacts:
        found = facts(self, **more)
        return TopicFacts(found.id, known[0])

    monkeypatch.setattr(kafka_client.KafkaClient, "facts", before)
    with closing(open_at(cluster, follow=True)) as reader:
        assert offsets_of(take_next(reader, 10)) == list(range(10))
        assignments: list[object] = []
        monkeypatch.setattr(KafkaReader, "_assigned", lambda *_: assignments.append(_))
        cluster.produce(TOPIC, values(30), partition=1)
        known[0] = (0, 1)
        reader.confirm()
        cluster.produce(TOPIC, values(5, first=10), partition=0)
        parts = take_next(reader, 35)
        assert offsets_of(parts, 1) == list(range(30))
        assert offsets_of(parts, 0) == list(range(10, 15))
        assert set(reader.status().lag.values()) == {0}
        assert not assignments


def test_brokers_that_go_down_and_leaders_that_move_lose_nothing(cluster: MockKafka) -> None:
    chance = random.Random(3)
    cluster.create(TOPIC, 4)
    for partition in range(4):
        cluster.produce(TOPIC, values(2_000), partition=partition)
    with closing(open_at(cluster)) as reader:
        parts: list[Records] = []
        until_s = time.monotonic() + WAIT_S
        for step in range(1_000_000):
            assert time.monotonic() < until_s
            if reader.drained:
                break
            if step < 6:
                cluster.lead(TOPIC, chance.randrange(4), 1 + step % 2)
                cluster.fail(FETCH, [NOT_LEADER] * 2)
            if step in (2, 4):
                cluster.down(1 + step % 2)
                cluster.up(1 + step % 2)
            batch = reader.poll(700, max_s=1.0)
            parts += batch.parts if batch is not None else ()
    for partition in range(4):
        assert offsets_of(parts, partition) == list(range(2_000))


def test_brokers_that_do_not_answer_are_named(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "ANSWER_S_MAX", 0.5)
    cluster.create(TOPIC)
    cluster.down(1)
    cluster.down(2)
    with pytest.raises(TopicUnreachableError):
        open_at(cluster)


def test_a_damaged_record_is_named_and_none_is_returned_for_it(cluster: MockKafka) -> None:
    """Row 33, as far as the protocol server can: the broker itself says that the record is damaged."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(10))
    cluster.fail(FETCH, [CORRUPT] * 20)  # the client fetches from when it is opened
    with closing(open_at(cluster)) as reader, pytest.raises(TopicDamagedError):
        drain(reader)


def test_a_batch_that_expands_a_thousandfold_is_read(cluster: MockKafka) -> None:
    """Row 38: with the client's own limit of 100 MB this partition would stand still for ever."""
    cluster.create(TOPIC)
    cluster.produce_one_batch(TOPIC, [b"a" * 500_000] * 100)
    assert offsets_of(drained(cluster)) == list(range(100))


def test_a_batch_that_expands_beyond_every_limit_is_a_named_stop(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "ANSWER_BYTES_MAX", 40_000_000)
    monkeypatch.setattr(kafka_reader, "ENDS_S", 0.3)
    cluster.create(TOPIC)
    cluster.produce_one_batch(TOPIC, [b"a" * 500_000] * 100)
    with closing(open_at(cluster, stalled_s=0.5)) as reader, pytest.raises(PartitionStalledError):
        drain(reader, max_s=0.2)
