"""A contract drafted from a real broker's topic and a real registry's schema, by the command."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from headrace.cli.main import make_app
from infra.launcher import kafka
from infra.launcher.cluster import Cluster
from tests.cluster.kafka_topics import Topic, brokers
from tests.cluster.test_kafka import register
from tests.ingest.decoding.test_topic_values import TIME_US, avro, framed

pytestmark = pytest.mark.cluster

SCHEMA = {
    "type": "record",
    "name": "Shown",
    "fields": [
        {"name": "shownId", "type": "string"},
        {"name": "shownAt", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": ["null", "double"]},
    ],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with brokers() as running:
        yield running


def test_a_topic_of_avro_is_drafted_written_and_taken_whole(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic.make(cluster, partitions=2)
    number = register(cluster, f"{topic.name}-value", {"schema": json.dumps(SCHEMA)})
    for partition in range(2):
        rows = [
            {"shownId": f"{partition}-{at}", "shownAt": TIME_US + at, "price": None if at else 0.5}
            for at in range(30)
        ]
        some = [framed(number, avro(SCHEMA, each)) for each in rows]
        topic.send(topic.producer(), some, partition=partition)
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    (tmp_path / "lake" / "lake.toml").write_text(
        'profile = "p"\n[profiles.p]\n'
        f'kafka_servers = "{kafka.servers(cluster)}"\n'
        f'schema_registry_url = "{kafka.SchemaRegistry().address(cluster)}"\n'
    )
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    for name in ("HEADRACE_KAFKA_SERVERS", "HEADRACE_SCHEMA_REGISTRY_URL"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    done = runner.invoke(make_app(), ["streams", "infer", topic.name, "--name", "shown", "--write"])
    assert done.exit_code == 0, done.output
    file = tmp_path / "lake" / "streams" / "shown.yaml"
    said = yaml.safe_load(file.read_text())
    assert (said["format"], said["event_time"], said["key"]) == ("avro", "shown_at", "shown_id")
    assert said["source"] == {"kafka": {"topic": topic.name, "framing": "registry"}}
    done = runner.invoke(make_app(), ["ingest", "run", "shown", "--output", "json"])
    assert done.exit_code == 0, done.output
    done = runner.invoke(make_app(), ["ingest", "status", "shown", "--output", "json"])
    (status,) = json.loads(done.stdout)
    assert (status["rows"], status["dead_letters"], status["waiting"]) == (60, 0, 0)
    assert runner.invoke(make_app(), ["ingest", "audit", "shown"]).exit_code == 0
