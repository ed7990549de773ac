"""Each kind of online store, as the tests of their contract open them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.serving.redis import RedisOnlineStore
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineStore
from infra.launcher.redis import url
from tests.contract.online_stores import Factory
from tests.redis_server import redis_server


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as cluster:
        yield url(cluster)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    """Make a factory: each call opens the same store again."""
    if request.param == "sqlite":
        return lambda: SQLiteOnlineStore(tmp_path / "online.db")
    address = request.getfixturevalue("redis_url")
    return lambda: RedisOnlineStore(address, prefix=str(tmp_path), batch_rows=50)


@pytest.fixture
def store(reopen: Factory) -> Iterator[OnlineStore]:
    opened = reopen()
    yield opened
    opened.close()
