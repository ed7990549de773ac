"""What a reader asks of Kafka: clients with fixed settings, and facts that come from a partition's leader."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from headrace.errors import TopicAccessError, TopicNotFoundError, TopicUnreachableError
from headrace.ingest.sources.kafka_log import Once

ANSWER_S_MAX = 15.0  # of one request, with the search for brokers
QUEUE_KIB = 64 * 1024  # what a client fetches ahead; it stops fetching beyond, and loses nothing
_FETCH_BYTES_MAX = 16 * 1024 * 1024  # one answer, which overshoots the queue
# also what one batch of records may take when it is decompressed; the client enlarges its buffer by
# threes, so that a third of it is sure to be read. Beyond it the partition stands still, by name.
ANSWER_BYTES_MAX = 1_000_000_000
# the server refuses these settings of a profile for good; waiting would not help
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_UNKNOWN = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
# a leader that is being elected, or was just
_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._TRANSPORT,
    }
)
_RETRY_S = 0.2
_REFUSED_S = 2.0  # so long another broker of the cluster may still answer
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # of brokers without topic ids


class Range(NamedTuple):
    """The offsets that a partition holds: from `low` up to but without `high`."""

    low: int
    high: int


@dataclass(frozen=True)
class TopicFacts:
    """A topic's identity and its partitions."""

    id: str
    partitions: tuple[int, ...]


@dataclass(kw_only=True)
class KafkaClient:
    """Asks the brokers of one cluster about one topic.

    Args:
        topic: The topic.
        settings: How to reach the brokers, in the client's own keys; contains secrets.
        make_consumer: Makes a consumer of a configuration; tests put another one in between.
        answer_s_max: How long one request may take, with the search for brokers; 15 s by default.

    """

    topic: str
    settings: Mapping[str, object]
    make_consumer: Callable[[dict[str, object]], Consumer] = Consumer
    answer_s_max: float | None = None
    refused: KafkaError | None = field(default=None, init=False)
    _log: Once = field(default_factory=Once, init=False)
    _admin: AdminClient | None = field(default=None, init=False)
    _asking: Consumer | None = field(default=None, init=False)
    _known: set[int] = field(default_factory=set[int], init=False)
    _leaders: dict[int, str] = field(default_factory=dict[int, str], init=False)

    @property
    def servers(self) -> str:
        """The addresses of the brokers."""
        return str(self.settings.get("bootstrap.servers", ""))

    @property
    def _answer_s(self) -> float:
        return self.answer_s_max or ANSWER_S_MAX

    def consumer(self, *, isolation: str = "read_committed") -> Consumer:
        """Make a consumer whose offsets are ours alone; no setting of a profile changes that.

        It is never part of a group, does not reset a position by itself, and checks every record.
        """
        fixed: dict[str, object] = {
            "group.id": "headrace",  # required by the client, and never used
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "check.crcs": True,
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": QUEUE_KIB,
            "queued.min.messages": 1_000_000,  # the bytes decide
            "fetch.max.bytes": _FETCH_BYTES_MAX,
            "receive.message.max.bytes": ANSWER_BYTES_MAX,
            "max.partition.fetch.bytes": 4 * 1024 * 1024,
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 20,
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 30_000,
        }
        return self.make_consumer(self._settings() | fixed)

    def facts(self, *, timeout_s: float | None = None) -> TopicFacts:
        """Return the topic's id and partitions.

        Raises:
            TopicNotFoundError: If there is no such topic.
            TopicUnreachableError: If no broker answers in time.
            TopicAccessError: If the brokers refuse.

        """
        admin = self._asked()
        asked = admin.describe_topics(
            TopicCollection([self.topic]), request_timeout=timeout_s or self._answer_s
        )[self.topic]
        begun_s = time.monotonic()
        while True:
            try:
                found = asked.result(timeout=_RETRY_S)
                break
            except TimeoutError:
                admin.poll(0)  # only this hears a refusal, which the request itself never tells
                if self.refused is not None and time.monotonic() - begun_s > _REFUSED_S:
                    self.fail(self.refused)
            except KafkaException as error:
                admin.poll(0)
                self.fail(error.args[0])
        topic_id = str(found.topic_id)
        numbers = tuple(sorted(each.id for each in found.partitions))
        return TopicFacts("" if topic_id == _NO_ID else topic_id, numbers)

    def ranges(
        self, partitions: Collection[int], *, timeout_s: float | None = None
    ) -> dict[int, Range]:
        """Ask the leaders which offsets they hold; the last stable offset is the end.

        Raises:
            TopicUnreachableError: If a partition has no leader that answers in time.
            TopicAccessError: If the brokers refuse.
            TopicNotFoundError: If there is no such topic or partition.

        """
        if not partitions:
            return {}
        # not the admin client's question for all at once: it often waits for a second or more
        if self._asking is None:
            self._asking = self.consumer()
        until_s = time.monotonic() + (timeout_s or self._answer_s)
        if not self._known.issuperset(partitions):
            self.refresh(self._asking, timeout_s=timeout_s)
            self._known |= set(partitions)
        found: dict[int, Range] = {}
        for each in sorted(partitions):
            low, high = self._watermarks(self._asking, each, until_s=until_s)
            found[each] = Range(low, max(low, high))
        return found

    def _watermarks(self, consumer: Consumer, partition: int, *, until_s: float) -> tuple[int, int]:
        """Ask until there is a leader that answers, or the time is over."""
        while True:
            left_s = max(0.1, until_s - time.monotonic())
            try:
                return consumer.get_watermark_offsets(
                    TopicPartition(self.topic, partition), timeout=left_s
                )
            except KafkaException as error:
                cause = error.args[0]
                if cause.code() not in _PASSING or time.monotonic() + _RETRY_S > until_s:
                    self._fail_at(partition, cause)
            time.sleep(_RETRY_S)
            self.refresh(consumer, timeout_s=max(0.1, until_s - time.monotonic()))

    def refresh(self, consumer: Consumer, *, timeout_s: float | None = None) -> None:
        """Let a consumer know the topic's partitions: it does not ask for those it never heard of.

        Raises:
            TopicUnreachableError: If no broker answers in time.
            TopicAccessError: If the brokers refuse.
            TopicNotFoundError: If there is no such topic.

        """
        try:
            said = consumer.list_topics(self.topic, timeout=timeout_s or self._answer_s)
        except KafkaException as error:
            self.fail(error.args[0])
        known = {each: f"`{broker.host}:{broker.port}`" for each, broker in said.brokers.items()}
        self._leaders = {
            number: _named(each.leader, known.get(each.leader))
            for number, each in said.topics[self.topic].partitions.items()
        }

    def outside(self, partition: int, offset: int) -> Range | None:
        """Return what a partition holds if it does not reach from or to `offset`; None if it does.

        Asks twice: a leader that was just elected may lag behind for a moment.
        """
        found = Range(0, 0)
        for wait_s in (0.3, 0.0):
            found = self.ranges([partition])[partition]
            if found.low <= offset <= found.high:
                return None
            time.sleep(wait_s)
        return found

    def _fail_at(self, partition: int, error: KafkaError) -> NoReturn:
        """Raise what `fail` does; where nobody answers, name the broker that had to."""
        try:
            self.fail(error)
        except TopicUnreachableError as unnamed:
            leader = self._leaders.get(partition, "which nobody knows")
            raise TopicUnreachableError(
                self.topic,
                servers=self.servers,
                detail=f"the leader of partition {partition}, {leader}, does not answer: {unnamed.detail}",
                partition=partition,
            ) from None

    def fail(self, error: KafkaError) -> NoReturn:
        """Raise the named error of what a broker or the client said.

        Raises:
            TopicAccessError: If the brokers refuse.
            TopicNotFoundError: If there is no such topic or partition.
            TopicUnreachableError: For anything else.

        """
        detail = error.str()
        refused = error if error.code() in _REFUSED else self.refused
        if refused is not None:
            raise TopicAccessError(self.topic, servers=self.servers, detail=refused.str())
        if error.code() in _UNKNOWN:
            raise TopicNotFoundError(self.topic, servers=self.servers)
        raise TopicUnreachableError(self.topic, servers=self.servers, detail=detail)

    def close(self) -> None:
        """Drop the connections; idempotent."""
        self._admin = None
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _asked(self) -> AdminClient:
        self._admin = self._admin or AdminClient(self._settings())  # pyright: ignore[reportArgumentType]  (it takes functions too)
        self._admin.poll(0)
        return self._admin

    def _settings(self) -> dict[str, object]:
        return {
            **self.settings,
            "client.id": "headrace",
            "error_cb": self._note,
            "logger": self._log,
            "log_level": 4,
        }

    def _note(self, error: KafkaError) -> None:
        """Remember a refusal: requests only time out while the client tries again."""
        if error.code() in _REFUSED:
            self.refused = error


def _named(number: int, address: str | None) -> str:
    """Name a broker; one that is away is often not among those that the others tell."""
    if address is not None:
        return f"broker {number} at {address}"
    return f"broker {number}" if number >= 0 else "which it lacks"


def at(topic: str, offsets: Mapping[int, int], epochs: Mapping[int, int]) -> list[TopicPartition]:
    """Name where reading starts; with the leader epoch of the record before, if it is known."""
    return [
        TopicPartition(topic, each, offset, "", epochs[each])
        if each in epochs
        else TopicPartition(topic, each, offset)
        for each, offset in offsets.items()
    ]
