"""One set of servers for all tests of Flink."""

from collections.abc import Iterator

import pytest

from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError
from tests.flink.servers import flink_servers


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Running servers; a failure to start fails each test with its reason."""
    try:
        with flink_servers() as running:
            yield running
    except LauncherError as error:
        pytest.fail(str(error), pytrace=False)
