"""Records that the Kafka client leaves out, and errors that it puts among them: none is lost in silence."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message

from headrace.errors import (
    OffsetGapError,
    RecordsSkippedError,
    TopicDamagedError,
)
from headrace.ingest.sources import kafka_reader
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind
from headrace.ingest.sources.kafka_client import KafkaClient
from headrace.ingest.sources.kafka_gaps import Gap
from tests.ingest.sources.kafka_things import (
    TOPIC,
    drain,
    offsets_of,
    open_at,
    swallowing,
    take_next,
    values,
)
from tests.mock_kafka import MockKafka


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
