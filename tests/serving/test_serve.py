"""`headrace serve` as a process: requests over a socket, stopped while it is asked."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.errors import ServerAddressError
from headrace.serving.server import run
from headrace.serving.server.app import ServerLimits
from headrace.serving.sqlite import SQLiteOnlineStore
from infra.launcher.cluster import Cluster
from tests.raising import refused
from tests.serving.test_redis import STATE, rows
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow

BODY = {
    "views": [STATE.view],
    "entities": [{"item": 1}, {"item": 2}],
    "at": "2026-01-05T00:00:00Z",
}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text("[profiles.local]\n")
    with SQLiteOnlineStore(tmp_path / ".headrace" / "online.db") as store:
        store.put(STATE, rows(5, 7))
    return tmp_path


def serve(lake: Path, port: int, *options: str) -> "subprocess.Popen[str]":
    """Start a server that gives no request up on a busy machine."""
    patient = ("--port", str(port), "--deadline-ms", "20000")
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("headrace")), "serve", *patient, *options],
        cwd=lake,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def start(lake: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command in this process, where it ends at the latest before it would listen."""

    async def listen(*_: object) -> None:
        """End at once."""

    monkeypatch.setattr(uvicorn.Server, "serve", listen)
    monkeypatch.chdir(lake)
    return lambda *options: CliRunner().invoke(make_app(), ["serve", *options])


def ask(port: int, body: Any = BODY, *, token: str = "") -> tuple[int, Any]:  # noqa: ANN401
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/vectors",
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def offering_http_2(port: int) -> int:
    """Ask as clients do that would rather speak HTTP/2, such as Java's."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAM"}
    offer["content-type"] = "application/json"
    with closing(connection):
        connection.request("POST", "/v1/vectors", json.dumps(BODY), offer)
        return connection.getresponse().status


def wait_until_served(port: int, server: "subprocess.Popen[str]", *, token: str = "") -> None:
    def answers() -> bool:
        assert server.poll() is None
        try:
            ask(port, token=token)
        except urllib.error.URLError:
            return False
        return True

    is_served = wait_until(answers)
    if not is_served:
        server.kill()
    assert is_served


def test_it_is_stopped_while_it_is_asked_and_no_request_fails(lake: Path) -> None:
    port = Cluster(lake / "ports").port("serve")
    server = serve(lake, port)
    wait_until_served(port, server)
    answers: list[tuple[int, Any]] = []
    ended = threading.Event()

    def keep_asking() -> None:
        while True:
            try:
                answers.append(ask(port))
            except (urllib.error.URLError, ConnectionResetError):  # it listens no more
                ended.set()
                return

    assert offering_http_2(port) == 200
    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for each in askers:
        each.start()
    assert wait_until(lambda: len(answers) > 20 or ended.is_set())
    server.send_signal(signal.SIGHUP)  # without a model it has nothing to read again
    assert wait_until(lambda: len(answers) > 200 or ended.is_set())
    assert not ended.is_set()
    server.send_signal(signal.SIGTERM)
    for each in askers:
        each.join(timeout=WAIT_S)
    assert ended.is_set()
    _, told = server.communicate(timeout=WAIT_S)
    assert server.returncode == 0
    assert "Traceback" not in told
    assert {status for status, _ in answers} == {200}
    assert {json.dumps(found["values"]) for _, found in answers} == {"[[7], [7]]"}


def test_a_port_that_is_taken_is_named_and_a_free_one_is_told(
    lake: Path, start: Callable[..., Result]
) -> None:
    server = serve(lake, 0)
    assert server.stderr is not None
    try:
        told = re.match(r"serving on http://127\.0\.0\.1:(\d+);", server.stderr.readline())
        assert told is not None
        port = int(told[1])
        assert ask(port)[0] == 200
        other = start("--port", str(port))
        assert (other.exit_code, other.stderr.count("\n")) == (1, 1)
        assert other.stderr.startswith(f"server-port: port {port} of `127.0.0.1` cannot be")
    finally:
        server.terminate()
        server.communicate(timeout=WAIT_S)


def test_off_loopback_it_wants_a_token_and_asks_for_the_one_it_has(
    lake: Path, start: Callable[..., Result]
) -> None:
    port = Cluster(lake / "ports").port("serve")
    without = start("--port", str(port), "--host", "0.0.0.0")
    assert without.exit_code == 1
    assert "--token-file" in without.stderr
    (lake / "token").write_text("secret\n")
    server = serve(lake, port, "--token-file", "token")
    try:
        wait_until_served(port, server, token="secret")
        assert ask(port)[0] == 401
        assert ask(port, token="secret")[0] == 200
    finally:
        server.terminate()
        server.communicate(timeout=WAIT_S)


def test_each_address_of_a_name_is_served_at_one_port(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of loopback have two addresses on many hosts, and one of IPv6 that the host may lack."""
    served: list[tuple[str, int]] = []

    async def note(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        served.extend(each.getsockname() for each in sockets)

    def named(_: str, port: int, **__: Any) -> list[Any]:  # noqa: ANN401  (of `socket.getaddrinfo`)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (each, port)) for each in ("192.0.2.1", "127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(uvicorn.Server, "serve", note)
    monkeypatch.setattr(socket, "getaddrinfo", named)
    settings = Settings.load(env={}, path=lake / "lake" / "lake.toml")
    run.serve(settings, host="localhost", port=0, model=None, limits=ServerLimits())
    (first, port), (second, same) = served
    assert ((first, second), port) == (("127.0.0.2", "127.0.0.1"), same)


def test_with_a_token_an_address_off_loopback_is_served(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens there in the test: it ends where uvicorn would begin."""
    hosts: list[str] = []

    async def note(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        hosts.append(sockets[0].getsockname()[0])

    monkeypatch.setattr(uvicorn.Server, "serve", note)
    settings = Settings.load(env={}, path=lake / "lake" / "lake.toml")
    limits = ServerLimits(token="secret")
    run.serve(settings, host="0.0.0.0", port=0, model=None, limits=limits)
    with refused(ServerAddressError):
        run.serve(settings, host="0.0.0.0", port=0, model=None, limits=ServerLimits())
    assert hosts == ["0.0.0.0"]
