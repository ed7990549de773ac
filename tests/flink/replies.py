"""A server that answers as Flink does, with replies that were recorded."""

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


@contextmanager
def answering(
    replies: Mapping[str, list[tuple[int, Any]]],
) -> Generator[tuple[str, list[tuple[str, Any]]]]:
    """Answer each path, with its method before it, by its replies in turn; the last one stays.

    Bytes are sent as they are, everything else as JSON.
    Yields the address, and a list of what was asked.
    """
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            key = f"{self.command} {self.path}"
            asked.append((key, json.loads(self.rfile.read(size) or b"null")))
            left = replies.get(key) or [(404, {"errors": ["no such path"]})]
            status, body = left.pop(0) if len(left) > 1 else left[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_DELETE = do_PATCH = _answer

        def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401  (of the base)
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
