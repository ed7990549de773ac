"""The routes of the feature server, and what its errors are as HTTP."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from headrace.errors import (
    DatabaseUnavailableError,
    DeadlineError,
    EntityKeyError,
    FeatureSpecError,
    LakeError,
    ModelMismatchError,
    ModelNotLoadedError,
    NotAFeatureViewError,
    OverloadedError,
)
from headrace.serving.server.direct import Direct, Question
from headrace.serving.server.limits import QUESTIONS, Guard, Rate, Workers
from headrace.serving.server.metrics import CONTENT_TYPE, ServerMetrics
from headrace.serving.server.service import Service
from headrace.serving.server.wire import RankRequest, ScoreRequest, VectorsRequest, json_of
from headrace.serving.store import OnlineStore

_STATUS: tuple[tuple[type[LakeError], int], ...] = (
    (EntityKeyError, 422),
    (FeatureSpecError, 422),
    (NotAFeatureViewError, 404),
    (ModelNotLoadedError, 404),
    (ModelMismatchError, 409),
    (OverloadedError, 503),
    (DatabaseUnavailableError, 503),
    (DeadlineError, 504),
)
_PROBLEMS_MAX = 20  # of one request
_DEADLINE_MS_MAX = 60_000
_NOT_JSON = {
    "loc": ["header", "content-type"],
    "msg": "a question is JSON; send it with `content-type: application/json`",
    "type": "content_type",
}
Deadline = Annotated[int | None, Header(alias="x-deadline-ms", ge=1, le=_DEADLINE_MS_MAX)]


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Bounds of one server process.

    `deadline_s` holds for requests that name none, from when a body is there, which has to arrive
    within `body_s`; `token` is asked for where it is set, and `per_s` questions are taken a second.
    """

    threads: int = 8
    begun_max: int = 64
    bytes_max: int = 4 * 1024 * 1024
    deadline_s: float = 1.0
    body_s: float = 10.0
    token: str | None = None
    per_s: float | None = None


class _Answers:
    """Lets threads answer questions, and counts the answers."""

    def __init__(self, service: Service, limits: ServerLimits) -> None:
        self._service, self._limits, self.metrics = service, limits, ServerMetrics()
        self.workers = Workers(threads=limits.threads, begun_max=limits.begun_max)

    async def vectors(self, request: VectorsRequest, deadline_ms: int | None) -> Response:
        """Look up the features of some sets of entities."""
        rows, path = len(request.entities), f"{QUESTIONS}/vectors"
        return await self._give(path, lambda: self._service.vectors(request), rows, deadline_ms)

    async def score(self, request: ScoreRequest, deadline_ms: int | None) -> Response:
        """Score rows."""
        rows, path = len(request.rows), f"{QUESTIONS}/score"
        return await self._give(path, lambda: self._service.score(request), rows, deadline_ms)

    async def rank(self, request: RankRequest, deadline_ms: int | None) -> Response:
        """Order candidates."""
        rows, path = len(request.candidates), f"{QUESTIONS}/rank"
        return await self._give(path, lambda: self._service.rank(request), rows, deadline_ms)

    def questions(self) -> dict[str, Question]:
        """What may be asked, by path."""
        return {
            f"{QUESTIONS}/vectors": Question(form=VectorsRequest, answer=self.vectors),
            f"{QUESTIONS}/score": Question(form=ScoreRequest, answer=self.score),
            f"{QUESTIONS}/rank": Question(form=RankRequest, answer=self.rank),
        }

    async def _give(
        self, path: str, act: Callable[[], dict[str, Any]], rows: int, deadline_ms: int | None
    ) -> Response:
        """Answer one request; a thread writes the answer too."""
        deadline_s = self._limits.deadline_s if deadline_ms is None else deadline_ms / 1_000

        def written() -> tuple[dict[str, Any], bytes]:
            found = act()
            return found, json_of(found)

        with self.metrics.timed(path):
            found, content = await self.workers.run(written, deadline_s=deadline_s)
        self.metrics.rows_answered(path, rows)
        for view in found.get("views", ()):
            self.metrics.looked_up(view["view"], Counter(view["status"]))
        return Response(content, media_type="application/json")


def _refused(error: LakeError) -> JSONResponse:
    """Answer a request that failed."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    retry = {"retry-after": "1"} if error.retryable else None
    return JSONResponse(error.to_dict(), status, headers=retry)


def make_app(service: Service, store: OnlineStore, *, limits: ServerLimits) -> Guard:
    """Build the application of one server: its limits, what answers usual questions, and the routes.

    The first two stand before FastAPI, and not as its middleware, for which it runs layers of its own.
    """
    answers = _Answers(service, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        answers.workers.close()

    app = FastAPI(title="headrace", lifespan=lifespan)
    app.add_exception_handler(LakeError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_request)
    app.include_router(_questions(answers))
    app.include_router(_operations(service, store, answers, limits=limits))
    paths = frozenset(app.openapi()["paths"])

    def answered(path: str, status: int) -> None:
        # whatever paths are tried, there are no more labels than routes
        answers.metrics.answered(path if path in paths else "other", status)

    direct = Direct(
        app, questions=answers.questions(), deadline_max=_DEADLINE_MS_MAX, refused=_refused
    )
    return Guard(
        direct,
        bytes_max=limits.bytes_max,
        token=limits.token,
        body_s=limits.body_s,
        rate=None if limits.per_s is None else Rate(limits.per_s),
        answered=answered,
    )


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LakeError)
    return _refused(error)


async def _refuse_request(request: Request, error: Exception) -> JSONResponse:
    """Say where a request is wrong, without sending it back: it may be long, and no JSON."""
    assert isinstance(error, RequestValidationError)
    if "json" not in request.headers.get("content-type", "").lower():
        return JSONResponse({"detail": [_NOT_JSON]}, 422)  # as `curl --data` sends it
    problems = [
        {"loc": [_shown(part) for part in each["loc"]], "msg": each["msg"], "type": each["type"]}
        for each in error.errors()[:_PROBLEMS_MAX]
    ]
    return JSONResponse({"detail": problems}, 422)


def _shown(part: str | int) -> str | int:
    return part if isinstance(part, int) else part.encode(errors="replace").decode()


def _questions(answers: _Answers) -> APIRouter:
    router = APIRouter(prefix=QUESTIONS)

    @router.post("/vectors", response_model=dict[str, Any])
    async def vectors(request: VectorsRequest, deadline_ms: Deadline = None) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Look up the features of some sets of entities, at one moment."""
        return await answers.vectors(request, deadline_ms)

    @router.post("/score", response_model=dict[str, Any])
    async def score(request: ScoreRequest, deadline_ms: Deadline = None) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Score rows with the server's model."""
        return await answers.score(request, deadline_ms)

    @router.post("/rank", response_model=dict[str, Any])
    async def rank(request: RankRequest, deadline_ms: Deadline = None) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Order candidates by their score."""
        return await answers.rank(request, deadline_ms)

    return router


def _operations(
    service: Service, store: OnlineStore, answers: _Answers, *, limits: ServerLimits
) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthy() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """Say that the process lives: no thread of a request is needed for it."""
        return {"status": "alive"}

    @router.get("/readyz")
    async def ready() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """Say whether requests can be answered, and why not."""
        found = await answers.workers.run(service.readiness, deadline_s=limits.deadline_s)
        said = {"ready": found.ready, "reasons": list(found.reasons)}
        return JSONResponse(said, 200 if found.ready else 503)

    @router.get("/metrics")
    async def measured() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Show the metrics of this process."""
        text = await answers.workers.run(
            lambda: answers.metrics.text(store, service.log), deadline_s=limits.deadline_s
        )
        return Response(text, media_type=CONTENT_TYPE)

    return router
