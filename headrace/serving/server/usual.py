"""Reads usual requests at once, and leaves the connections of all others to `h11`."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from uvicorn.protocols.http.flow_control import CLOSE_HEADER, HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol, RequestResponseCycle

from headrace.serving.server.limits import QUESTIONS

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
_HEAD_BYTES_MAX = 8 * 1024
# One form of what HTTP allows in several.
_HEAD = re.compile(
    rb"POST (?P<path>" + QUESTIONS.encode() + rb"/[a-z]+) HTTP/1\.1\r\n"
    rb"(?P<lines>(?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,6}")
# they say where a body ends, or ask for more than an answer
_ODD = frozenset({b"connection", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_KEPT_OPEN = (b"connection", b"keep-alive")
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, phrase) for status, phrase in STATUS_PHRASES.items()
}


class UsualProtocol(H11Protocol):
    """A connection of which h11 sees nothing, up to the first request that is not a usual one.

    A usual request is a question with one host, one length, and no header that changes how it is read;
    its head comes in one piece. From any other byte on, h11 reads the connection to its end, as if it
    always had: it says what is wrong with a request, and knows all other forms.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (as uvicorn calls it)
        super().__init__(*args, **kwargs)
        self._is_usual, self._held = True, b""
        self._asked: _Cycle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what a client sent."""
        if self._is_usual:
            self._unset_keepalive_if_required()
            self._held += data
            self._read()
        else:
            super().data_received(data)

    def on_response_complete(self) -> None:
        """Go on with what came behind the request that is answered."""
        super().on_response_complete()
        if self._is_usual and not self.transport.is_closing():
            self._read()

    def _read(self) -> None:
        while self._held:
            if self._asked is not None and self._asked.left:
                self._held = self._asked.take(self._held)
            elif self._asked is not None and not self._asked.response_complete:
                self.flow.pause_reading()
                return
            else:
                self._unset_keepalive_if_required()
                self._begin()

    def _begin(self) -> None:
        """Begin the next request, or let h11 have it and all that follows."""
        found = _HEAD.match(self._held, 0, _HEAD_BYTES_MAX)
        headers = [] if found is None else _headers(found["lines"])
        if found is None or not headers:
            held, self._held, self._is_usual = self._held, b"", False
            super().data_received(held)
            return
        self._held = self._held[found.end() :]
        self.cycle = self._asked = _Cycle(self, found["path"], headers)
        app: Any = self.app  # uvicorn's types leave open of which version of ASGI it is
        task = self.loop.create_task(self._asked.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)


class _Cycle(RequestResponseCycle):
    """A usual request and its answer; `left` bytes of its body are still to come."""

    def __init__(self, connection: UsualProtocol, path: bytes, headers: Headers) -> None:
        scope: Any = {
            "type": "http",
            "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": connection.server,
            "client": connection.client,
            "scheme": connection.scheme or "http",
            "method": "POST",
            "root_path": connection.root_path,
            "path": connection.root_path + path.decode(),
            "raw_path": connection.root_path.encode() + path,
            "query_string": b"",
            "headers": headers,
            "state": connection.app_state.copy(),
        }
        super().__init__(
            scope=scope,
            conn=connection.conn,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=connection.on_response_complete,
        )
        self.left = next(int(value) for name, value in headers if name == b"content-length")
        self._head = b""
        self.take(b"")

    def take(self, data: bytes) -> bytes:
        """Take more of the body, and return what comes behind it."""
        part = data[: self.left]
        self.left -= len(part)
        if not self.response_complete:  # one that was refused before has no use for more
            self.body += part
            self.more_body = self.left > 0
            if len(self.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            self.message_event.set()
        return data[len(part) :]

    async def send(self, message: Any) -> None:  # noqa: ANN401  (of ASGI)
        """Send an answer: its head in one piece with its body, or with the first part of it."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.response_started = True
            self._head = self._head_of(message["status"], message["headers"])
            return
        self.transport.write(self._head + message["body"])
        self._head = b""
        if message.get("more_body"):
            return
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _head_of(self, status: int, headers: Headers) -> bytes:
        lines = [b"%s: %s\r\n" % each for each in (*self.default_headers, *headers)]
        if all(name != b"content-length" for name, _ in headers):
            self.keep_alive = False  # the body ends where the connection does
        elif CLOSE_HEADER in headers:
            self.keep_alive = False
        return b"".join((_STATUS_LINES[status], *lines, b"\r\n"))


def _headers(lines: bytes) -> Headers:
    """Read the lines of a head; none if they are not those of a usual request."""
    parts = [line.partition(b": ") for line in lines[:-2].split(b"\r\n")]
    headers = [(name.lower(), value) for name, _, value in parts]
    named = [name for name, _ in headers]
    lengths = [value for name, value in headers if name == b"content-length"]
    if named.count(b"host") != 1 or len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        return []
    odd = any(each[0] in _ODD and each != _KEPT_OPEN for each in headers)
    return [] if odd else headers
