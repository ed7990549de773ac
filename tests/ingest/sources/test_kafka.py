"""The Kafka source against the client's own protocol server: what a topic does to its readers."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message

from headrace.errors import (
    LogTruncatedError,
    OffsetGapError,
    PartitionStalledError,
    RecordsSkippedError,
    TopicDamagedError,
    TopicNotFoundError,
    TopicReplacedError,
    TopicUnreachableError,
)
from headrace.ingest.sources import kafka_client, kafka_reader
from headrace.ingest.sources.base import Batch, Position, Records, SourcePartition, TimeType
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.kafka_client import KafkaClient, TopicFacts
from headrace.ingest.sources.kafka_gaps import Gap
from headrace.ingest.sources.kafka_reader import KafkaReader
from tests.mock_kafka import CORRUPT, FETCH, NOT_LEADER, MockKafka
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


def take_next(reader: KafkaReader, count: int) -> list[Records]:
    """Poll a follower until it returned so many records."""
    parts: list[Records] = []
    until_s = time.monotonic() + WAIT_S
    while sum(part.count for part in parts) < count:
        assert time.monotonic() < until_s, "no more records came"
        batch = reader.poll(count, max_s=0.5)
        parts += batch.parts if batch is not None else ()
    return parts


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


class Complaining:
    """A consumer whose first batch has an error entry among its records, as the client gives them."""

    def __init__(self, inner: Consumer, code: int) -> None:
        self._inner, self._error = inner, [KafkaError(code)]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def consume(self, count: int, timeout: float) -> list[Message]:
        found = self._inner.consume(min(count, 50), timeout=timeout)
        if not self._error or not any(each.error() is None for each in found):
            return found
        said = Message(
            topic=TOPIC, partition=0, offset=1, value=b"text of an error", error=self._error.pop()
        )
        return [found[0], said, *found[1:]]


def complaining(code: int) -> Callable[[dict[str, object]], Consumer]:
    return lambda config: cast("Consumer", Complaining(Consumer(config), code))


def test_an_error_among_records_is_no_record_and_the_records_beside_it_are_kept(
    cluster: MockKafka,
) -> None:
    """Row 14: the value of such an entry is the text of the error."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(100))
    make = complaining(KafkaError._ALL_BROKERS_DOWN)
    with closing(open_at(cluster, make_consumer=make)) as reader:
        parts = drain(reader)
    assert offsets_of(parts) == list(range(100))
    assert [line for part in parts for line in part.lines] == values(100)


def test_an_error_among_records_is_acted_on_behind_them(cluster: MockKafka) -> None:
    """Row 14: good records beside it do not hide it, and are not lost by it."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(100))
    make = complaining(KafkaError._BAD_MSG)
    with closing(open_at(cluster, make_consumer=make)) as reader:
        first = take_next(reader, 1)
        with pytest.raises(TopicDamagedError):
            drain(reader)
    assert 0 < len(offsets_of(first)) <= 50
    assert offsets_of(first) == list(range(len(offsets_of(first))))


def test_a_record_that_the_client_left_out_stops_the_stream(cluster: MockKafka) -> None:
    """Rows 2 and 3: a second reading finds it, so the gap is none of the log's."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(100))
    with (
        closing(open_at(cluster, make_consumer=swallowing(40))) as reader,
        pytest.raises(RecordsSkippedError) as caught,
    ):
        drain(reader)
    assert (caught.value.first, caught.value.end) == (40, 41)


@pytest.mark.parametrize("accepted", [(), (AcceptedGap(0, 40, 41),)])
def test_a_gap_that_is_deleted_before_it_is_read_again_stops_the_stream_until_it_is_accepted(
    cluster: MockKafka, monkeypatch: pytest.MonkeyPatch, accepted: tuple[AcceptedGap, ...]
) -> None:
    """Nothing tells any more whether a record was there."""
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(100))
    explain = kafka_reader.explain

    def deleted(client: KafkaClient, gaps: Mapping[int, Sequence[Gap]]) -> dict[int, list[Hole]]:
        if any(gaps.values()):
            cluster.delete_records(TOPIC, 0, 60)
        return explain(client, gaps)

    monkeypatch.setattr(kafka_reader, "explain", deleted)
    with closing(open_at(cluster, make_consumer=swallowing(40), accepted=accepted)) as reader:
        if not accepted:
            with pytest.raises(OffsetGapError) as caught:
                drain(reader)
            assert (caught.value.first, caught.value.end) == (40, 41)
            return
        parts = drain(reader)
    assert offsets_of(parts) == [at for at in range(100) if at != 40]
    assert [each.holes for each in parts if each.holes] == [(Hole(40, 41, HoleKind.LOST),)]


def test_the_last_record_is_not_left_out_either(cluster: MockKafka) -> None:
    cluster.create(TOPIC)
    cluster.produce(TOPIC, values(100))
    with (
        closing(open_at(cluster, make_consumer=swallowing(99))) as reader,
        pytest.raises(RecordsSkippedError),
    ):
        drain(reader)


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
