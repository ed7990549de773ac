"""Limits of the server: the size of a request, who may ask, and how much is worked on at once."""

import asyncio
import contextlib
import hmac
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.errors import DeadlineError, OverloadedError

_T = TypeVar("_T")
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
QUESTIONS = "/v1"  # what their paths begin with


class Rate:
    """Lets so many requests pass a second, and those of one second at once after a pause.

    Args:
        per_s: How many.
        clock: Seconds that never go back.

    """

    def __init__(self, per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._most = max(1.0, per_s)
        self._left, self._at = self._most, clock()

    def passes(self) -> bool:
        """Count a request, if it may pass."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Guard:
    """Answers 401 without the token, 429 above the rate, 413 to a body that is too long, 408 if it is slow.

    The token is looked at first, and a body is counted while it arrives: a header that says another
    length, or none, does not help. It has to be there after `body_s` seconds. Only questions count for
    the rate: health, metrics and the description of the requests are always answered.

    Args:
        app: What answers the rest.
        bytes_max: Of a body.
        token: What requests must carry, if anything.
        body_s: How long a body may take to arrive.
        rate: Of questions; any number by default.
        answered: Called with path and status of each answer.

    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        bytes_max: int,
        token: str | None,
        body_s: float = 10.0,
        rate: Rate | None = None,
        answered: Callable[[str, int], None] = lambda _path, _status: None,
    ) -> None:
        self.app, self._bytes_max, self._token = app, bytes_max, token
        self._body_s, self._rate, self._answered = body_s, rate, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        begun = list[int]()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message["status"])
                self._answered(scope["path"], message["status"])
            await send(message)

        try:
            await self._answer(scope, receive, counted)
        except Exception:
            if not begun:  # the server answers it beyond this
                self._answered(scope["path"], 500)
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._allows(scope):
            await JSONResponse({"error": "unauthorized"}, 401)(scope, receive, send)
            return
        if self._rate and scope["path"].startswith(f"{QUESTIONS}/") and not self._rate.passes():
            said = {"error": "too_many", "message": "there are more requests a second than allowed"}
            await JSONResponse(said, 429, headers={"retry-after": "1"})(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._body_s):
                body = await self._body(receive)
        except TimeoutError:
            why = f"the body did not arrive in {self._body_s:g} s"
            await _closing("slow", why, 408)(scope, receive, send)
        except _TooLongError:
            why = f"more than {self._bytes_max} bytes"
            await _closing("too_large", why, 413)(scope, receive, send)
        except ClientDisconnect:
            pass
        else:
            await self.app(scope, replay(body, receive), send)

    def _allows(self, scope: Scope) -> bool:
        if self._token is None or scope["path"] in OPEN_PATHS:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self._token}".encode())

    async def _body(self, receive: Receive) -> bytes:
        parts, length = list[bytes](), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part: bytes = message.get("body", b"")
            length += len(part)
            if length > self._bytes_max:
                raise _TooLongError
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


class _TooLongError(Exception):
    """A body is longer than it may be."""


def _closing(error: str, message: str, status: int) -> JSONResponse:
    """Answer before the body was read; the connection cannot be used again."""
    headers = {"connection": "close"}
    return JSONResponse({"error": error, "message": message}, status, headers=headers)


def replay(body: bytes, receive: Receive) -> Receive:
    """Let a body that was read be received once more, as one message."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed


class Workers:
    """Threads for the work of requests, with a bound on what is begun.

    Work that is given up by its deadline goes on to its end and keeps its place until then, so that
    there are never more threads or requests than the bound; if it did not begin, it never does.
    """

    def __init__(self, *, threads: int, begun_max: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="serve")
        self._begun_max, self._begun = begun_max, 0
        self._lock = threading.Lock()

    @property
    def begun(self) -> int:
        """How many requests are worked on or wait for a thread."""
        return self._begun

    async def run(self, act: Callable[[], _T], *, deadline_s: float) -> _T:
        """Do some work in a thread.

        Raises:
            OverloadedError: If too much is begun already.
            DeadlineError: If it takes longer than `deadline_s`; its result is lost.

        """
        with self._lock:
            if self._begun >= self._begun_max:
                raise OverloadedError(begun_max=self._begun_max)
            self._begun += 1
        loop = asyncio.get_running_loop()
        # set by a thread or by the clock: asyncio's own ways to wait for a thread take three futures
        waiting: asyncio.Future[_T] = loop.create_future()
        future = self._pool.submit(act)
        late = loop.call_later(deadline_s, _give_up, waiting, future, deadline_s)

        def ended(done: Future[_T]) -> None:
            self._ended()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_pass_on, waiting, done)

        future.add_done_callback(ended)
        try:
            return await waiting
        finally:
            late.cancel()

    def close(self) -> None:
        """End the threads once their work is done."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ended(self) -> None:
        with self._lock:
            self._begun -= 1


def _give_up(waiting: asyncio.Future[_T], future: Future[_T], deadline_s: float) -> None:
    if not waiting.done():
        waiting.set_exception(DeadlineError(deadline_s=deadline_s))
        future.cancel()  # has no effect on what runs


def _pass_on(waiting: asyncio.Future[_T], done: Future[_T]) -> None:
    """Give what a thread found to who waits for it, if anyone still does."""
    if waiting.done() or done.cancelled():
        return
    error = done.exception()
    if error is None:
        waiting.set_result(done.result())
    else:
        waiting.set_exception(error)
