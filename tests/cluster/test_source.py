"""What every source promises, with a real broker, the catalog on PostgreSQL and the files on S3."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from headrace.config import Settings
from infra.launcher import kafka
from infra.launcher.cluster import Cluster
from tests.cluster.kafka_topics import Topic, brokers
from tests.conftest import ROOT
from tests.contract.source_worlds import Files, Kafka, World
from tests.contract.test_source import *
from tests.postgres import postgres
from tests.s3 import S3Place, s3_server
from tests.servers import new_database

pytestmark = pytest.mark.cluster


class RealTopic(Kafka):
    """A topic of a broker that runs in the test's cluster."""

    cluster: Cluster

    @property
    @override
    def servers(self) -> str:
        return kafka.servers(self.cluster)

    @override
    def create(self, *, partitions: int) -> str:
        return Topic.make(self.cluster, partitions=partitions).name

    @override
    def send(self, values: list[bytes], *, partition: int) -> None:
        topic = Topic(self.cluster, self._topic)
        topic.send(topic.producer(), values, partition=partition)


@pytest.fixture(scope="module")
def broker() -> Iterator[Cluster]:
    with brokers() as running:
        RealTopic.cluster = running
        yield running


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Place]:
    with s3_server() as made:
        yield made


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture(params=[Files, RealTopic], ids=["files", "kafka"])
def make_world(request: pytest.FixtureRequest, broker: Cluster) -> Callable[[Path], World]:
    _ = broker
    return request.param


@pytest.fixture
def settings(tmp_path: Path, bucket: S3Place, database: str) -> Iterator[Settings]:
    """An empty lake of the test's own: nothing of it is a file of this host but its source files."""
    with new_database(database) as uri:
        env = {
            "HEADRACE_STATE_DIR": str(tmp_path / "state"),
            "HEADRACE_CATALOG_URI": uri.render_as_string(hide_password=False),
            **bucket.below("source").environment,
        }
        found = Settings.load(env=env, path=ROOT / "lake" / "lake.toml")
        assert found.catalog_server is not None
        assert found.registry_server is not None
        assert found.warehouse_uri.startswith("s3://")
        yield found
