"""A sample of a topic for a draft: values of the beginning, middle and end of each partition."""

from collections.abc import Sequence

from headrace.config import Settings
from headrace.errors import DraftError
from headrace.ingest.decoding.frames import HEAD_BYTES
from headrace.ingest.sampling import Sample
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.open import sample_of_topic, schemas_of_topic

RECORDS_MAX = 30_000


def topic_sample(topic: str, settings: Settings) -> Sample:
    """Read a sample of a topic of JSON values, plain or behind the ids of schemas, or of Avro ones.

    Raises:
        DraftError: If it has no value, or values of another format.
        SourceError: If it cannot be read.
        SettingsError: If the profile names no brokers, or no registry for the ids of Avro schemas.

    """
    records = sample_of_topic(topic, settings, records_max=RECORDS_MAX)
    if _is_framed(values := _values_of(records)) and not _are_json(_bodies(values)):
        from headrace.ingest.avro_sampling import avro_sample  # its libraries are an extra

        return avro_sample(topic, records, schemas_of_topic(topic, settings))
    return sample_of_records(topic, records)


def sample_of_records(topic: str, records: Sequence[Records]) -> Sample:
    """Make a sample of records: tell their format, and leave out those without a value. Pure.

    Raises:
        DraftError: If none has a value, or their values are of another format than JSON.

    """
    values = _values_of(records)
    if not values:
        raise DraftError(topic, detail="it has no record with a value")
    framed = _is_framed(values)
    bodies = _bodies(values) if framed else values
    if not _are_json(bodies):
        detail = (
            "not all values are JSON objects, nor do all name a schema of the registry; write the "
            "contract by their schema, with `schema_file`"
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


def _values_of(records: Sequence[Records]) -> list[bytes]:
    return [
        value
        for each in records
        for place, value in enumerate(each.lines)
        if place not in each.tombstones
    ]


def _is_framed(values: Sequence[bytes]) -> bool:
    return bool(values) and all(len(value) > HEAD_BYTES and not value[0] for value in values)


def _bodies(values: Sequence[bytes]) -> list[bytes]:
    return [value[HEAD_BYTES:] for value in values]


def _are_json(bodies: Sequence[bytes]) -> bool:
    return all(each.lstrip().startswith(b"{") for each in bodies)


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
