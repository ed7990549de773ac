"""A way to the catalog that is cut at a commit: before it arrives, or before its answer is known."""

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from typing import Literal

import pytest
import sqlalchemy as sa

from headrace.config import Settings
from headrace.flink import places

_COMMIT = b"UPDATE iceberg_tables SET metadata_location"
_BYTES = 1 << 16
_LANDS_S = 0.5  # a commit whose answer is not awaited
Where = Literal["request", "answer"]


class CutCatalog:
    """Relays connections; `cut` breaks the next commit, and `cuts` counts those that it broke."""

    def __init__(self, uri: str) -> None:
        url = sa.make_url(uri)
        assert url.host is not None
        assert url.port is not None
        self.address = url.host, url.port
        self.server = socket.create_server(("127.0.0.1", 0))
        self.cuts = 0
        self._due: Where | None = None
        self._away_s = self._away_until_s = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, where: Where, *, away_s: float) -> None:
        """Break the next commit, and be away for a while from then on."""
        self._away_s, self._due = away_s, where

    def options(self, settings: Settings, *, stream: str) -> dict[str, str]:
        """Return the options of a catalog that is reached by this way, for `places.catalog_of`."""
        found = _catalog_of(settings, stream=stream)
        port = int(self.server.getsockname()[1])
        there = f"{self.address[0]}:{self.address[1]}/"
        assert there in found["uri"]
        uri = found["uri"].replace(there, f"127.0.0.1:{port}/")
        # each commit says what it is, however often there was one before
        return found | {"uri": f"{uri}{'&' if '?' in uri else '?'}prepareThreshold=0"}

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if time.monotonic() < self._away_until_s:
                return
            with socket.create_connection(self.address) as backend:
                is_heard = threading.Event()
                is_heard.set()
                pump = threading.Thread(
                    target=_answer, args=(backend, client, is_heard), daemon=True
                )
                pump.start()
                while data := client.recv(_BYTES):
                    if self._due is not None and _COMMIT in data:
                        is_heard.clear()
                        self._break(data, backend)
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    backend.sendall(data)

    def _break(self, data: bytes, backend: socket.socket) -> None:
        where, self._due = self._due, None
        self._away_until_s = time.monotonic() + self._away_s
        if where == "answer":
            backend.sendall(data)
            time.sleep(_LANDS_S)
        self.cuts += 1


def _answer(backend: socket.socket, client: socket.socket, is_heard: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := backend.recv(_BYTES):
            if is_heard.is_set():
                client.sendall(data)


_catalog_of = places.catalog_of


@contextlib.contextmanager
def cut_catalog(settings: Settings) -> Generator[CutCatalog]:
    """Let jobs that are started meanwhile reach the catalog of a lake by a way that can be cut."""
    assert settings.catalog_server is not None
    made = CutCatalog(settings.catalog_server.get_secret_value())
    with pytest.MonkeyPatch.context() as patch, made.server:
        patch.setattr(places, "catalog_of", made.options)
        yield made
