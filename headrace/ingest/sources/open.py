"""Chooses the source of a stream by what its contract declares; the only importer of the sources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from headrace.config import Settings
from headrace.definitions.base import Declaration
from headrace.definitions.sources import FileSource as DeclaredFiles
from headrace.definitions.sources import KafkaSource as DeclaredTopic
from headrace.definitions.sources import Topic
from headrace.definitions.stream import Stream
from headrace.errors import (
    KafkaMissingError,
    Remedy,
    SettingReason,
    SettingsError,
    UnknownSourceError,
)
from headrace.ingest.sources.base import Records, Source
from headrace.ingest.sources.files import FileSource
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.sources.schema_stores import Registry, SchemaFiles, read_schema
from headrace.ingest.sources.schemas import Schemas, SchemaStore
from headrace.kafka_access import KafkaAccess


def open_source(
    stream: Stream,
    settings: Settings,
    *,
    accepted: Sequence[AcceptedGap] = (),
    answer_s_max: float | None = None,
) -> Source:
    """Return the source that a stream's contract declares; nothing is read or connected yet.

    Args:
        stream: The contract.
        settings: The lake's settings; topics are read from the brokers of its profile.
        accepted: Missing offsets of a topic that the user accepts.
        answer_s_max: How long a server may take for one answer; as long as its source waits by default.

    Raises:
        UnknownSourceError: If this version has no source of the declared kind.
        SettingsError: If the source is a topic, and the profile names no brokers.
        KafkaMissingError: If the Kafka client is not installed.
        SchemaUnavailableError: If the file of a topic's schema cannot be read.

    """
    kind = type(stream.source)
    if kind not in _KINDS:
        raise UnknownSourceError(stream.name, kind=kind.__name__)
    return _KINDS[kind](stream, settings, _Options(accepted=accepted, answer_s_max=answer_s_max))


def sample_of_topic(
    topic: str, settings: Settings, *, records_max: int, answer_s_max: float | None = None
) -> Sequence[Records]:
    """Read records of the beginning, the middle and the end of each partition of a topic.

    Args:
        topic: The topic.
        settings: The lake's settings.
        records_max: About how many records.
        answer_s_max: How long the brokers may take for one answer; 15 s by default.

    Raises:
        SettingsError: If the profile names no brokers.
        KafkaMissingError: If the Kafka client is not installed.
        SourceError: If the topic cannot be read.

    """
    access = _access(settings, f"topic `{topic}` cannot be read")
    try:
        from headrace.ingest.sources.kafka_sample import sample_records
    except ImportError as error:
        raise KafkaMissingError(topic, error.name or "confluent_kafka") from error
    return sample_records(
        topic, access.client_settings(), records_max=records_max, answer_s_max=answer_s_max
    )


def schemas_of_topic(topic: str, settings: Settings) -> Schemas:
    """Return the schemas that framed Avro values of a topic name, from the profile's registry.

    Raises:
        SettingsError: If the profile does not say where the registry is.

    """
    return Schemas(topic=topic, framed=True, store=_registry(topic, settings, serialized=False))


def schemas_of(stream: Stream, settings: Settings) -> Schemas | None:
    """Return the schemas of a topic's values, to decode records kept from it; None if it has none.

    Raises:
        SettingsError: If values name schemas, and the profile does not say where these are.
        SchemaUnavailableError: If the file of a topic's schema cannot be read.

    """
    declared = stream.source
    if not isinstance(declared, DeclaredTopic):
        return None
    return _schemas(stream, declared.kafka, settings)


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What a caller says of a source besides the contract."""

    accepted: Sequence[AcceptedGap]
    answer_s_max: float | None


def _files(stream: Stream, settings: Settings, options: _Options) -> Source:
    _ = options
    return FileSource(stream, data_dir=settings.data_dir)


def _topic(stream: Stream, settings: Settings, options: _Options) -> Source:
    declared = stream.source
    if not isinstance(declared, DeclaredTopic):
        raise UnknownSourceError(stream.name, kind=type(declared).__name__)
    topic = declared.kafka
    access = _access(settings, f"stream `{stream.name}` reads topic `{topic.topic}`")
    try:
        from headrace.ingest.sources.kafka import KafkaSource  # its client is an extra
    except ImportError as error:
        raise KafkaMissingError(topic.topic, error.name or "confluent_kafka") from error
    return KafkaSource(
        topic.topic,
        access.client_settings(),
        accepted=options.accepted,
        answer_s_max=options.answer_s_max,
        schemas=_schemas(stream, topic, settings),
        ignore_tombstones=topic.tombstones == "ignore",
    )


def _access(settings: Settings, what: str) -> KafkaAccess:
    if settings.kafka is None:
        msg = f"{what}, and nothing says where it is"
        advice = "set `kafka_servers` in the profile, or HEADRACE_KAFKA_SERVERS"
        raise SettingsError(
            msg, setting="kafka_servers", reason=SettingReason.MISSING, remedy=Remedy(advice=advice)
        )
    return settings.kafka


def _schemas(stream: Stream, topic: Topic, settings: Settings) -> Schemas | None:
    """Return the schemas of a topic's values; None if they have none."""
    files = settings.declarations
    single = None
    if topic.schema_file is not None:
        single = read_schema(topic.topic, files / topic.schema_file)
    if single is None and topic.framing == "none":
        return None
    return Schemas(
        topic=topic.topic,
        framed=topic.framing == "registry",
        store=_store(stream, topic, settings) if topic.framing == "registry" else None,
        single=single,
        message=topic.message,
    )


def _store(stream: Stream, topic: Topic, settings: Settings) -> SchemaStore | None:
    if topic.schemas:
        named = {each: settings.declarations / file for each, file in topic.schemas.items()}
        return SchemaFiles(topic.topic, named)
    if stream.format == "json":  # the frame is taken off, and the contract decides
        return None
    return _registry(topic.topic, settings, serialized=stream.format == "protobuf")


def _registry(topic: str, settings: Settings, *, serialized: bool) -> Registry:
    access = settings.schema_registry
    if access is None:
        msg = f"values of topic `{topic}` name schemas, and nothing says where these are"
        advice = (
            "set `schema_registry_url` in the profile, HEADRACE_SCHEMA_REGISTRY_URL, or `schemas` in "
            "the contract"
        )
        raise SettingsError(
            msg,
            setting="schema_registry_url",
            reason=SettingReason.MISSING,
            remedy=Remedy(advice=advice),
        )
    password = access.password
    return Registry(
        topic,
        access.url,
        user=access.user,
        password="" if password is None else password.get_secret_value(),
        serialized=serialized,
    )


_KINDS: Mapping[type[Declaration], Callable[[Stream, Settings, _Options], Source]] = (
    MappingProxyType({DeclaredFiles: _files, DeclaredTopic: _topic})
)
