"""Requests that are odd or come at an odd moment: what is refused as what, and what goes on after it."""

import asyncio
import datetime as dt
import itertools
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import (
    DatabaseUnavailableError,
    DeadlineError,
    EntityKeyError,
    FeatureSpecError,
    FeatureSpecReason,
)
from headrace.serving.server.app import ServerLimits, make_app
from headrace.serving.server.limits import Guard, Rate, Workers
from headrace.serving.server.metrics import ServerMetrics
from headrace.serving.server.service import Service
from headrace.serving.server.wire import ROWS_MAX, VectorsRequest, json_of
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import Found, OnlineRow, ViewState
from headrace.serving.values import decode, decode_rows, encode, plain, plain_column
from headrace.serving.vectors import lookup_vectors
from tests.conftest import ROOT
from tests.raising import refused
from tests.serving.ranked import AT, START, USERS
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    with SQLiteOnlineStore(tmp_path / "online.db") as opened:
        opened.put(USERS, [row(1, (10, (1,)))])
        yield opened


@pytest.fixture
def client(store: SQLiteOnlineStore) -> Iterator[TestClient]:
    with TestClient(
        make_app(Service(store, {}), store, limits=ServerLimits(deadline_s=20))
    ) as opened:
        yield opened


def row(key: Any, values: tuple[Any, ...]) -> OnlineRow:  # noqa: ANN401
    return OnlineRow(key=(key,), event_time=START, known_at=START, values=values)


def asked(client: TestClient, *entities: dict[str, Any], view: str = USERS.view) -> tuple[int, Any]:
    body = {"views": [view], "entities": entities, "at": AT.isoformat()}
    answer = client.post("/v1/vectors", json=body)
    return answer.status_code, answer.json()


def keyed(name: str, kind: pa.DataType) -> ViewState:
    """The view of users with another key."""
    at = USERS.schema.get_field_index("user_id")
    return replace(USERS, entity=(name,), schema=USERS.schema.set(at, pa.field(name, kind)))


@pytest.mark.parametrize(
    ("state", "key", "said"),
    [
        (keyed("user_id", pa.string()), "abc", "abc"),
        (keyed("uid", pa.int64()), 1, 1),
        (keyed("user_id", pa.date32()), START.date(), START.date().isoformat()),
    ],
)
def test_a_view_published_anew_with_another_key_is_asked_by_that_key(
    client: TestClient,
    store: SQLiteOnlineStore,
    state: ViewState,
    key: Any,  # noqa: ANN401
    said: Any,  # noqa: ANN401
) -> None:
    assert asked(client, {"user_id": 1})[0] == 200
    store.replace(state, [row(key, (20, (2,)))])
    status, found = asked(client, {state.entity[0]: said})
    assert (status, found.get("values")) == (200, [[20, [2]]])
    assert asked(client, {"user_id": 1})[0] == 422


def test_states_that_other_threads_put_back_do_not_hide_another_shape(
    store: SQLiteOnlineStore,
) -> None:
    class PutBack(dict[str, ViewState]):
        """What is known, which a slower thread always sets to the older state."""

        def __setitem__(self, name: str, state: ViewState) -> None:
            super().__setitem__(name, USERS)

    text = keyed("user_id", pa.string())
    store.replace(text, [row("1", (20, ()))])
    known = PutBack({USERS.view: USERS})
    with refused(EntityKeyError, column="user_id"):
        lookup_vectors(store, [USERS.view], [{"user_id": 1}], at=AT, known=known)


def test_columns_of_one_name_in_two_views_are_refused_and_not_mixed(
    client: TestClient, store: SQLiteOnlineStore
) -> None:
    other = replace(USERS, view="features.others")
    store.put(other, [row(1, (99, ()))])
    body = {"views": [USERS.view, other.view], "entities": [{"user_id": 1}]}
    answer = client.post("/v1/vectors", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "feature-spec")
    found = lookup_vectors(store, [USERS.view, other.view], [{"user_id": 1}], at=AT)
    with refused(FeatureSpecError, reason=FeatureSpecReason.NAMED_TWICE):
        found.columns()
    with refused(FeatureSpecError, reason=FeatureSpecReason.NAMED_TWICE):
        found.vector(0).values()


@pytest.mark.parametrize(
    "body",
    [
        '{"views": ["features.users"], "entities": [{"user_id": NaN}]}',
        '{"views": ["features.users"], "entities": [{"user_id": 1, "x": [{"y": -Infinity}]}]}',
        '{"views": ["features.users"], "entities": [{"user_id": 1, "x": "\\ud800"}]}',
        '{"views": ["features.\\ud800"], "entities": [{"user_id": 1}]}',
        '{"views": ["features.users"], "entities": [{"user_id": 1}], "\\ud800": NaN}',
        '{"views": ["features.users"], "entities": [{"user_id": 1}], "at": 1700000000}',
        '{"views": ["features.users"], "entities": [{"\\ud800": 1, "user_id": 1}]}',
        '{"views": ["features.users"], "entities": ' + "[" * 100_000,
        '{"views": ["features.users"], "entities": [{"user_id": ' + "9" * 5_000 + "}]}",
        '{"views": NaN, "entities": NaN}',
        "[]",
        "",
    ],
)
def test_what_json_does_not_mean_is_refused_with_the_place(client: TestClient, body: str) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/vectors", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]
    assert "input" not in answer.text  # a long body is not sent back


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded"])  # as `curl -d`
def test_a_body_that_is_not_said_to_be_json_is_refused_by_what_to_say(
    client: TestClient, kind: str | None
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = client.post("/v1/vectors", content='{"views": []}', headers=headers)
    assert answer.status_code == 422
    assert "`content-type: application/json`" in answer.json()["detail"][0]["msg"]


def test_an_answer_has_times_with_their_offset_and_integers_of_any_size() -> None:
    said: dict[str, Any] = {"at": AT, "rows": ((1, None),), "values": [0.1, True]}
    plain = {"at": AT.isoformat(), "rows": [[1, None]], "values": [0.1, True]}
    assert json.loads(json_of(said)) == plain
    assert json.loads(json_of({**said, "position": 2**64})) == {**plain, "position": 2**64}


def test_a_column_is_written_as_each_of_its_values_is() -> None:
    for column in (
        [0.5, float("nan"), float("-inf")],
        [1e308, 1e308, -1e308],
        [float("inf"), float("-inf")],
        [0.5, None, 2],
        [1, "a", True, None],
        [(1.5, float("inf")), ()],
        [Decimal("1.50"), b"\x00\xff", AT, START.date()],
    ):
        assert list(plain_column(column)) == [plain(value) for value in column]


@pytest.mark.parametrize("values", [(1, "a"), ("[",), ("{}", 1.5), ((1, 2), None), (b"x",)])
def test_rows_read_together_are_those_read_one_by_one(values: tuple[Any, ...]) -> None:
    texts = [encode(each) for each in [(0, "b"), values, (None, "c")]]
    assert decode_rows(texts) == [decode(each) for each in texts]


@pytest.mark.parametrize(
    "texts",
    [
        ["[1],[2]", "[3]"],
        ["[1],[2", "3]"],
        ["[1],[[2]", "[3]]"],
        ['["a]', '[b"],["c"]'],
        ["[1]", "{}", '"ab"'],
        ["[3],null,[4]", "[1", "2]"],
    ],
)
def test_a_damaged_row_gives_its_values_to_no_other(texts: list[str]) -> None:
    with pytest.raises(ValueError):  # where it is no JSON at all, that says so
        decode_rows(texts)


@given(
    rows=st.lists(
        st.lists(st.none() | st.integers(0, 9) | st.text("a[],", max_size=3), max_size=3),
        min_size=2,
    ),
    cuts=st.lists(st.integers(0, 200), min_size=1, max_size=4),
)
def test_rows_that_are_cut_elsewhere_are_refused_or_read_as_each_of_them_is(
    rows: list[list[Any]], cuts: list[int]
) -> None:
    whole = ",".join(encode(each) for each in rows)
    commas = [at for at, letter in enumerate(whole) if letter == ","]
    at = sorted({-1, len(whole), *(commas[cut % len(commas)] for cut in cuts)})
    texts = [whole[before + 1 : comma] for before, comma in itertools.pairwise(at)]
    try:
        found = decode_rows(texts)
    except ValueError:
        return
    assert found == [decode(each) for each in texts]


def test_metrics_count_every_answer_by_its_status(store: SQLiteOnlineStore) -> None:
    class Broken(Service):
        def vectors(self, request: VectorsRequest) -> dict[str, Any]:
            raise ZeroDivisionError

    limits = ServerLimits(token="secret", bytes_max=1_000, deadline_s=20)
    headers = {"authorization": "Bearer secret"}
    body = {"views": [USERS.view], "entities": [{"user_id": 1}]}
    app = make_app(Broken(store, {}), store, limits=limits)
    with TestClient(app, raise_server_exceptions=False) as opened:
        for sent, said in ((body, {}), ({"no": 1}, headers), (body, headers)):
            opened.post("/v1/vectors", json=sent, headers=said)
        opened.post("/v1/vectors", content=b"x" * 2_000, headers=headers)
        opened.get("/secret/path", headers=headers)
        text = opened.get("/metrics", headers=headers).text
    for path, status in (
        ("/v1/vectors", 401),
        ("/v1/vectors", 422),
        ("/v1/vectors", 500),
        ("/v1/vectors", 413),
        ("other", 404),
    ):
        said = f'headrace_serve_requests_total{{path="{path}",status="{status}"}} 1.0'
        assert said in text


def test_a_store_that_does_not_answer_is_named_and_no_value_is_made_up(
    client: TestClient, store: SQLiteOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> list[Found]:
        raise DatabaseUnavailableError("online store", "it is away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "look_up", away)
        status, found = asked(client, {"user_id": 1})
        assert (status, found["code"]) == (503, "database-unavailable")
        assert "values" not in found
    assert asked(client, {"user_id": 1})[0] == 200  # nothing of the failure is kept


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    sent: list[Any] = []

    async def app(*_: object) -> None:
        raise AssertionError

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    guard = Guard(app, bytes_max=1_000, token=None, body_s=0.1)
    scope = {"type": "http", "path": "/v1/vectors", "headers": []}
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == 408


def test_so_many_requests_pass_a_second_and_those_of_one_second_after_a_pause() -> None:
    now = [5.0]
    rate = Rate(2.0, clock=lambda: now[0])
    assert [rate.passes() for _ in range(3)] == [True, True, False]
    now[0] += 0.5
    assert [rate.passes() for _ in range(2)] == [True, False]
    now[0] += 3_600.0
    assert [rate.passes() for _ in range(3)] == [True, True, False]
    slow = Rate(0.5, clock=lambda: now[0])
    assert [slow.passes() for _ in range(2)] == [True, False]
    now[0] += 2.0
    assert slow.passes()


def test_questions_above_the_rate_are_answered_at_once_and_health_is_not_counted(
    store: SQLiteOnlineStore,
) -> None:
    asked: list[str] = []

    class Counted(Service):
        def vectors(self, request: VectorsRequest) -> dict[str, Any]:
            asked.append("vectors")
            return super().vectors(request)

    app = make_app(Counted(store, {}), store, limits=ServerLimits(per_s=0.001, deadline_s=20))
    body = {"views": [USERS.view], "entities": [{"user_id": 1}]}
    with TestClient(app) as opened:
        first, second = (opened.post("/v1/vectors", json=body) for _ in range(2))
        others = [opened.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")]
        text = opened.get("/metrics").text
    assert (first.status_code, second.status_code, others) == (200, 429, [200] * 3)
    assert (second.headers["retry-after"], second.json()["error"]) == ("1", "too_many")
    assert asked == ["vectors"]
    assert 'headrace_serve_requests_total{path="/v1/vectors",status="429"} 1.0' in text


def test_a_client_that_went_away_is_not_answered_by_half_of_its_body() -> None:
    parts = [
        {"type": "http.request", "body": b"{}", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def app(*_: object) -> None:
        raise AssertionError

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    guard = Guard(app, bytes_max=1_000, token=None)
    asyncio.run(guard({"type": "http", "path": "/", "headers": []}, receive, app))


def test_work_that_is_too_late_before_it_begins_is_not_begun() -> None:
    begun: list[int] = []
    may_end = threading.Event()

    def act(number: int) -> None:
        begun.append(number)
        assert may_end.wait(WAIT_S)

    async def many() -> None:
        first = asyncio.create_task(workers.run(lambda: act(0), deadline_s=WAIT_S))
        while not begun:
            await asyncio.sleep(0.01)
        others = [workers.run(lambda n=n: act(n), deadline_s=0.1) for n in range(1, 6)]
        found = await asyncio.gather(*others, return_exceptions=True)
        assert {type(each) for each in found} == {DeadlineError}
        assert workers.begun == 1  # the places of those that never began are free
        may_end.set()
        await first

    workers = Workers(threads=1, begun_max=10)
    asyncio.run(many())
    workers.close()
    assert begun == [0]


def test_the_dashboard_shows_every_metric_that_is_exported_and_no_other(
    store: SQLiteOnlineStore,
) -> None:
    metrics = ServerMetrics()
    text = metrics.text(store).decode()
    exported = set(re.findall(r"^# TYPE (headrace_serve_\w+) ", text, re.MULTILINE))
    exported = {name for name in exported if not name.endswith("_created")}
    board = (ROOT / "infra" / "grafana" / "dashboards" / "serve.json").read_text()
    shown = {name.removesuffix("_bucket") for name in re.findall(r"headrace_serve_\w+", board)}
    assert shown == exported


def test_keys_that_json_has_no_type_for_are_read_from_texts(tmp_path: Path) -> None:
    kinds = {
        "moment": (pa.timestamp("us", tz="UTC"), AT, AT.isoformat()),
        "day": (pa.date32(), dt.date(2026, 1, 5), "2026-01-05"),
        "price": (pa.decimal128(10, 2), Decimal("1.50"), "1.5"),
        "raw": (pa.binary(), b"\x00\xff", "AP8="),
    }
    state = ViewState(
        view="features.odd",
        entity=tuple(kinds),
        columns=("value",),
        schema=pa.schema(
            [*((name, kind) for name, (kind, _, _) in kinds.items()), ("value", "f8")]
        ),
        ttl=None,
        delay=dt.timedelta(0),
        snapshot_id=1,
        as_of=START,
        published_at=START,
    )
    with SQLiteOnlineStore(tmp_path / "odd.db") as store:
        key = tuple(value for _, value, _ in kinds.values())
        store.put(
            state, [OnlineRow(key=key, event_time=START, known_at=START, values=(float("nan"),))]
        )
        with TestClient(
            make_app(Service(store, {}), store, limits=ServerLimits(deadline_s=20))
        ) as opened:
            texts = {name: text for name, (_, _, text) in kinds.items()}
            body = {"views": [state.view], "entities": [texts]}
            assert opened.post("/v1/vectors", json=body).json()["values"] == [["NaN"]]
            body["entities"] = [{**texts, "price": "150e-2", "raw": "AP8="}]
            assert opened.post("/v1/vectors", json=body).json()["values"] == [["NaN"]]
            for name, text in (
                ("day", "yesterday"),
                ("moment", AT.isoformat().replace("+00:00", ".0000009+00:00")),
                ("price", "1_.5"),
                ("price", " 1.5 "),
                ("price", "1.\u0665"),  # an Arabic five
                ("raw", "AP9="),  # the last bits belong to no byte
                ("raw", "A P8="),
            ):
                body["entities"] = [{**texts, name: text}]
                answer = opened.post("/v1/vectors", json=body)
                assert (answer.status_code, answer.json()["code"]) == (422, "entity-key"), text


def test_the_description_names_every_question_and_its_bounds(client: TestClient) -> None:
    said = client.get("/openapi.json").json()
    bodies = {
        path: each["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for path, each in said["paths"].items()
        if "post" in each
    }
    lists = {"/v1/vectors": "entities", "/v1/score": "rows", "/v1/rank": "candidates"}
    assert bodies.keys() == lists.keys()
    assert set(said["paths"]) - set(bodies) == {"/healthz", "/readyz", "/metrics"}
    for path, name in lists.items():
        schema = said["components"]["schemas"][bodies[path].rpartition("/")[2]]
        rows = schema["properties"][name]
        assert (rows["type"], rows["minItems"], rows["maxItems"]) == ("array", 1, ROWS_MAX)
        assert (rows["items"]["type"], name in schema["required"]) == ("object", True)
        assert schema["additionalProperties"] is False
        status = {count: _rows(client, path, name, count) for count in (ROWS_MAX, ROWS_MAX + 1)}
        assert (status[ROWS_MAX] != 422, status[ROWS_MAX + 1]) == (True, 422)


def _rows(client: TestClient, path: str, name: str, count: int) -> int:
    body = {name: [{"user_id": 1}] * count} | ({"views": [USERS.view]} if "vec" in path else {})
    return client.post(path, json=body).status_code
