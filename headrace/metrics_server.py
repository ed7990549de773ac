"""Metrics of a service, for Prometheus, served on this host only."""

from typing import Self

from prometheus_client import CollectorRegistry, start_http_server

from headrace.errors import MetricsPortError

LOOPBACK = "127.0.0.1"


class MetricsServer:
    """Serves what its `registry` holds at `/metrics` of a port of this host, until it is closed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._close = lambda: None

    def serve(self, port: int) -> int:
        """Serve `/metrics` on this host until closed; returns the port, which 0 leaves to the system.

        Raises:
            MetricsPortError: If the port cannot be used.

        """
        try:
            server, thread = start_http_server(port, LOOPBACK, self.registry)
        except OSError as error:
            raise MetricsPortError(port, error.strerror or str(error)) from error

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close
        return server.server_port

    def close(self) -> None:
        """Stop serving; idempotent."""
        self._close()
        self._close = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
