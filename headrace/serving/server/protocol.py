"""HTTP/1.1 of the server: uvicorn's faster protocol, without two faults of it."""

from typing import Any

import httptools
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BYTES_MAX = 16 * 1024  # of an unfinished head, or of what else is not the body: as `h11` has it


class Protocol(HttpToolsProtocol):
    """Reads by `httptools`, and bounds what is not the body.

    `httptools` takes what follows an offer of another protocol (`Upgrade`), as clients make it that would
    rather speak HTTP/2, for that protocol's, and so loses the body. Such a connection is gone on with by
    `h11`, which is slower.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  (those of uvicorn)
        super().__init__(*arguments, **named)
        self._reader: Any = self.parser  # typed as one that may be gone
        self._is_open, self._goes_on, self._idle = False, False, 0

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._unset_keepalive_if_required()
        self._goes_on = False
        try:
            self._reader.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._go_on_by_h11(data[offered.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        else:
            self._idle = self._idle + len(data) if self._is_open and not self._goes_on else 0
            if self._idle > BYTES_MAX:
                self.send_400_response("Invalid HTTP request received.")

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the connection."""
        super().connection_lost(exc)
        self._reader = None  # it knows this protocol: each would keep the other

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_open = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let a request be answered, unless another protocol is offered.

        Raises:
            ValueError: If the host is not named, as it must be.

        """
        self._goes_on = True
        if self._reader.get_http_version() == "1.1" and b"host" not in dict(self.headers):
            raise ValueError
        if not self._reader.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; the server's own bound holds for it."""
        self._goes_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._is_open = False
        if not self._reader.should_upgrade():
            super().on_message_complete()

    def _go_on_by_h11(self, rest: bytes) -> None:
        """Give the connection to `h11`, with the request once more; one that is being answered is lost."""
        answering: Any = self.cycle  # None before the first request
        if answering is not None and not answering.response_complete:
            self.transport.close()
            return
        self.connections.discard(self)
        version = self._reader.get_http_version().encode()
        line = b"%b %b HTTP/%b" % (self._reader.get_method(), self.url, version)
        head = [line, *(b"%b: %b" % header for header in self.headers)]
        other = H11Protocol(self.config, self.server_state, self.app_state, self.loop)
        self.transport.set_protocol(other)
        other.connection_made(self.transport)
        other.data_received(b"\r\n".join([*head, b"", rest]))
