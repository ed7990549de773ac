"""One set of servers for all tests of Flink."""

import uuid
from collections.abc import Iterator

import pytest

from headrace.api import Lake
from headrace.flink.session import SESSION
from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError
from tests.flink.contracts import EVERY_TYPE
from tests.flink.events import Followed
from tests.flink.servers import cancel_all, flink_servers
from tests.flink.streams import Written, settings_of

SENT = {name: EVERY_TYPE[name] for name in ("id", "at")}


@pytest.fixture(scope="session", autouse=True)
def quick_checkpoints() -> Iterator[None]:
    """Let jobs commit every two seconds: tests wait for their commits, dozens of times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SESSION, "execution.checkpointing.interval", "2 s")
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Running servers; a failure to start fails each test with its reason."""
    try:
        with flink_servers() as running:
            yield running
    except LauncherError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def flink_lake(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """An empty lake on the servers."""
    with Lake.open(settings_of(cluster, tmp_path_factory.mktemp("lake"))) as opened:
        yield opened


@pytest.fixture
def written(
    flink_lake: Lake, cluster: Cluster, request: pytest.FixtureRequest
) -> Iterator[Written]:
    """A stream of a topic, by default of the fields that it sends; its job is cancelled afterwards.

    Each field is planned for a second at each start of the job.
    """
    made = Written.make(flink_lake, cluster, fields=getattr(request, "param", SENT))
    yield made
    cancel_all(made.job.manager, f"headrace {made.stream.name} ")


@pytest.fixture
def followed(flink_lake: Lake, cluster: Cluster) -> Iterator[Followed]:
    """A table of events and a view of it; its jobs are cancelled afterwards."""
    made = Followed.make(flink_lake, cluster, f"p{uuid.uuid4().hex[:10]}")
    yield made
    cancel_all(made.job.manager, f"headrace features.{made.stream.name}")
