"""The feature server: what it answers, what it refuses and why, under load and when it is stopped."""

import datetime as dt
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from fastapi.testclient import TestClient

from headrace.definitions.sample_set import FeatureUse
from headrace.definitions.windows import Windows
from headrace.errors import FeatureSpecError, ModelFilesError, ModelMismatchError
from headrace.identifiers import TableName
from headrace.loading import FeatureSpec, batch_of
from headrace.loading.export import export_model
from headrace.model_inputs.encode import encode
from headrace.model_inputs.exported import FACTS, GRAPH, ExportedModel
from headrace.samples.window_use import ResolvedWindows
from headrace.serving.scorer import Scorer
from headrace.serving.server.app import ServerLimits, make_app
from headrace.serving.server.service import Service
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import Found, OnlineRow, ViewState
from headrace.serving.versions import apply_move, plan_rollback, plan_switch, versions_of
from headrace.serving.window_state import stored_columns, stored_schema
from tests.raising import refused
from tests.samples.window_oracle import windows_of
from tests.serving.ranked import (
    AT,
    ITEMS,
    LARGE,
    RECIPE,
    SET,
    SPEC,
    START,
    TYPES,
    USERS,
    Model,
    lockfile,
    resolved,
)
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    model: Model
    folder: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.manual_seed(5)
    model, folder = Model(), tmp_path_factory.mktemp("models") / "feed"
    export_model(model, spec=SPEC, types=TYPES, lock=lockfile(), folder=folder)
    return Trained(model.eval(), folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    with SQLiteOnlineStore(tmp_path / "online.db") as opened:
        opened.put(USERS, [at((user,), (user, (user, 7))) for user in (1, 2, LARGE)])
        opened.put(ITEMS, [at((item,), (item / 64, f"brand {item}")) for item in range(40)])
        yield opened


def at(key: tuple[int, ...], values: tuple[Any, ...]) -> OnlineRow:
    return OnlineRow(key=key, event_time=START, known_at=START, values=values)


@pytest.fixture
def client(store: SQLiteOnlineStore, trained: Trained) -> Iterator[TestClient]:
    service = Service(store, {"feed": SET}, Scorer.open(trained.folder))
    with TestClient(make_app(service, store, limits=ServerLimits(deadline_s=20))) as opened:
        yield opened


def said(client: TestClient, path: str, **body: object) -> tuple[int, Any]:
    answer = client.post(path, json={"at": AT.isoformat(), **body})
    return answer.status_code, answer.json()


def test_vectors_hold_every_value_exactly_and_say_why_one_is_missing(client: TestClient) -> None:
    entities = [{"user_id": LARGE, "item_id": 3}, {"user_id": 9, "item_id": 3}]
    status, found = said(client, "/v1/vectors", sample_set="feed", entities=entities)
    assert status == 200
    assert found["names"] == ["user_clicks", "user_liked", "ctr", "brand"]
    assert found["values"] == [
        [LARGE, [LARGE, 7], 3 / 64, "brand 3"],
        [None, None, 3 / 64, "brand 3"],
    ]
    assert [view["status"] for view in found["views"]] == [["fresh", "missing"], ["fresh"] * 2]
    assert found["views"][0]["snapshot_id"] == str(LARGE)
    assert found["views"][0]["event_time"] == [START.isoformat(), None]


def test_an_answer_says_which_days_were_held_back(
    client: TestClient, store: SQLiteOnlineStore
) -> None:
    day = START.date()
    store.put(replace(USERS, held_back=(day,)), [])
    status, found = said(client, "/v1/vectors", views=[USERS.view], entities=[{"user_id": 5}])
    assert (status, found["views"][0]["status"]) == (200, ["missing"])
    about = (found["views"][0]["held_back"], found["views"][0]["as_of"])
    assert about == ([day.isoformat()], USERS.as_of.isoformat())


def test_a_value_is_served_by_the_training_rule_at_the_moment_asked_for(client: TestClient) -> None:
    hour = dt.timedelta(hours=1)
    us = dt.timedelta(microseconds=1)
    for moment, status in (
        (START, "not_yet_known"),
        (START + us, "fresh"),
        (START + hour, "fresh"),
        (START + hour + us, "expired"),
    ):
        body = {"views": [USERS.view], "entities": [{"user_id": 1}], "at": moment.isoformat()}
        found = client.post("/v1/vectors", json=body).json()
        assert found["views"][0]["status"] == [status]


@pytest.mark.parametrize("wrong", ["1", 1.0, True, None, 2**63, [1]])
def test_a_key_of_another_type_is_refused_and_never_missing(
    client: TestClient, wrong: object
) -> None:
    body = {"views": [USERS.view], "entities": [{"user_id": wrong}]}
    status, found = said(client, "/v1/vectors", **body)
    assert (status, found["code"]) == (422, "entity-key")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"views": ["features.none"], "entities": [{}]}, 404),
        ({"sample_set": "none", "entities": [{}]}, 404),
        ({"entities": [{}]}, 422),
        ({"views": [USERS.view], "sample_set": "feed", "entities": [{}]}, 422),
        ({"views": [USERS.view], "entities": []}, 422),
        ({"views": [USERS.view], "entities": [{}] * 1_001}, 422),
        ({"views": [USERS.view], "entities": [{"user_id": 1}], "more": 1}, 422),
        ({"views": [USERS.view], "entities": [{"user_id": 1}], "at": "2026-01-05T00:00:00"}, 422),
    ],
)
def test_a_malformed_request_is_refused_with_the_reason(
    client: TestClient, body: dict[str, object], status: int
) -> None:
    answer = client.post("/v1/vectors", json=body)
    assert answer.status_code == status
    assert answer.json()


def test_what_is_no_json_is_refused(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    assert client.post("/v1/vectors", content=b"{nan", headers=headers).status_code == 422


def test_scores_are_those_of_the_model_in_torch(client: TestClient, trained: Trained) -> None:
    draw = random.Random(1)
    rows: list[dict[str, Any]] = [
        {
            "user_id": draw.choice((1, 2, LARGE, 99)),
            "item_id": draw.randrange(50),
            "position": draw.choice((1, 2, None)),
        }
        for _ in range(200)
    ]
    status, found = said(client, "/v1/score", rows=rows, explain=True)
    assert status == 200
    with torch.inference_mode():
        wanted = torch.sigmoid(trained.model(batch_of(found["inputs"], spec=SPEC, types=TYPES)))
    assert found["scores"] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert found["dataset"] == "feed v3"
    alone = [said(client, "/v1/score", rows=[row])[1]["scores"][0] for row in rows[:20]]
    assert alone == pytest.approx(found["scores"][:20], abs=1e-6)


def test_candidates_are_ranked_by_score_and_ties_keep_their_order(client: TestClient) -> None:
    candidates = [{"item_id": item} for item in [*range(30), 5, 5]]
    context = {"user_id": 2, "position": 1}
    _, found = said(client, "/v1/rank", context=context, candidates=candidates, explain=True)
    scores = [each["score"] for each in found["ranked"]]
    assert scores == sorted(scores, reverse=True)
    places = [each["candidate"] for each in found["ranked"]]
    assert sorted(places) == list(range(32))
    assert [place for place in places if place in (5, 30, 31)] == [5, 30, 31]
    assert found["inputs"][0]["item_id"] == candidates[places[0]]["item_id"]
    _, first = said(client, "/v1/rank", context=context, candidates=candidates, top=3)
    assert first["ranked"] == found["ranked"][:3]


def test_a_row_without_a_column_of_the_exposure_is_refused(client: TestClient) -> None:
    status, found = said(client, "/v1/score", rows=[{"user_id": 1, "item_id": 1}])
    assert (status, found["code"]) == (422, "feature-spec")
    assert "position" in found["message"]


def test_a_view_of_another_definition_is_not_scored(
    client: TestClient, store: SQLiteOnlineStore
) -> None:
    rows = [{"user_id": 1, "item_id": 1, "position": 1}]
    assert said(client, "/v1/score", rows=rows)[0] == 200
    assert client.get("/readyz").status_code == 200
    store.replace(replace(ITEMS, delay=dt.timedelta(hours=2)), [at((1,), (0.5, "x"))])
    status, found = said(client, "/v1/score", rows=rows)
    assert (status, found["code"]) == (409, "model-mismatch")
    assert "delay" in found["message"]
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert "delay" in ready.json()["reasons"][0]


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (replace(ITEMS, entity=("ctr",)), "entity"),
        (replace(ITEMS, ttl=dt.timedelta(days=1)), "TTL"),
        (replace(ITEMS, columns=("ctr",)), "brand"),
        (replace(ITEMS, schema=ITEMS.schema.set(1, pa.field("ctr", pa.float64()))), "double"),
    ],
)
def test_a_model_says_what_differs(trained: Trained, other: ViewState, word: str) -> None:
    scorer = Scorer.open(trained.folder)
    scorer.refuse_other({USERS.view: USERS, ITEMS.view: ITEMS})
    with refused(ModelMismatchError, view=ITEMS.view) as found:
        scorer.refuse_other({USERS.view: USERS, ITEMS.view: other})
    assert word in found.value.detail


def test_files_of_a_model_that_do_not_belong_together_are_refused(
    trained: Trained, tmp_path: Path
) -> None:
    for name, change in ((GRAPH, b"other"), (FACTS, b"{}"), (FACTS, b"\xff")):
        for each in trained.folder.iterdir():
            (tmp_path / each.name).write_bytes(each.read_bytes())
        (tmp_path / name).write_bytes(change)
        with refused(ModelFilesError, folder=str(tmp_path)):
            Scorer.open(tmp_path)
    with refused(ModelFilesError):
        Scorer.open(tmp_path / "none")


def test_a_model_knows_how_its_window_views_were_declared(trained: Trained) -> None:
    def published(windows: Windows) -> dict[str, ViewState]:
        entity = pa.schema([("u", pa.int64()), ("c", pa.string())])
        shown = {"columns": stored_columns(), "schema": stored_schema(windows, entity)}
        recent = replace(USERS, view=windows.view, entity=windows.entity, **shown)  # pyright: ignore[reportArgumentType]
        return {USERS.view: USERS, ITEMS.view: ITEMS, windows.view: recent}

    windows = windows_of()
    used = ResolvedWindows(
        windows=windows, columns=(("plays_1m", "w_plays_1m"),), coordinate=("_source",)
    )
    scorer = Scorer.open(trained.folder)
    scorer.recipe = replace(RECIPE, windows=(used,))
    scorer.refuse_other(published(windows))
    scorer.refuse_other(published(windows_of(stale_after="7d")))
    assert scorer.uses[-1].column_names == ("w_plays_1m",)
    detail = "its `delay` is 0:00:03, was 0:00:00"
    with refused(ModelMismatchError, view=windows.view, detail=detail):
        scorer.refuse_other(published(windows_of(delay="3s")))
    with refused(ModelMismatchError, view=windows.view):
        scorer.refuse_other({**published(windows), windows.view: USERS})


def test_rows_are_scored_by_a_model_that_reads_a_window_view(
    store: SQLiteOnlineStore, trained: Trained
) -> None:
    windows = windows_of()
    entity = pa.schema([("u", pa.int64()), ("c", pa.string())])
    shown = {"columns": stored_columns(), "schema": stored_schema(windows, entity), "as_of": AT}
    recent = replace(USERS, view=windows.view, entity=windows.entity, **shown)  # pyright: ignore[reportArgumentType]
    store.put(recent, [])
    used = ResolvedWindows(
        windows=windows, columns=(("plays_1m", "w_plays_1m"),), coordinate=("_source",)
    )
    scorer = Scorer.open(trained.folder)
    scorer.recipe = replace(RECIPE, windows=(used,))
    service = Service(store, {"feed": SET}, scorer)
    with TestClient(make_app(service, store, limits=ServerLimits(deadline_s=20))) as opened:
        rows = [{"user_id": 1, "item_id": 1, "position": 1, "u": 1, "c": "x"}]
        status, found = said(opened, "/v1/score", rows=rows, explain=True)
    assert (status, found["inputs"][0]["w_plays_1m"]) == (200, 0)


def test_a_model_that_cannot_be_used_leaves_the_former_one(
    store: SQLiteOnlineStore, trained: Trained
) -> None:
    service = Service(store, {"feed": SET})
    service.use(Scorer.open(trained.folder))
    other = replace(ExportedModel.load(trained.folder), version=4)
    scorer = Scorer.open(trained.folder)
    scorer.recipe = replace(RECIPE, features=(resolved(replace(ITEMS, ttl=USERS.ttl)),))
    scorer.recipe = replace(
        RECIPE, features=(replace(resolved(ITEMS), entity=("other",)), resolved(USERS, "user_"))
    )
    scorer.model = other
    with refused(ModelMismatchError):
        Service(store, {"feed": SET}).use(scorer)
    assert not service.use(scorer)
    with TestClient(make_app(service, store, limits=ServerLimits(deadline_s=20))) as opened:
        rows = [{"user_id": 1, "item_id": 1, "position": 1}]
        assert said(opened, "/v1/score", rows=rows)[1]["dataset"] == "feed v3"


def test_scores_go_on_through_a_switch_and_a_rollback_by_the_model_of_each_definition(
    trained: Trained, store: SQLiteOnlineStore
) -> None:
    delayed = replace(ITEMS, view=f"{ITEMS.view}@next", delay=dt.timedelta(minutes=1))
    store.put(delayed, [at((1,), (0.5, "x"))])
    other = Scorer.open(trained.folder)
    moved = replace(resolved(ITEMS), delay_us=60_000_000)
    other.recipe = replace(RECIPE, features=(resolved(USERS, "user_"), moved))
    other.model = replace(other.model, version=4)
    service = Service(store, {"feed": SET}, Scorer.open(trained.folder))
    assert not service.use(other)  # it waits
    rows = [{"user_id": 1, "item_id": 1, "position": 1}]
    with TestClient(make_app(service, store, limits=ServerLimits(deadline_s=20))) as opened:

        def scored_by() -> str:
            assert opened.get("/readyz").status_code == 200
            return said(opened, "/v1/score", rows=rows)[1]["dataset"]

        assert scored_by() == "feed v3"
        apply_move(store, plan_switch(ITEMS.view, versions_of(store, ITEMS.view)))
        assert scored_by() == "feed v4"
        apply_move(store, plan_rollback(ITEMS.view, versions_of(store, ITEMS.view)))
        assert scored_by() == "feed v3"
        store.replace(replace(ITEMS, delay=dt.timedelta(hours=2)), [at((1,), (0.5, "x"))])
        status, found = said(opened, "/v1/score", rows=rows)
        assert (status, "2:00:00" in found["message"]) == (409, True)
        (reason,) = opened.get("/readyz").json()["reasons"]
        assert reason.startswith(found["message"])


def test_a_definition_that_lacks_a_column_of_the_model_is_a_mismatch(
    store: SQLiteOnlineStore, client: TestClient
) -> None:
    other = replace(ITEMS, columns=("ctr",), schema=ITEMS.schema.remove(2))
    store.replace(other, [at((1,), (0.5,))])
    rows = [{"user_id": 1, "item_id": 1, "position": 1}]
    status, found = said(client, "/v1/score", rows=rows)
    assert (status, found["code"], "`brand`" in found["message"]) == (409, "model-mismatch", True)


def test_without_the_token_nothing_is_read_and_a_long_body_is_cut_off(
    store: SQLiteOnlineStore,
) -> None:
    limits = ServerLimits(token="secret", bytes_max=1_000, deadline_s=20)
    with TestClient(make_app(Service(store, {}), store, limits=limits)) as opened:
        assert opened.get("/healthz").status_code == 200
        assert opened.get("/metrics").status_code == 401
        body = {"views": [USERS.view], "entities": [{"user_id": 1}]}
        assert opened.post("/v1/vectors", json=body).status_code == 401
        headers = {"authorization": "Bearer secret"}
        assert opened.post("/v1/vectors", json=body, headers=headers).status_code == 200

        def chunks() -> Iterator[bytes]:
            for _ in range(100):
                yield b"x" * 100

        answer = opened.post("/v1/vectors", content=chunks(), headers=headers)
        assert answer.status_code == 413


class Held(SQLiteOnlineStore):
    """A store that answers once it may, and counts who waits for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_answer, self.asked = threading.Event(), 0

    def look_up(self, wanted: Any) -> list[Found]:  # noqa: ANN401
        self.asked += 1
        assert self.may_answer.wait(WAIT_S)
        return super().look_up(wanted)


def test_slow_requests_end_by_their_deadline_and_health_does_not_wait_for_them(
    tmp_path: Path,
) -> None:
    with Held(tmp_path / "slow.db") as store:
        store.put(USERS, [at((1,), (1, ()))])
        limits = ServerLimits(threads=2, begun_max=2, deadline_s=0.2)
        service = Service(store, {})
        before = threading.active_count()  # other tests may have left some
        with TestClient(make_app(service, store, limits=limits)) as opened:
            body = {"views": [USERS.view], "entities": [{"user_id": 1}]}
            with ThreadPoolExecutor(12) as many:
                begun = [many.submit(opened.post, "/v1/vectors", json=body) for _ in range(12)]
                assert wait_until(lambda: store.asked > 0)
                assert opened.get("/healthz").status_code == 200
                # all of them end while the store still holds its answers back
                statuses = {each.result().status_code for each in begun}
            assert statuses == {503, 504}
            assert threading.active_count() < before + 30
            store.may_answer.set()
            assert wait_until(lambda: opened.post("/v1/vectors", json=body).status_code == 200)


def test_metrics_count_requests_rows_and_reasons(client: TestClient) -> None:
    said(client, "/v1/vectors", sample_set="feed", entities=[{"user_id": 9, "item_id": 3}])
    said(client, "/v1/vectors", views=["features.none"], entities=[{}])
    text = client.get("/metrics").text
    assert 'headrace_serve_requests_total{path="/v1/vectors",status="200"} 1.0' in text
    assert 'headrace_serve_requests_total{path="/v1/vectors",status="404"} 1.0' in text
    missing = 'headrace_serve_view_rows_total{status="missing",view="features.users"} 1.0'
    assert missing in text
    assert 'headrace_serve_view_age_seconds{view="features.items"}' in text


def columns_of(rows: int) -> dict[str, list[Any]]:
    draw = random.Random(7)
    return {
        "user_clicks": [draw.randrange(100) for _ in range(rows)],
        "ctr": [draw.random() for _ in range(rows)],
        "item_id": [draw.randrange(10_000) for _ in range(rows)],
        "brand": [draw.choice("abc") for _ in range(rows)],
        "position": [draw.randrange(20) for _ in range(rows)],
        "user_liked": [[draw.randrange(99) for _ in range(number % 5)] for number in range(rows)],
    }


def test_a_score_hangs_on_no_order_of_columns_and_on_no_other_column(trained: Trained) -> None:
    named, scorer = columns_of(200), Scorer.open(trained.folder)
    found = scorer.score(named).tolist()
    turned = {name: named[name] for name in reversed(named)}
    more = {"another": ["x"] * 200, **turned, "last": [None] * 200}
    assert scorer.score(turned).tolist() == found == scorer.score(more).tolist()
    assert len(set(found)) > 100


def test_rows_of_one_call_have_the_scores_that_each_has_alone(trained: Trained) -> None:
    named, scorer = columns_of(200), Scorer.open(trained.folder)
    for number, score in enumerate(scorer.score(named)):
        alone = scorer.score({name: [values[number]] for name, values in named.items()})
        assert alone[0] == pytest.approx(score, rel=0, abs=1e-6)


def test_uses_of_a_recipe_are_those_of_the_sample_set(trained: Trained) -> None:
    uses = Scorer.open(trained.folder).uses
    assert uses == (
        FeatureUse(
            view=TableName.parse(USERS.view),
            columns=USERS.columns,
            ttl=USERS.ttl,
            prefix="user_",
        ),
        FeatureUse(view=TableName.parse(ITEMS.view), columns=ITEMS.columns),
    )


def test_a_score_that_is_no_number_is_null_and_ranked_last(
    client: TestClient, store: SQLiteOnlineStore
) -> None:
    store.put(ITEMS, [at((1,), (-2.0, "a")), at((2,), (0.5, "b")), at((3,), (float("nan"), "c"))])
    rows = [{"user_id": 1, "item_id": item, "position": 1} for item in (1, 2, 3)]
    status, found = said(client, "/v1/score", rows=rows, explain=True)
    assert (status, [score is None for score in found["scores"]]) == (200, [True, False, True])
    assert found["inputs"][2]["ctr"] == "NaN"
    status, found = said(client, "/v1/rank", candidates=rows)
    assert (status, [each["candidate"] for each in found["ranked"]]) == (200, [1, 0, 2])


@pytest.mark.parametrize("position", [[1], "x", {"a": 1}, 2**40, 1.5, True, "\u00e4"])
def test_a_value_of_the_exposure_of_another_type_is_refused(
    client: TestClient, position: object
) -> None:
    row = {"user_id": 1, "item_id": 1, "position": position}
    status, found = said(client, "/v1/score", rows=[row])
    assert (status, found["code"]) == (422, "feature-spec")


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("number", True, pa.float64()),
        ("number", 1e39, pa.float64()),
        ("number", -1e300, pa.float64()),
        ("list", (0.5, True), pa.list_(pa.float64())),
        ("list", (None, 1e39), pa.list_(pa.float64())),
    ],
)
def test_a_model_is_given_no_flag_as_a_number_and_no_number_as_an_infinity(
    name: str, value: object, kind: pa.DataType
) -> None:
    named: dict[str, Any] = {"dense" if name == "number" else "sequence": [name]}
    spec, types = FeatureSpec(**named), pa.schema([(name, kind)])
    with refused(FeatureSpecError, column=name):
        encode({name: [None, value]}, spec=spec, types=types)
