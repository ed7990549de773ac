"""Flink takes Avro, plain and behind ids of a registry: the same rows and dead letters as headrace."""

import json
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.health import CHANGED
from headrace.ingest.owner import FLINK
from headrace.ingest.watermark import Watermark
from infra.launcher import kafka
from infra.launcher.cluster import Cluster
from tests.cluster.kafka_topics import Topic
from tests.flink.avro_records import FIELDS, LATER, SCHEMA, framed_values, plain_values
from tests.flink.contracts import contract
from tests.flink.servers import cancel_all, start
from tests.flink.streams import Written, settings_of

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]


def avro_streams(lake: Lake, topic: Topic, **source: Any) -> tuple[Written, Written]:  # noqa: ANN401
    """Return a stream for Flink, and another one of the same topic for headrace."""
    fields = (
        FIELDS if "framing" in source else {name: FIELDS[name] for name in ("id", "at", "large")}
    )
    more = {
        "format": "avro",
        "source": {"kafka": {"topic": topic.name, **source}},
        "fields": fields,
        "known_at": {"after_event": "0s"},
    }
    first, second = (contract(name, **more) for name in (topic.name, f"p_{topic.name}"))
    return Written(lake, topic, first), Written(lake, topic, second)


def register(cluster: Cluster, topic: str, schema: Mapping[str, Any]) -> int:
    url = f"{kafka.SchemaRegistry().address(cluster)}/subjects/{topic}-value/versions"
    body = json.dumps({"schema": json.dumps(schema)}).encode()
    request = urllib.request.Request(url, data=body, method="POST")
    request.add_header("Content-Type", "application/vnd.schemaregistry.v1+json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.loads(answer.read())["id"])


def same_as_headrace(found: Written, wanted: Written) -> None:
    wanted.by_headrace()
    # as texts: 0.0 and -0.0 are equal
    assert list(map(str, found.rows().to_pylist())) == list(map(str, wanted.rows().to_pylist()))
    apart = ("stream", "recorded_at", "reason")
    for letter, other in zip(found.letters(), wanted.letters(), strict=True):
        assert {key: letter[key] for key in letter if key not in apart} == {
            key: other[key] for key in other if key not in apart
        }
    reached = [
        Watermark.read(each.lake.table(each.stream.table).head().properties).reached_us
        for each in (found, wanted)
    ]
    assert reached[0] == reached[1]
    assert reached[0] is not None


def test_rows_and_dead_letters_of_avro_are_those_of_headrace(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    start(cluster, "schemas")
    settings = settings_of(cluster, tmp_path_factory.mktemp("avro"))
    schema: Path = settings.declarations / "things.avsc"
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(json.dumps(LATER))
    with Lake.open(settings) as lake:
        plain, framed = (
            Topic(cluster, f"{kind}{uuid.uuid4().hex[:10]}") for kind in ("plain", "framed")
        )
        for topic in (plain, framed):
            topic.create(partitions=2)
        ids = [register(cluster, framed.name, each) for each in (SCHEMA, LATER)]
        sent = (plain_values(), framed_values(*ids))
        streams = (
            avro_streams(lake, plain, schema_file=schema.name),
            avro_streams(lake, framed, framing="registry"),
        )
        for (each, _), (good, bad) in zip(streams, sent, strict=True):
            producer = each.topic.producer()
            each.topic.send(producer, [*good, *bad], key=b"k", partition=1)
            producer.produce(each.topic.name, None, key=b"gone", partition=1)
            producer.flush(30)
        try:
            for each, _ in streams:
                assert to_flink(each.job).owner == FLINK
            for (each, by_headrace), (good, bad) in zip(streams, sent, strict=True):
                each.note_until(len(good) + len(bad) + 1)
                assert each.counts() == (len(good), len(bad) + 1)
                same_as_headrace(each, by_headrace)
            newer = {**LATER, "fields": [*LATER["fields"], {"name": "x", "type": "long"}]}
            register(cluster, framed.name, newer)
            health = streams[1][0].job.status().health
            assert health is not None
            assert CHANGED in health.faults
            to_headrace(streams[1][0].job)
        finally:
            for each, _ in streams:
                cancel_all(each.job.manager, f"headrace {each.stream.name} ")
