"""HTTP as the feature server reads it: whole bodies, whatever a client offers, and nothing without a bound."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
import uvloop

from headrace.serving.server.limits import Guard
from headrace.serving.server.run import HTTP
from tests.waiting import WAIT_S, wait_until

BYTES_MAX = 16 * 1024  # of what is not the body
TOKEN = "Authorization: Bearer secret\r\n"
OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"


async def _echo(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    said = json.dumps({"path": scope["path"], "body": body.decode()}).encode()
    length = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Guard(_echo, bytes_max=1_000_000, token="secret")
        config = uvicorn.Config(app, http=HTTP, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)

        def serve() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(server.serve(sockets=[listening]))

        thread = threading.Thread(target=serve)
        thread.start()
        assert wait_until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def head(path: str = "/v1/asked", *, offer: str = "", length: int | str) -> bytes:
    framing = (
        f"Content-Length: {length}" if isinstance(length, int) else f"Transfer-Encoding: {length}"
    )
    return f"POST {path} HTTP/1.1\r\nHost: here\r\n{TOKEN}{offer}{framing}\r\n\r\n".encode()


class Asking:
    """A connection that sends bytes in pieces, and reads answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = self._socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._socket.sendall(piece)

    def answer(self) -> tuple[int, Any]:
        """Return the status, and what the body says in JSON, if it does."""
        status = int(self._read.readline().split()[1])
        length = 0
        while line := self._read.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        body = self._read.read(length)
        return status, json.loads(body) if body.startswith(b"{") else None

    def close(self) -> None:
        self._read.close()
        self._socket.close()


@pytest.fixture
def asking(port: int) -> Iterator[Asking]:
    opened = Asking(port)
    yield opened
    opened.close()


@pytest.mark.parametrize("cut", [1, 30, 60, 75, 90, -6, -5, -1])
def test_the_body_of_a_client_that_offers_another_protocol_comes_whole(
    asking: Asking, cut: int
) -> None:
    whole = head(offer=OFFER, length=5) + b"whole"
    for _ in range(2):  # also where the connection was used already
        asking.send(head("/v1/before", length=2) + b"ok")
        assert asking.answer() == (200, {"path": "/v1/before", "body": "ok"})
        asking.send(whole[:cut])
        threading.Event().wait(0.005)  # so that it comes in two pieces
        asking.send(whole[cut:])
        assert asking.answer() == (200, {"path": "/v1/asked", "body": "whole"})


def test_a_long_body_comes_whole_in_one_piece_or_in_small_chunks(asking: Asking) -> None:
    text = "x" * 300_000
    asking.send(head(length=len(text)), text.encode())
    assert asking.answer() == (200, {"path": "/v1/asked", "body": text})
    chunks = [b"1\r\nx\r\n"] * 20_000
    asking.send(head(length="chunked"), b"".join(chunks), b"0\r\n\r\n")
    assert asking.answer() == (200, {"path": "/v1/asked", "body": "x" * 20_000})


def test_requests_that_are_sent_at_once_are_answered_in_their_order(asking: Asking) -> None:
    paths = [f"/v1/{name}" for name in "abcde"]
    asking.send(b"".join(head(path, length=1) + b"y" for path in paths))
    assert [asking.answer()[1]["path"] for _ in paths] == paths


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /v1/asked HTTP/1.1\r\nHost: here\r\nX-Long: ",
        b"POST /" + b"a" * 20_000,
        head(length="chunked") + b"1\r\nx\r\n0\r\nX-Trailer: ",
        head(length="chunked") + b"1;extension=",
    ],
)
def test_what_is_not_the_body_has_a_bound(asking: Asking, begun: bytes) -> None:
    asking.send(begun)
    sent = 0
    try:
        while sent < 20 * BYTES_MAX:
            sent += BYTES_MAX // 4
            asking.send(b"a" * (BYTES_MAX // 4))
            threading.Event().wait(0.005)
    except OSError:  # it was closed
        return
    status, _ = asking.answer()
    assert status == 400


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 1",  # for which host?
        "Host: here\r\nHost: there\r\nContent-Length: 1",
        "Host: here\r\nContent-Length: 1\r\nContent-Length: 2",
        "Host: here\r\nContent-Length: 1\r\nTransfer-Encoding: gzip, chunked",
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(asking: Asking, lines: str) -> None:
    asking.send(f"POST /v1/asked HTTP/1.1\r\n{TOKEN}{lines}\r\n\r\nx".encode())
    assert asking.answer()[0] == 400


def test_a_token_that_comes_after_the_body_is_none(asking: Asking) -> None:
    begun = b"POST /v1/asked HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    asking.send(begun + b"1\r\nx\r\n0\r\n" + TOKEN.encode() + b"\r\n")
    assert asking.answer()[0] == 401


def test_a_question_is_answered_though_what_comes_after_it_is_no_request(asking: Asking) -> None:
    asking.send(head(length=1) + b"x" + b"no HTTP\r\n\r\n")
    assert asking.answer() == (200, {"path": "/v1/asked", "body": "x"})
