"""One cluster for a run, started by the launcher and stopped at its end, and a namespace for each test."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from typing_extensions import override
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from infra.launcher import run
from infra.launcher.cluster import ROOT, Cluster
from infra.launcher.errors import LauncherError
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import reading_files

# a cluster that runs already, for while you edit a test: starting one takes half a minute
RUNNING = "HEADRACE_TEST_CLUSTER"


# Kafka's tests start it alone: they need none of the others
_APART = ("kafka", "schemas")
TESTED = tuple(each.name for each in run.wanted(_APART))


class _OneCluster(LoadFileScheduling):
    """Gives one worker all files that need the cluster: each that has some would start its own."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "cluster" if _needs_cluster(file) else file


@cache
def _needs_cluster(file: str) -> bool:
    return Servers.__module__ in (ROOT / file).read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _OneCluster:
    """Choose how tests come to workers."""
    return _OneCluster(config, log)


@pytest.fixture(scope="session")
def running_servers() -> Iterator[Servers]:
    """All servers, started once; a failure to start fails each test with the end of the log."""
    with _cluster() as cluster, _own_servers_only(), reading_files():
        said: list[str] = []
        try:
            run.up(cluster, run.wanted(_APART), say=said.append)
            servers = Servers(cluster)
            begin(servers)
            yield servers
        except LauncherError as error:
            pytest.fail("\n".join([*said, str(error)]), pytrace=False)
        finally:
            if RUNNING not in os.environ:
                run.down(cluster, say=said.append)


def begin(servers: Servers) -> None:
    """Start from an empty lake: a run that was killed leaves tables, which a lake takes for another's."""
    servers.clear()


@pytest.fixture
def servers(running_servers: Servers) -> Servers:
    """All servers, running: what an earlier test stopped is started again."""
    if any(running_servers.cluster.pid(name) is None for name in TESTED):
        running_servers.start_all()
    return running_servers


@pytest.fixture
def catalog(servers: Servers) -> Iterator[SqlCatalog]:
    """The catalog that Trino reads, opened by PyIceberg alone."""
    opened = servers.catalog()
    yield opened
    opened.close()


@pytest.fixture
def namespace(catalog: SqlCatalog) -> Iterator[str]:
    """A namespace of this test's own; what it holds is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    catalog.create_namespace(name)
    yield name
    for table in catalog.list_tables(name):
        catalog.purge_table(table)
    catalog.drop_namespace(name)


@contextlib.contextmanager
def _cluster() -> Generator[Cluster]:
    """Choose the folder: a new one, in which no other run's servers are, or that of `RUNNING`."""
    if RUNNING in os.environ:
        yield Cluster(Path(os.environ[RUNNING]).absolute())
        return
    # not pytest's folder: the user that PostgreSQL runs as may not enter that one
    with tempfile.TemporaryDirectory(prefix="headrace-cluster-") as made:
        yield Cluster(Path(made) / "cluster")


@contextlib.contextmanager
def _own_servers_only() -> Generator[None]:
    """Forget servers that the environment names: these tests write to theirs and stop them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in TESTED:
            patch.delenv(f"HEADRACE_{name.upper()}_URL", raising=False)
        yield
