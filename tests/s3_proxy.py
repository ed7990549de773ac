"""A proxy before an S3 server that answers some requests with faults, and counts all."""

import contextlib
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qs, urlsplit

_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
    "<Message>a fault of the test</Message></Error>"
)
_HOP = {"connection", "expect", "transfer-encoding", "keep-alive"}


class Fault(Enum):
    """What happens to a request instead of its answer."""

    SLOW_DOWN = auto()  # 503, and the server never sees it
    RESET = auto()  # the connection breaks, and the server never sees it
    LOST_ANSWER = auto()  # the server does it, and the connection breaks
    ERROR_IN_200 = auto()  # the server never sees it, and the answer's status is 200
    CUT_ANSWER = auto()  # the server does it, and half of the answer arrives


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    query: dict[str, list[str]]

    @property
    def is_complete(self) -> bool:
        """Whether it completes an upload of several parts."""
        return self.method == "POST" and "uploadId" in self.query


@dataclass
class FaultProxy:
    """The rule and the log of one proxy; `rule` may be replaced at any time."""

    target: str
    address: str = ""
    rule: Callable[[Request], Fault | None] = lambda _: None
    delay_s: Callable[[Request], float] = lambda _: 0.0
    requests: list[Request] = field(default_factory=list)

    def count(self, method: str) -> int:
        """Count the requests of a method since the log was cleared."""
        return sum(each.method == method for each in self.requests)

    def fail(self, fault: Fault, *, times: int, of: Callable[[Request], bool]) -> None:
        """Let the next `times` requests that are concerned fail."""
        left = [times]
        lock = threading.Lock()

        def rule(request: Request) -> Fault | None:
            with lock:
                if not of(request) or left[0] <= 0:
                    return None
                left[0] -= 1
                return fault

        self.rule = rule


@contextlib.contextmanager
def fault_proxy(target: str) -> Generator[FaultProxy]:
    """Run a proxy on a loopback port of its own before the server at `target`."""
    proxy = FaultProxy(target)

    class Handler(_Handler):
        faults = proxy

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that go away are no news

    server = Server(("127.0.0.1", 0), Handler)
    proxy.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: FaultProxy

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_any(self) -> None:
        self.close_connection = True
        parts = urlsplit(self.path)
        request = Request(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True))
        body = self._body()
        self.faults.requests.append(request)
        time.sleep(self.faults.delay_s(request))
        fault = self.faults.rule(request)
        if fault is Fault.SLOW_DOWN:
            self._answer(503, {}, _ERROR.format(code="SlowDown").encode())
        elif fault is Fault.ERROR_IN_200:
            self._answer(200, {}, _ERROR.format(code="InternalError").encode())
        elif fault is Fault.RESET:
            self._break()
        else:
            status, headers, content = self._forward(body)
            if fault is Fault.LOST_ANSWER:
                self._break()
            else:
                self._answer(status, headers, content, cut=fault is Fault.CUT_ANSWER)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        server = http.client.HTTPConnection(urlsplit(self.faults.target).netloc, timeout=60)
        with contextlib.closing(server):
            # the host that the client asked is part of what it signed
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"content-length"}:
                    server.putheader(name, value)
            server.putheader("Content-Length", str(len(body)))
            server.endheaders(body)
            found = server.getresponse()
            headers = {k: v for k, v in found.getheaders() if k.lower() not in _HOP}
            return found.status, headers, found.read()

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        said = {name.lower(): value for name, value in headers.items()}
        if self.command != "HEAD":
            said["content-length"] = str(len(content))
        for name, value in said.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._break()

    def _break(self) -> None:
        self.wfile.flush()
        # with a linger of no time, closing resets
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
