"""What every engine does, done by Trino."""

from collections.abc import Iterator

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.open import open_engine
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import on_servers, shared_lake
from tests.contract.test_engine import *
from tests.contract.test_engine import Factory

pytestmark = pytest.mark.cluster


@pytest.fixture
def settings(servers: Servers, settings: Settings) -> Settings:
    """The same lake on servers."""
    return on_servers(servers, settings)


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    """An empty lake in the catalog of Trino."""
    with shared_lake(settings) as opened:
        yield opened


@pytest.fixture
def factory(lake: Lake) -> Factory:  # the lake is there before an engine opens it
    assert lake.settings.engine == "trino"
    return open_engine
