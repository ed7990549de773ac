"""Declared sources: files or a topic, each with its own rules."""

from typing import Any

import pytest
from pydantic import ValidationError

from headrace.definitions.sources import KafkaSource
from tests.ingest.factories import make_stream


def test_a_topic_is_declared_by_its_name_alone() -> None:
    stream = make_stream("json", source={"kafka": {"topic": "things"}})
    assert isinstance(stream.source, KafkaSource)
    assert (stream.source.kafka.framing, stream.source.kafka.tombstones) == ("none", "dead_letter")
    assert stream.source.text == "topic things"


@pytest.mark.parametrize(
    ("format_", "topic", "wrong"),
    [
        ("json", {"topic": "no such/topic"}, "not the name of a topic"),
        ("json", {"topic": "things", "tombstones": "delete"}, "dead_letter"),
        ("json", {"topic": "things", "schemas": {1: "a.json"}}, "framing: none"),
        ("avro", {"topic": "things"}, "schema_file"),
        ("protobuf", {"topic": "things", "framing": "registry"}, "message"),
        ("parquet", {"topic": "things"}, "not a format of topics"),
    ],
)
def test_what_a_topic_cannot_be_is_refused(format_: str, topic: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        make_stream("json", source={"kafka": topic}, format=format_)


def test_files_have_no_formats_of_topics() -> None:
    with pytest.raises(ValidationError, match="not a format of files"):
        make_stream("json", format="avro")
