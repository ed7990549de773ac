"""Answers usual questions at once, and leaves all others to the routes, which say what is wrong with one."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.errors import LakeError
from headrace.serving.server.limits import replay

_JSON = [b"application/json"]
_MILLISECONDS = re.compile(rb"[1-9][0-9]{0,4}")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a path takes, and how that is answered within some milliseconds, if a request says so."""

    form: type[BaseModel]
    answer: Callable[[Any, int | None], Awaitable[Response]]


class Direct:
    """Answers a well-formed question without what a framework does for any request.

    What differs in anything, and so whatever is to be refused, goes to the routes as it came.

    Args:
        app: The routes.
        questions: By path.
        deadline_max: Of a request, in milliseconds.
        refused: Answers what a question raised.

    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        questions: Mapping[str, Question],
        deadline_max: int,
        refused: Callable[[LakeError], Response],
    ) -> None:
        self.app, self._questions = app, questions
        self._deadline_max, self._refused = deadline_max, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on; its body comes as one message."""
        asked = scope["type"] == "http" and scope["method"] == "POST"
        question = self._questions.get(scope["path"]) if asked else None
        if question is None:
            await self.app(scope, receive, send)
            return
        body: bytes = (await receive())["body"]
        try:
            deadline_ms = self._deadline(scope)
            request = question.form.model_validate(json.loads(body))
        except (ValueError, RecursionError):
            await self.app(scope, replay(body, receive), send)
            return
        try:
            response = await question.answer(request, deadline_ms)
        except LakeError as error:
            response = self._refused(error)
        await response(scope, receive, send)

    def _deadline(self, scope: Scope) -> int | None:
        """Read the headers that routes look at.

        Raises:
            ValueError: If one of them is not as it usually is.

        """
        named = {b"content-type": list[bytes](), b"x-deadline-ms": list[bytes]()}
        for name, value in scope["headers"]:
            if name in named:
                named[name].append(value)
        given = named[b"x-deadline-ms"]
        if named[b"content-type"] != _JSON or len(given) > 1:
            raise ValueError
        if not given:
            return None
        if not _MILLISECONDS.fullmatch(given[0]) or int(given[0]) > self._deadline_max:
            raise ValueError
        return int(given[0])
