"""A sample of a topic for a draft: values of the beginning, middle and end of each partition."""

from collections.abc import Sequence

from headrace.config import Settings
from headrace.errors import DraftError
from headrace.ingest.sampling import Sample
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.open import sample_of_topic

RECORDS_MAX = 30_000
_HEAD_BYTES = 5  # a zero byte and the id of a schema


def topic_sample(topic: str, settings: Settings) -> Sample:
    """Read a sample of a topic of JSON values, plain or behind the ids of schemas.

    Raises:
        DraftError: If it has no value, or values of another format.
        SourceError: If it cannot be read.
        SettingsError: If the profile names no brokers.

    """
    return sample_of_records(topic, sample_of_topic(topic, settings, records_max=RECORDS_MAX))


def sample_of_records(topic: str, records: Sequence[Records]) -> Sample:
    """Make a sample of records: tell their format, and leave out those without a value. Pure.

    Raises:
        DraftError: If none has a value, or their values are of another format than JSON.

    """
    values = [
        value
        for each in records
        for place, value in enumerate(each.lines)
        if place not in each.tombstones
    ]
    if not values:
        raise DraftError(topic, detail="it has no record with a value")
    framed = all(len(value) > _HEAD_BYTES and not value[0] for value in values)
    bodies = [value[_HEAD_BYTES:] for value in values] if framed else values
    other = next((each for each in bodies if not each.lstrip().startswith(b"{")), None)
    if other is not None:
        detail = (
            "not all values are JSON objects; of Avro and Protobuf the schema says more than a sample: "
            "write the contract by it, with `framing` or `schema_file`"
        )
        raise DraftError(topic, detail=detail)
    return Sample(
        format="json",
        files=(),
        lines=tuple(bodies),
        topic=topic,
        framed=framed,
        tombstones=sum(len(each.tombstones) for each in records),
    )


def topic_of(sample: Sample) -> dict[str, str]:
    """Return the declaration of a sample's topic."""
    said = {"topic": str(sample.topic)}
    if sample.framed:
        said["framing"] = "registry"
    if sample.tombstones:
        said["tombstones"] = "ignore"
    return said


def remarks(sample: Sample) -> list[str]:
    """Say what was guessed of a topic."""
    found: list[str] = []
    if sample.framed:
        found.append("framing is a guess: every value begins with a zero byte and four more")
    if sample.tombstones:
        found.append(f"tombstones are left out: {sample.tombstones:,} of the sample have no value")
    return found
