"""A pooler that shares one session of PostgreSQL between its clients, transaction by transaction."""

import contextlib
import socket
import struct
import threading
from collections.abc import Generator
from dataclasses import dataclass, field

import sqlalchemy as sa

_ENCRYPTION = {80877103, 80877104}  # requests for TLS and GSSAPI, answered with no
_ASKS = {3, 5, 10, 11}  # kinds of authentication messages that the client answers


@dataclass
class _Pooler:
    address: tuple[str, int]
    backend: socket.socket | None = None
    greeting: bytes = b""  # what the server tells of itself, without its authentication
    turn: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client:
            startup = _startup(client)
            with self.turn:
                self._greet(client, startup)
            self._relay(client)

    def _greet(self, client: socket.socket, startup: bytes) -> None:
        if self.backend is not None:
            client.sendall(b"R" + struct.pack("!ii", 8, 0) + self.greeting)
            return
        self.backend = backend = socket.create_connection(self.address)
        backend.sendall(startup)
        while True:
            kind, body = _message(backend)
            client.sendall(_framed(kind, body))
            if kind != b"R":
                self.greeting += _framed(kind, body)
            elif struct.unpack("!i", body[:4])[0] in _ASKS:
                backend.sendall(_framed(*_message(client)))
            if kind == b"Z":
                return

    def _relay(self, client: socket.socket) -> None:
        backend, is_mine = self.backend, False
        assert backend is not None
        while True:
            kind, body = _message(client)
            if kind == b"X":
                return
            if not is_mine:
                self.turn.acquire()
                is_mine = True
            backend.sendall(_framed(kind, body))
            answer, state = b"", b""
            while answer != b"Z":
                answer, state = _message(backend)
                client.sendall(_framed(answer, state))
            if state == b"I":  # no transaction is open
                self.turn.release()
                is_mine = False


@contextlib.contextmanager
def pooling(uri: str) -> Generator[str]:
    """Run a pooler before the server of `uri`; yield the URI that leads through it."""
    url = sa.make_url(uri)
    assert url.host is not None
    assert url.port is not None
    pooler = _Pooler((url.host, url.port))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=pooler.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port = int(server.getsockname()[1])
        yield url.set(port=port).render_as_string(hide_password=False)
        server.shutdown(socket.SHUT_RDWR)
    if pooler.backend is not None:
        pooler.backend.close()


def _startup(client: socket.socket) -> bytes:
    while True:
        head = _read(client, 8)
        size, code = struct.unpack("!ii", head)
        if code not in _ENCRYPTION:
            return head + _read(client, size - 8)
        client.sendall(b"N")


def _message(peer: socket.socket) -> tuple[bytes, bytes]:
    kind = _read(peer, 1)
    (size,) = struct.unpack("!i", _read(peer, 4))
    return kind, _read(peer, size - 4)


def _framed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _read(peer: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = peer.recv(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found
