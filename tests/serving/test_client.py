"""The Python client against a server: values, refusals by name, and a server that went away."""

import datetime as dt
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.errors import ServerAnswerError
from headrace.serving.client import ServingClient
from infra.launcher.cluster import Cluster
from tests.raising import refused
from tests.serving.test_redis import STATE
from tests.serving.test_serve import lake, serve, wait_until_served

__all__ = ["lake"]  # a fixture
pytestmark = pytest.mark.slow
AT = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


@pytest.fixture
def port(lake: Path) -> int:
    return Cluster(lake / "ports").port("serve")


@pytest.fixture
def server(lake: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    server = serve(lake, port)
    wait_until_served(port, server)
    yield server
    if server.poll() is None:
        server.terminate()
    server.communicate()


def test_it_looks_up_is_refused_by_name_and_outlives_its_connection(
    lake: Path, port: int, server: "subprocess.Popen[str]"
) -> None:
    with ServingClient(f"http://127.0.0.1:{port}", deadline_s=20) as client:
        assert client.ready() == ()
        found = client.vectors([{"item": 1}, {"item": 9}], views=[STATE.view], at=AT)
        assert found["values"] == [[7], [None]]
        with refused(ServerAnswerError, status=422, kind="entity-key"):
            client.vectors([{"item": "one"}], views=[STATE.view])
        with refused(ServerAnswerError, status=404, kind="model-not-loaded", retryable=False):
            client.rank([{"item": 1}], context={"position": 1})
        with refused(ServerAnswerError, status=422):
            client.score([])
        server.terminate()
        server.wait()
        with refused(ServerAnswerError, status=None, retryable=True):
            client.ready()
        other = serve(lake, port)
        try:
            wait_until_served(port, other)
            assert client.vectors([{"item": 2}], views=[STATE.view])["values"] == [[7]]
        finally:
            other.terminate()
            other.communicate()


def test_a_server_that_does_not_answer_in_time_is_given_up_and_its_reply_with_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with ServingClient(url, deadline_s=0.01) as client:
            for _ in range(2):  # each on a connection of its own: none is left to read from
                with refused(ServerAnswerError, status=None, retryable=True):
                    client.ready()
                listening.accept()[0].close()
