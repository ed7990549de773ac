"""What a contract would say of the records that a topic holds now: a sample of them, of which none is taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from headrace.config import Settings
from headrace.definitions.sources import KafkaSource, Topic
from headrace.definitions.stream import Stream
from headrace.errors import TopicUnreachableError
from headrace.ingest.contract import check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.field_use import FieldUse
from headrace.ingest.letters import Coordinates
from headrace.ingest.refusals import Refusal, Refusals
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.open import sample_of_topic, schemas_of
from headrace.ingest.status import ANSWER_S_MAX

RECORDS_MAX = 3_000


@dataclass(frozen=True, kw_only=True)
class TopicDifference:
    """A contract against a sample of its topic.

    `undeclared` counts sampled records by field that the contract does not declare; `unreachable` says
    why there is no sample.
    """

    topic: str
    records: int = 0
    refused: tuple[Refusal, ...] = ()
    undeclared: Mapping[str, int] = field(default_factory=dict[str, int])
    unreachable: str = ""


def topic_difference(settings: Settings, stream: Stream) -> TopicDifference | None:
    """Compare a contract with records of the beginning, middle and end of its topic; None for files.

    Raises:
        SettingsError: If the profile names no brokers, or no registry where values name schemas.
        SourceError: If the brokers refuse, or there is no such topic.
        SchemaUnavailableError: If a schema cannot be had.

    """
    if not isinstance(stream.source, KafkaSource):
        return None
    topic = stream.source.kafka
    try:
        sample = sample_of_topic(
            topic.topic, settings, records_max=RECORDS_MAX, answer_s_max=ANSWER_S_MAX
        )
    except TopicUnreachableError as error:
        return TopicDifference(topic=topic.topic, unreachable=error.message)
    schemas = schemas_of(stream, settings)
    known = [replace(each, schemas=schemas) for each in sample]
    return _compared(known, stream, topic)


def _compared(sample: Sequence[Records], stream: Stream, topic: Topic) -> TopicDifference:
    """Check sampled records as ingestion would. Pure but for schemas, which are fetched as they are met."""
    found, use = Refusals(), FieldUse.none()
    not_after = datetime.now(UTC) + stream.allowed_clock_skew
    for records in sample:
        decoded = decode(records, stream)
        left_out = set(records.tombstones) if topic.tombstones == "ignore" else set[int]()
        found.records += records.count - len(left_out)
        use += FieldUse.of(records, decoded, stream)
        offsets = records.offsets.tolist()
        for place, violation in check(decoded, stream, not_after=not_after).violations.items():
            if place not in left_out:
                found.add(violation, Coordinates(*records.partition, offsets[place]))
    return TopicDifference(
        topic=topic.topic,
        records=found.records,
        refused=found.most_first(),
        undeclared=use.unknown(stream),
    )
