"""Keeps pages of other sites from operating the Dagster web server.

The server listens on loopback and asks for no password, so whatever the reader's browser sends it
is obeyed: a picture on any page, `<img src="http://127.0.0.1:3000/graphql?query=mutation…">`, could
launch a run, and a page whose host name is rebound to 127.0.0.1 could read the answers too. This
middleware answers 403 to both. Programs that are no browser (curl, the GraphQL client) send neither
`Origin` nor `Sec-Fetch-Site` and work as before.
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
    """ASGI middleware: only requests under an allowed host name, and only from the server's pages.

    Args:
        app: What answers the requests that pass.
        hosts: Host names, without a port, under which the server may be asked.

    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = LOOPBACK_HOSTS) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:  # start and end of the server
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
    """Say why a request must not be answered; None if it may.

    Args:
        method: Of HTTP; `WEBSOCKET` for the handshake of a socket, which may carry mutations.
        path: Of the URL.
        query: Of the URL, still encoded.
        headers: Of the request; names in lower case.
        hosts: Allowed host names.

    """
    host = headers.get("host", "")
    if _name(host) not in hosts:
        return (
            f"the host name {host!r} is not one of this server's; "
            "`allowed_hosts` of dagster.yaml names more"
        )
    is_graphql = path.rstrip("/").endswith("/graphql")
    is_link = (
        method in _READS
        and not is_graphql
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    # a link on another page may open one of this server's, in a tab of its own
    if not is_link and _is_of_another_site(headers, host):
        return "it comes from a page of another site"
    if is_graphql and method in _READS and not _only_reads(query):
        return "a GET must not change anything; send mutations by POST"
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_of_another_site(headers: Mapping[str, str], host: str) -> bool:
    if headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}:
        return True  # "same-site" is another port of this host: another program's page
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
