"""The Kafka source: the partitions of one topic, read at the offsets that the table holds.

Group offsets are neither read nor written: what was taken is known by the table alone.
"""

from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer

from headrace.ingest.sources.base import PositionsOf
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.sources.kafka_client import KafkaClient
from headrace.ingest.sources.kafka_reader import STALLED_S, KafkaReader
from headrace.ingest.sources.kafka_records import ValueRules
from headrace.ingest.sources.schemas import Schemas


class KafkaSource:
    """One topic.

    Args:
        topic: The topic.
        settings: How to reach the brokers, in the client's own keys; contains secrets.
        accepted: Missing offsets that the user accepts.
        schemas: The schemas of its values, for decoders that need them.
        ignore_tombstones: Leave out records without a value.
        stalled_s: After how long a partition without a record, though it has more, stands still.
        answer_s_max: How long one request may take; 15 s by default.
        make_consumer: Makes a consumer of a configuration.

    """

    is_log = True

    def __init__(
        self,
        topic: str,
        settings: Mapping[str, object],
        *,
        accepted: Sequence[AcceptedGap] = (),
        schemas: Schemas | None = None,
        ignore_tombstones: bool = False,
        stalled_s: float = STALLED_S,
        answer_s_max: float | None = None,
        make_consumer: Callable[[dict[str, object]], Consumer] = Consumer,
    ) -> None:
        self._topic, self._settings, self._accepted = topic, settings, accepted
        self._values = ValueRules(schemas=schemas, ignore_tombstones=ignore_tombstones)
        self._stalled_s, self._make_consumer = stalled_s, make_consumer
        self._answer_s_max = answer_s_max

    def missing(self) -> str | None:
        """Return nothing: whether the topic is there is known once it is opened."""
        return None

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> KafkaReader:
        """Connect, check that the topic still holds what was not taken, and start; see `Source.open`.

        Raises:
            TopicNotFoundError: If there is no such topic.
            TopicUnreachableError: If the brokers do not answer.
            TopicAccessError: If they refuse.
            TopicReplacedError: If the topic was created again.
            OffsetGapError: If records were deleted before they were taken.
            LogTruncatedError: If the log ends before what was taken.

        """
        _ = rows_per_commit
        client = KafkaClient(
            topic=self._topic,
            settings=self._settings,
            make_consumer=self._make_consumer,
            answer_s_max=self._answer_s_max,
        )
        return KafkaReader(
            client,
            positions,
            follow=follow,
            accepted=self._accepted,
            values=self._values,
            stalled_s=self._stalled_s,
        )
