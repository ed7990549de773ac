"""An HTTP proxy before Trino that loses an answer: the server got the statement, the client a 502."""

import base64
import contextlib
import json
import ssl
import threading
import urllib.request
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError

from infra.launcher import trino
from tests.cluster.servers import Servers


class Proxy(ThreadingHTTPServer):
    """Forwards everything; `forwarded` counts the statements that begin as asked."""

    daemon_threads = True

    def __init__(self, servers: Servers, *, when: bytes) -> None:
        self.behind, self.when, self.forwarded = servers.trino_address, when, 0
        self.trusted = ssl.create_default_context(cafile=str(trino.certificate(servers.cluster)))
        user, password = trino.login(servers.cluster, role="operator")
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.login = {"Authorization": f"Basic {token}"}
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, answer = self._forward(body)
        if body.startswith(self.server.when):
            self.server.forwarded += 1
            if self.server.forwarded == 1:
                self._run_to_the_end(answer)
                status, headers, answer = 502, [], b""
        self._answer(status, headers, answer)

    def do_GET(self) -> None:
        self._answer(*self._forward(None))

    def do_DELETE(self) -> None:
        self._answer(*self._forward(None))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _forward(self, body: bytes | None) -> tuple[int, list[tuple[str, str]], bytes]:
        kept = {
            k: v
            for k, v in self.headers.items()
            if k.lower() not in ("host", "content-length", "accept-encoding")
        }
        request = urllib.request.Request(
            self.server.behind + self.path, data=body, headers=kept, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.server.trusted) as got:
                return got.status, list(got.headers.items()), got.read()
        except HTTPError as error:
            return error.code, [], error.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in (
                "content-length",
                "transfer-encoding",
                "connection",
                "date",
                "server",
            ):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _run_to_the_end(self, answer: bytes) -> None:
        """Poll a statement until it ends, as a client would whose answers get lost only later."""
        status = json.loads(answer)
        while "nextUri" in status:
            request = urllib.request.Request(status["nextUri"], headers=self.server.login)
            with urllib.request.urlopen(request, timeout=60, context=self.server.trusted) as got:
                status = json.loads(got.read())
        assert "error" not in status, status["error"]


@contextlib.contextmanager
def answering_502_once(servers: Servers, *, when: bytes) -> Generator[Proxy]:
    """Run a proxy that answers 502 to the first statement that begins with `when`, and forwards it."""
    proxy = Proxy(servers, when=when)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
