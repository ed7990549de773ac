"""A Redis Cluster: one of its nodes is refused, and the keys of a view would be in one slot."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from headrace.errors import OnlineStoreClusterError
from headrace.serving.redis import RedisOnlineStore
from infra.launcher.cluster import free_port
from infra.launcher.redis import program, url
from tests.contract.online_stores import FORMER, NEXT, STATE, row
from tests.raising import refused
from tests.redis_server import redis_server
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow
FURTHER = 10_000  # how much higher a node listens for others
CONNECTIONS = 32_768  # the first port that connections get


@pytest.fixture
def node(tmp_path: Path) -> Iterator[str]:
    """Start a server in cluster mode, which listens for others 10,000 ports higher."""
    port = next(port for port in iter(free_port, 0) if port + FURTHER < CONNECTIONS)
    command = [program(), "--port", str(port), "--cluster-enabled", "yes", "--save", ""]
    server = subprocess.Popen([*command, "--bind", "127.0.0.1"], cwd=tmp_path)
    try:
        with redis.Redis(port=port) as client:
            until_s = time.monotonic() + WAIT_S
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < until_s
                    time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def test_a_node_of_a_cluster_is_refused_by_name_and_nothing_is_written(node: str) -> None:
    with refused(OnlineStoreClusterError, server=node.split("/")[2]):
        RedisOnlineStore(node)
    with redis.Redis.from_url(node) as client:
        assert client.dbsize() == 0


def test_the_keys_of_all_versions_of_a_view_are_in_one_slot(tmp_path: Path) -> None:
    with redis_server(tmp_path) as cluster, RedisOnlineStore(url(cluster)) as store:
        for name in (STATE.view, NEXT, FORMER):
            store.replace(replace(STATE, view=name), [row(1, at=5)])
        store.rename([(STATE.view, FORMER), (NEXT, STATE.view)])
        with redis.Redis.from_url(url(cluster)) as client:
            found = [bytes(key) for key in client.scan_iter()]
        of_view = [key for key in found if STATE.view.encode() in key]
        assert len({key_slot(key) for key in of_view}) == 1
        assert len(found) - len(of_view) == 2  # the format and the names of the views
