"""What Flink SQL cannot say of a contract as a whole; pure."""

from headrace.definitions.sources import KafkaSource
from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError


def source_of(stream: Stream) -> KafkaSource:
    """Return the topic of a contract that SQL can express but for its fields, which are looked at one by one.

    Raises:
        FlinkCannotError: If it cannot.

    """
    source = stream.source
    if not isinstance(source, KafkaSource):
        raise FlinkCannotError(stream.name, f"its source is {source.text}, and not a topic")
    framing = source.kafka.framing
    if stream.format != "avro" and (stream.format != "json" or framing != "none"):
        what = f"values of format `{stream.format}`, framing `{framing}`"
        raise FlinkCannotError(stream.name, what)
    if stream.unknown_fields != "ignore":
        what = f"`unknown_fields: {stream.unknown_fields}` needs all keys of a record"
        raise FlinkCannotError(stream.name, what)
    if stream.time_field is None:
        what = f"`event_time: {stream.event_time}`, of records without a time"
        raise FlinkCannotError(stream.name, what)
    return source
