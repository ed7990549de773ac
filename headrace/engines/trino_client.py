"""Statements on a Trino server: each in UTC, cancelled when its reader stops, its errors named.

The client resends a statement whose answer is lost, so that it may run twice. Only `Page.query_id`
tells the run that was answered.
"""

import contextlib
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from trino import exceptions
from trino.auth import BasicAuthentication
from trino.client import ClientSession, TrinoRequest

from headrace.engines.trino_versions import refuse_version
from headrace.errors import EngineUnavailableError, QueryCancelledError, QueryFailedError
from headrace.servers import TrinoAccess

ATTEMPTS_MAX = 4  # of one request, with pauses that grow to a few seconds
_LOST = (requests.RequestException, exceptions.TrinoConnectionError, exceptions.HttpError)
_LOST_HTTP = (exceptions.Http502Error, exceptions.Http503Error, exceptions.Http504Error)
# of tasks or queries by the server itself: a repeated one may commit twice (trinodb/trino#14392)
_NO_RETRIES = {"retry_policy": "NONE"}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A part of an answer; `columns` and `rows_changed` are None as long as they are unknown."""

    query_id: str
    columns: list[dict[str, Any]] | None
    rows: list[list[Any]]
    rows_changed: int | None


@dataclass(frozen=True)
class TrinoClient:
    """One user's way to a server; one statement at a time."""

    access: TrinoAccess
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _http: requests.Session = field(default_factory=requests.Session)

    def check(self) -> None:
        """Refuse a server whose results cannot be trusted.

        Raises:
            EngineUnavailableError: If it does not answer.
            UnsupportedEngineError: Naming its version and the fault.

        """
        ((version,),) = self.rows("select version()")
        refuse_version(str(version))

    def begin(self) -> None:
        """Forget a former `cancel`."""
        self._cancelled.clear()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called since `begin`."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop the statement that runs, from any thread, within about a second."""
        self._cancelled.set()

    def rows(self, sql: str) -> list[list[Any]]:
        """Run a statement and return all its rows, as the protocol has them. Raises as `pages`."""
        return [row for page in self.pages(sql) for row in page.rows]

    def pages(self, sql: str, *, session: Mapping[str, str] | None = None) -> Generator[Page]:
        """Run a statement and yield its answer; the statement is cancelled if the reader stops.

        `session` holds properties of the session, for this statement only.

        Raises:
            EngineUnavailableError: If the server cannot be reached, or ended.
            QueryCancelledError: If `cancel` was called.
            QueryFailedError: If the server refused or failed the statement.

        """
        request = self._request(session or {})
        query_id, next_uri = "", None
        try:
            with self._naming(lambda: query_id):
                status = request.process(request.post(sql))
                while True:
                    query_id, next_uri = status.id, status.next_uri
                    if self.is_cancelled:
                        raise QueryCancelledError
                    yield Page(
                        query_id=query_id,
                        columns=status.columns,
                        rows=cast("list[list[Any]]", status.rows),
                        rows_changed=status.update_count,
                    )
                    if next_uri is None:
                        return
                    if self.is_cancelled:
                        raise QueryCancelledError
                    status = request.process(request.get(next_uri))
        except BaseException:
            if next_uri is not None:
                with contextlib.suppress(*_LOST, *_LOST_HTTP):
                    request.delete(next_uri)
            raise

    def link(self, query_id: str) -> str:
        """Return the page of the server's user interface about a query."""
        return f"{self.access.uri.rstrip('/')}/ui/query.html?{query_id}"

    def close(self) -> None:
        """Close the connections; closing again does nothing."""
        self._http.close()

    def _request(self, session: Mapping[str, str]) -> TrinoRequest:
        access, parts = self.access, urlsplit(self.access.uri)
        password = access.password
        self._http.verify = access.ca_file or True
        self._http.trust_env = False  # REQUESTS_CA_BUNDLE would come before `ca_file`
        return TrinoRequest(
            host=parts.hostname or "",
            port=parts.port or _PORTS[parts.scheme],
            http_scheme=parts.scheme,
            http_session=self._http,
            auth=None
            if password is None
            else BasicAuthentication(access.user, password.get_secret_value()),
            max_attempts=ATTEMPTS_MAX,
            client_session=ClientSession(
                user=access.user,
                catalog=access.catalog,
                source="headrace",
                timezone="UTC",  # the client would send this machine's
                properties={**_NO_RETRIES, **session},
            ),
        )

    @contextlib.contextmanager
    def _naming(self, query_of: Any) -> Generator[None]:  # noqa: ANN401 - a closure
        try:
            yield
        except exceptions.TrinoQueryError as error:
            if self.is_cancelled:
                raise QueryCancelledError from error
            raise QueryFailedError(
                error.message or "",
                reason=error.error_name or "",
                query_id=error.query_id or "",
                link=self.link(error.query_id or ""),
            ) from error
        except (*_LOST, *_LOST_HTTP) as error:
            if self.is_cancelled:
                raise QueryCancelledError from error
            raise EngineUnavailableError(
                self.access.uri, _first_line(error), query_id=query_of()
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
