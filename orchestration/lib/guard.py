"""Protects the Dagster web server from cross-site requests.

The server listens on loopback without a password, so it obeys every request of the local browser:
an image on any page, `<img src="http://127.0.0.1:3000/graphql?query=mutation…">`, could launch a
run, and a page whose host name is rebound to 127.0.0.1 (DNS rebinding) could also read the
responses. This middleware answers 403 to both. Clients other than browsers (curl, the GraphQL
client) send neither `Origin` nor `Sec-Fetch-Site` and are not affected.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_READS = {"GET", "HEAD"}
_POLICY_VIOLATION = 1008  # RFC 6455


class SameSiteOnly:
    """ASGI middleware that accepts only allowed host names and same-origin requests.

    Args:
        app: The application that handles accepted requests.
        hosts: Allowed host names, without a port.

    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = LOOPBACK_HOSTS) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:  # lifespan events of the server
            await self._app(scope, receive, send)
            return
        reason = refusal(
            scope.get("method", "WEBSOCKET"),
            scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=Headers(scope=scope),
            hosts=self._hosts,
        )
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION, reason)(scope, receive, send)
        else:
            await PlainTextResponse(f"refused: {reason}\n", status_code=403)(scope, receive, send)


def refusal(
    method: str, path: str, *, query: str, headers: Mapping[str, str], hosts: frozenset[str]
) -> str | None:
    """Return why a request must be refused; None if it is allowed.

    Args:
        method: HTTP method; `WEBSOCKET` for a WebSocket handshake, which may carry mutations.
        path: Path of the URL.
        query: Query string of the URL, still encoded.
        headers: Request headers; names in lower case.
        hosts: Allowed host names.

    """
    host = headers.get("host", "")
    if _name(host) not in hosts:
        return f"the host name {host!r} is not allowed; add it to `allowed_hosts` in dagster.yaml"
    is_graphql = path.rstrip("/").endswith("/graphql")
    is_link = (
        method in _READS
        and not is_graphql
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    # a link on another site may open a page of this server as a top-level document
    if not is_link and _is_of_another_site(headers, host):
        return "the request comes from a page of another site"
    if is_graphql and method in _READS and not _only_reads(query):
        return "a GET request must not contain mutations; send them by POST"
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_of_another_site(headers: Mapping[str, str], host: str) -> bool:
    if headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}:
        return True  # "same-site" includes other ports of this host, that is, other programs
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != host


def _only_reads(query: str) -> bool:
    for text in parse_qs(query, keep_blank_values=True).get("query", []):
        try:
            operations = parse(text).definitions
        except GraphQLError:
            return False
        if any(
            isinstance(each, OperationDefinitionNode) and each.operation is not OperationType.QUERY
            for each in operations
        ):
            return False
    return True
