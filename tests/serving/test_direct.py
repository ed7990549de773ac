"""Questions that are answered at once get what the routes would say, and others go to the routes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from headrace.serving.server.app import ServerLimits, make_app
from headrace.serving.server.direct import Direct
from headrace.serving.server.service import Service
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow
from tests.serving.ranked import AT, SET, START, USERS

pytestmark = pytest.mark.slow
USUAL = {"content-type": "application/json"}
ASKED = f'{{"views": ["{USERS.view}"], "entities": [{{"user_id": 1}}], "at": "{AT.isoformat()}"}}'


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, TestClient]]:
    """The server, and its routes alone."""
    path: Path = tmp_path_factory.mktemp("store") / "online.db"
    with SQLiteOnlineStore(path) as store:
        row = OnlineRow(key=(1,), event_time=START, known_at=START, values=(10, (1,)))
        store.put(USERS, [row])
        limits = ServerLimits(deadline_s=20)
        whole, routes = (
            make_app(Service(store, {"feed": SET}), store, limits=limits) for _ in "ab"
        )
        routes.user_middleware = [each for each in routes.user_middleware if each.cls is not Direct]
        assert len(routes.user_middleware) < len(whole.user_middleware)
        with TestClient(whole) as first, TestClient(routes) as second:
            yield first, second


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        *(({**USUAL, "x-deadline-ms": said}, ASKED) for said in ("20000", "60000", "60001", "0")),
        *(
            ({**USUAL, "x-deadline-ms": said}, ASKED)
            for said in ("", "-1", "+9000", "9_000", "1e4")
        ),
        *(({**USUAL, "x-deadline-ms": said}, ASKED) for said in ("09000", " 9000 ", "9000.0", "x")),
        *(
            ({"content-type": said}, ASKED)
            for said in ("application/json; charset=utf-8", "text/plain", "APPLICATION/JSON", "")
        ),
        ({}, ASKED),
        *(
            (USUAL, body)
            for body in (
                ASKED,
                ASKED.replace("1}", "NaN}"),
                ASKED.replace("1}", '"1"}'),
                ASKED.replace(USERS.view, "features.none"),
                ASKED.replace('"at"', '"on"'),
                ASKED[:-1],
                "",
                "null",
                "[]",
                "\ufeff" + ASKED,
                '{"sample_set": "none", "entities": [{"user_id": 1}]}',
                '{"views": ["features.users"], "entities": ' + "[" * 100_000,
            )
        ),
    ],
)
def test_a_question_is_answered_as_the_routes_answer_it(
    both: tuple[TestClient, TestClient], headers: dict[str, str], body: str
) -> None:
    found, expected = (
        each.post("/v1/vectors", content=body.encode(), headers=headers) for each in both
    )
    assert _said(found) == _said(expected)


@pytest.mark.parametrize("path", ["/v1/score", "/v1/rank"])
def test_a_question_without_a_model_is_answered_as_the_routes_answer_it(
    both: tuple[TestClient, TestClient], path: str
) -> None:
    name = "rows" if path == "/v1/score" else "candidates"
    for body in ({name: [{"user_id": 1}]}, {name: []}):
        found, expected = (each.post(path, json=body) for each in both)
        assert _said(found) == _said(expected)


def test_a_header_that_is_given_twice_is_read_as_the_routes_read_it(
    both: tuple[TestClient, TestClient],
) -> None:
    twice = [
        ("content-type", "application/json"),
        ("x-deadline-ms", "9000"),
        ("x-deadline-ms", "0"),
    ]
    for headers in (twice, twice[::-1], [*twice[:2], ("content-type", "text/plain")]):
        found, expected = (
            each.post("/v1/vectors", content=ASKED.encode(), headers=headers) for each in both
        )
        assert _said(found) == _said(expected)


def test_a_usual_question_needs_no_route() -> None:
    """What it saves would be gone, unsaid, if usual questions went to the routes."""
    asked: list[Any] = []

    async def route(*_: object) -> None:
        asked.append("route")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": ASKED.encode(), "more_body": False}

    async def send(message: Any) -> None:  # noqa: ANN401
        asked.append(message["type"])

    app = make_app(_Answering(), None, limits=ServerLimits(deadline_s=20))  # pyright: ignore[reportArgumentType]
    (made,) = (each for each in app.user_middleware if each.cls is Direct)
    headers = [(b"content-type", b"application/json"), (b"x-deadline-ms", b"9000")]
    scope = {"type": "http", "method": "POST", "path": "/v1/vectors", "headers": headers}
    direct = Direct(route, **made.kwargs)  # pyright: ignore[reportCallIssue, reportArgumentType]
    asyncio.run(direct(scope, receive, send))
    assert asked == ["http.response.start", "http.response.body"]


class _Answering(Service):
    def __init__(self) -> None:
        pass

    def vectors(self, request: object) -> dict[str, Any]:
        return {"asked": str(request), "views": []}


def _said(answer: Any) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401  (of whichever client the framework has)
    return answer.status_code, dict(answer.headers), answer.content
