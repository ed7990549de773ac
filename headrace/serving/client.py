"""A client of the feature server: requests of Python values over one connection that stays open."""

import datetime as dt
import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from headrace.errors import ServerAnswerError
from headrace.serving.values import plain

Row = Mapping[str, Any]
_GRACE_S = 1.0  # what an answer may take on its way besides the deadline


class ServingClient:
    """Asks one feature server. Safe to share between threads, each with a connection of its own.

    Args:
        url: Of the server, `http://127.0.0.1:8200`.
        token: What the server was started with, if anything.
        deadline_s: How long a request may take; the server gives up after it as well.

    Raises:
        ServerAnswerError: Later, if the server refuses a request or cannot be reached.

    """

    def __init__(self, url: str, *, token: str | None = None, deadline_s: float = 1.0) -> None:
        parts = urlsplit(url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._url, self._deadline_s = url.rstrip("/"), deadline_s
        self._connect = lambda: kind(
            parts.hostname or "", parts.port, timeout=self._deadline_s + _GRACE_S
        )
        self._headers = {
            "content-type": "application/json",
            "x-deadline-ms": str(max(1, round(deadline_s * 1_000))),
            **({} if token is None else {"authorization": f"Bearer {token}"}),
        }
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def vectors(
        self,
        entities: Sequence[Row],
        *,
        sample_set: str | None = None,
        views: Sequence[str] | None = None,
        at: dt.datetime | None = None,
    ) -> dict[str, Any]:
        """Look up the features of a sample set, or all columns of some views: `POST /v1/vectors`.

        Raises:
            ServerAnswerError: If the server refuses, or cannot be reached.

        """
        said = {"entities": entities, "sample_set": sample_set, "views": views}
        return self._ask("POST", "/v1/vectors", said, at=at)

    def score(
        self, rows: Sequence[Row], *, at: dt.datetime | None = None, explain: bool = False
    ) -> dict[str, Any]:
        """Score rows with the server's model; `explain` returns the values: `POST /v1/score`.

        Raises:
            ServerAnswerError: If the server refuses, or cannot be reached.

        """
        return self._ask("POST", "/v1/score", {"rows": rows, "explain": explain}, at=at)

    def rank(
        self,
        candidates: Sequence[Row],
        *,
        context: Row | None = None,
        top: int | None = None,
        at: dt.datetime | None = None,
        explain: bool = False,
    ) -> dict[str, Any]:
        """Order candidates by their score, greatest first: `POST /v1/rank`.

        Args:
            candidates: What each has besides the context.
            context: What all have in common.
            top: How many to return; all by default.
            at: The moment to answer for; now by default.
            explain: Return the values that each score comes of.

        Raises:
            ServerAnswerError: If the server refuses, or cannot be reached.

        """
        said = {"candidates": candidates, "context": context, "top": top, "explain": explain}
        return self._ask("POST", "/v1/rank", said, at=at)

    def ready(self) -> tuple[str, ...]:
        """Ask why the server cannot answer; nothing if it can: `GET /readyz`.

        Raises:
            ServerAnswerError: If it cannot be reached.

        """
        status, said = self._exchange("GET", "/readyz", None)
        if status not in (200, 503) or "reasons" not in said:
            raise self._refusal(status, said)
        return tuple(said["reasons"])

    def close(self) -> None:
        """Close this thread's connection."""
        opened = getattr(self._local, "opened", None)
        if opened is not None:
            opened.close()
            self._local.opened = None

    def _ask(
        self, method: str, path: str, said: Mapping[str, Any], *, at: dt.datetime | None
    ) -> dict[str, Any]:
        body = {name: value for name, value in {**said, "at": at}.items() if value is not None}
        status, answer = self._exchange(method, path, body)
        if status != 200:
            raise self._refusal(status, answer)
        return answer

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request; once more where the server closed a connection that was idle."""
        sent = None if body is None else json.dumps(body, default=plain, allow_nan=False)
        while True:
            opened = getattr(self._local, "opened", None)
            was_idle = opened is not None
            if opened is None:
                opened = self._local.opened = self._connect()
            try:
                opened.request(method, path, sent, self._headers)
                answer = opened.getresponse()
                return answer.status, _parsed(answer.read())
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if was_idle and not isinstance(error, TimeoutError):
                    continue
                raise ServerAnswerError(self._url, f"{type(error).__name__}: {error}") from error

    def _refusal(self, status: int, said: Mapping[str, Any]) -> ServerAnswerError:
        detail = said.get("message") or json.dumps(said.get("detail", said))
        kind = said.get("code") or said.get("error") or "request"
        advised: Mapping[str, Any] = said.get("remedy") or {}
        return ServerAnswerError(
            self._url,
            str(detail),
            status=status,
            kind=str(kind),
            remedy=advised.get("advice"),
        )


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {"message": content[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)}
