"""Chooses the source of a stream by what its contract declares; the only importer of the sources."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from headrace.config import Settings
from headrace.definitions.base import Declaration
from headrace.definitions.sources import FileSource as DeclaredFiles
from headrace.definitions.sources import KafkaSource as DeclaredTopic
from headrace.definitions.stream import Stream
from headrace.errors import KafkaMissingError, Remedy, SettingsError, UnknownSourceError
from headrace.ingest.sources.base import Source
from headrace.ingest.sources.files import FileSource
from headrace.ingest.sources.holes import AcceptedGap


def open_source(
    stream: Stream, settings: Settings, *, accepted: Sequence[AcceptedGap] = ()
) -> Source:
    """Return the source that a stream's contract declares; nothing is read or connected yet.

    Args:
        stream: The contract.
        settings: The lake's settings; topics are read from the brokers of its profile.
        accepted: Missing offsets of a topic that the user accepts.

    Raises:
        UnknownSourceError: If this version has no source of the declared kind.
        SettingsError: If the source is a topic, and the profile names no brokers.
        KafkaMissingError: If the Kafka client is not installed.

    """
    kind = type(stream.source)
    if kind not in _KINDS:
        raise UnknownSourceError(stream.name, kind=kind.__name__)
    return _KINDS[kind](stream, settings, accepted)


def _files(stream: Stream, settings: Settings, accepted: Sequence[AcceptedGap]) -> Source:
    _ = accepted
    return FileSource(stream, data_dir=settings.data_dir)


def _topic(stream: Stream, settings: Settings, accepted: Sequence[AcceptedGap]) -> Source:
    declared = stream.source
    if not isinstance(declared, DeclaredTopic):
        raise UnknownSourceError(stream.name, kind=type(declared).__name__)
    topic = declared.kafka
    if settings.kafka is None:
        msg = f"stream `{stream.name}` reads topic `{topic.topic}`, and nothing says where it is"
        advice = "set `kafka_servers` in the profile, or HEADRACE_KAFKA_SERVERS"
        raise SettingsError(msg, remedy=Remedy(advice=advice))
    try:
        from headrace.ingest.sources.kafka import KafkaSource  # its client is an extra
    except ImportError as error:
        raise KafkaMissingError(topic.topic, error.name or "confluent_kafka") from error
    return KafkaSource(topic.topic, settings.kafka.client_settings(), accepted=accepted)


_KINDS: Mapping[type[Declaration], Callable[[Stream, Settings, Sequence[AcceptedGap]], Source]] = (
    MappingProxyType({DeclaredFiles: _files, DeclaredTopic: _topic})
)
