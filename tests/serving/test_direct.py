"""Questions that are answered at once get what the routes would say, and others go to the routes."""

import asyncio
import contextlib
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from headrace.loading.export import export_model
from headrace.serving.scorer import Scorer
from headrace.serving.server.app import ServerLimits, make_app
from headrace.serving.server.direct import Direct
from headrace.serving.server.service import Service
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow, Value
from tests.serving.ranked import (
    AT,
    ITEMS,
    SET,
    SPEC,
    START,
    TYPES,
    USERS,
    Model,
    lockfile,
)

pytestmark = pytest.mark.slow
USUAL = {"content-type": "application/json"}
ASKED = f'{{"views": ["{USERS.view}"], "entities": [{{"user_id": 1}}], "at": "{AT.isoformat()}"}}'


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, TestClient]]:
    """The server, and its routes alone."""
    with asked(tmp_path_factory.mktemp("store")) as clients:
        yield clients


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, TestClient]]:
    """The same with a model."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("model") / "feed"
    export_model(Model(), spec=SPEC, types=TYPES, lock=lockfile(), folder=folder)
    with asked(tmp_path_factory.mktemp("store"), Scorer.open(folder)) as clients:
        yield clients


@contextlib.contextmanager
def asked(folder: Path, scorer: Scorer | None = None) -> Generator[tuple[TestClient, TestClient]]:
    with SQLiteOnlineStore(folder / "online.db") as store:
        store.put(USERS, [row(1, (10, (1,)))])
        store.put(ITEMS, [row(item, (item / 64, f"brand {item}")) for item in range(20)])
        limits = ServerLimits(deadline_s=20)
        whole, routes = (
            make_app(Service(store, {"feed": SET}, scorer), store, limits=limits) for _ in "ab"
        )
        assert isinstance(routes.app, Direct)
        routes.app = routes.app.app
        with TestClient(whole) as first, TestClient(routes) as second:
            yield first, second


def row(key: int, values: tuple[Value, ...]) -> OnlineRow:
    return OnlineRow(key=(key,), event_time=START, known_at=START, values=values)


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


ITEM = {"user_id": 1, "item_id": 3, "position": 1}


@pytest.mark.parametrize("path", ["/v1/score", "/v1/rank"])
@pytest.mark.parametrize("more", [{}, {"explain": True}, {"top": 2}, {"top": 0}, {"top": True}])
@pytest.mark.parametrize(
    "rows",
    [
        [ITEM],
        [{**ITEM, "item_id": item} for item in (7, 3, 7, 99)],
        [{**ITEM, "user_id": 2}],
        [{**ITEM, "item_id": "3"}],
        [ITEM, {"user_id": 1, "item_id": 3}],
        [{**ITEM, "position": 2**70}],
        [{**ITEM, "position": 1.5}],
        [{**ITEM, "position": "\ud800"}],
        [{**ITEM, "more": "\u00e9"}],
        [ITEM] * 1_001,
        [[1]],
        {},
    ],
)
def test_a_question_to_a_model_is_answered_as_the_routes_answer_it(
    scoring: tuple[TestClient, TestClient], path: str, rows: object, more: dict[str, object]
) -> None:
    body = {"rows" if path == "/v1/score" else "candidates": rows, "at": AT.isoformat(), **more}
    found, expected = (
        each.post(path, content=json.dumps(body).encode(), headers=USUAL) for each in scoring
    )
    assert _said(found) == _said(expected)


def test_a_model_is_asked_at_once(scoring: tuple[TestClient, TestClient]) -> None:
    """So the answers that are compared are not all refusals."""
    body = {"rows": [ITEM, {**ITEM, "item_id": 4}], "at": AT.isoformat()}
    answer = scoring[0].post("/v1/score", json=body)
    assert answer.status_code == 200
    assert len(set(answer.json()["scores"])) == 2


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

    direct = make_app(_Answering(), None, limits=ServerLimits(deadline_s=20)).app  # pyright: ignore[reportArgumentType]  (a service that only answers)
    assert isinstance(direct, Direct)
    direct.app = route
    headers = [(b"content-type", b"application/json"), (b"x-deadline-ms", b"9000")]
    scope = {"type": "http", "method": "POST", "path": "/v1/vectors", "headers": headers}
    asyncio.run(direct(scope, receive, send))
    assert asked == ["http.response.start", "http.response.body"]


class _Answering(Service):
    def __init__(self) -> None:
        pass

    def vectors(self, request: object) -> dict[str, Any]:
        return {"asked": str(request), "views": []}


def _said(answer: Any) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401  (of whichever client the framework has)
    return answer.status_code, dict(answer.headers), answer.content
