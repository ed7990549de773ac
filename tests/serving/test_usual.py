"""Requests that are read at once are answered as h11 has them answered, whatever comes before and behind."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from headrace.serving.server.limits import Guard
from headrace.serving.server.usual import UsualProtocol
from tests.amounts import examples

BYTES_MAX = 200
LINES = ("Host: here", "Content-Length: 5", "Authorization: Bearer secret")
USUAL = "\r\n".join(("POST /v1/vectors HTTP/1.1", *LINES, "", "whole")).encode()
REFUSED = USUAL.replace(b"secret", b"another")  # before its body is read
CHUNKED = re.compile(
    rb"transfer-encoding: chunked\r\n\r\n[0-9a-f]+\r\n(.*?)\r\n0\r\n\r\n", re.DOTALL
)


async def _echo(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  (of ASGI)
    message = await receive()
    if message["body"] == b"fails":
        raise ValueError
    named = ("http_version", "method", "path", "raw_path", "query_string", "headers", "scheme")
    said = json.dumps([message["body"].decode("latin1"), [repr(scope[each]) for each in named]])
    headers = [(b"content-length", str(len(said)).encode()), (b"content-type", b"text/plain")]
    if message["body"] == b"close":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said.encode()})


APP = Guard(_echo, bytes_max=BYTES_MAX, token="secret")
CONFIG = uvicorn.Config(APP, lifespan="off", log_config=None, timeout_keep_alive=60)
CONFIG.load()


class Transport(asyncio.Transport):
    """A connection in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.closed, self.paused = b"", False, False

    def write(self, data: Any) -> None:  # noqa: ANN401  (of a transport)
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def answered(kind: type[H11Protocol], pieces: Sequence[bytes]) -> tuple[bytes, bool, int]:
    """Return what is sent for pieces that come one after the other, whether it ends, and what is counted."""

    async def ask() -> tuple[bytes, bool, int]:
        state, transport = ServerState(), Transport()
        protocol = kind(CONFIG, state, {})
        protocol.connection_made(transport)
        for piece in pieces:
            await _settled()
            if not (transport.closed or transport.paused):
                protocol.data_received(piece)
        await _settled()
        # an answer without a length may end with an empty chunk or only where the connection does
        sent = CHUNKED.sub(rb"\r\n\1", transport.sent.lower())
        found = sent, transport.closed, state.total_requests
        transport.close()
        protocol.connection_lost(None)
        await asyncio.gather(*state.tasks)
        return found

    return asyncio.run(ask())


async def _settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


_LENGTHS = (
    "5",
    "05",
    "0",
    "11",
    "300",
    "0000005",
    " 5",
    "5 ",
    "5, 5",
    "+5",
    "-5",
    "5_0",
    "five",
    "",
)
_LINES = (
    *(f"Content-Length: {length}" for length in _LENGTHS),
    *("Host: here", "host: there", "Host:here", "Host: ", "Host:  here", "Host : here", " folded"),
    *(
        "Connection: close",
        "Connection: keep-alive",
        "Connection: Keep-Alive",
        "connection: upgrade",
    ),
    *(
        "Transfer-Encoding: chunked",
        "transfer-encoding: gzip",
        "Expect: 100-continue",
        "TE: trailers",
    ),
    *(
        "Upgrade: h2c",
        "Trailer: x",
        "x-any: a: b, c",
        "X_any: 1",
        "x-tab: a\tb",
        "x-high: \xe9",
        "x-nul: \0",
    ),
    *(
        "Authorization: Bearer secret",
        "authorization:",
        "x-long: " + "a" * 9_000,
        "no colon",
        ": none",
    ),
)
_FIRST = (
    *("POST /v1/vectors HTTP/1.1", "POST /v1/rank HTTP/1.1", "POST /v1/none HTTP/1.1"),
    *("POST /v1/vectors HTTP/1.0", "POST  /v1/vectors HTTP/1.1", "post /v1/vectors HTTP/1.1"),
    *(
        "POST /v1/vect%6frs HTTP/1.1",
        "POST /v1/vectors?a=b HTTP/1.1",
        "POST /v1/../v1/rank HTTP/1.1",
    ),
    *(
        "POST http://here/v1/rank HTTP/1.1",
        "GET /v1/vectors HTTP/1.1",
        "HEAD /healthz HTTP/1.1",
        "",
    ),
)
_ENDS = ("\r\n", "\r\n", "\r\n", "\n", "\r")
_BODIES = ("whole", "fails", "close", "", "whole and more", "5\r\nwhole\r\n0\r\n\r\n", "a" * 300)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """A usual request in most of its parts."""
    usual = draw(st.sampled_from((True, True, False)))
    first = draw(st.sampled_from(_FIRST[:3] if usual else _FIRST))
    lines = list(LINES[: draw(st.sampled_from((3, 3, 3, 2)))] if usual else ())
    lines += draw(st.lists(st.sampled_from(_LINES), max_size=2 if usual else 4))
    end = "\r\n" if usual else draw(st.sampled_from(_ENDS))
    head = end.join((first, *draw(st.permutations(lines)), "", ""))
    return (head + draw(st.sampled_from(_BODIES))).encode("latin1")


@st.composite
def _sent(draw: st.DrawFn) -> tuple[bytes, ...]:
    whole = b"".join(draw(st.lists(_requests(), min_size=1, max_size=3)))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    return tuple(whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=examples(20_000, few=200), deadline=None)
@example(pieces=(USUAL,))
@example(pieces=(USUAL[:-5], USUAL[-5:-2], USUAL[-2:]))
@example(pieces=(USUAL + USUAL[:20], USUAL[20:] + b"no HTTP\r\n\r\n"))
@example(pieces=(REFUSED[:-3], REFUSED[-3:-1], REFUSED[-1:] + USUAL))
@given(pieces=_sent())
def test_what_is_sent_is_answered_as_h11_has_it_answered(pieces: tuple[bytes, ...]) -> None:
    assert answered(UsualProtocol, pieces) == answered(H11Protocol, pieces)


def test_h11_sees_nothing_of_usual_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved would be gone, unsaid, if it did."""
    monkeypatch.setattr("h11.Connection.receive_data", None)
    sent, ended, count = answered(UsualProtocol, [USUAL, USUAL[:-2], USUAL[-2:] + REFUSED + USUAL])
    assert (sent.count(b"200 ok"), sent.count(b"401"), ended, count) == (3, 1, False, 4)
