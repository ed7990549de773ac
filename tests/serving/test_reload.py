"""A server in use reads its model again: no request fails, and no answer is of both models."""

import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn

from headrace.config import Settings
from headrace.loading.export import export_model
from headrace.model_inputs.exported import GRAPH
from headrace.serving.client import ServingClient
from headrace.serving.scorer import Scorer
from headrace.serving.server import run
from headrace.serving.server.app import ServerLimits
from headrace.serving.server.models import Models
from headrace.serving.server.reload import Hangups
from headrace.serving.sqlite import SQLiteOnlineStore
from infra.launcher.cluster import Cluster
from tests.serving.ranked import AT, ITEMS, SPEC, TYPES, USERS, Model, item, lockfile, user
from tests.serving.test_serve import serve, wait_until_served
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
COLUMNS: dict[str, list[Any]] = {
    "user_clicks": [1, 5],
    "ctr": [0.5, 0.25],
    "item_id": [3, 4],
    "brand": ["a", "b"],
    "position": [1, 2],
    "user_liked": [[1, 7], []],
}
ROWS = [{"user_id": 1, "item_id": number, "position": 1} for number in range(5)]


def export(folder: Path, *, seed: int) -> None:
    torch.manual_seed(seed)
    export_model(Model(), spec=SPEC, types=TYPES, lock=lockfile(), folder=folder)


def test_a_model_is_read_again_while_it_is_asked_and_no_request_fails(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text("[profiles.local]\n")
    with SQLiteOnlineStore(tmp_path / ".headrace" / "online.db") as store:
        store.put(USERS, [user(1)])
        store.put(ITEMS, [item(number) for number in range(5)])
    export(tmp_path / "model", seed=1)
    port = Cluster(tmp_path / "ports").port("serve")
    server = serve(tmp_path, port, "--model", "model")
    answers: list[list[tuple[float, ...]]] = [[] for _ in range(3)]
    ended = threading.Event()

    def keep_asking(found: list[tuple[float, ...]]) -> None:
        with ServingClient(f"http://127.0.0.1:{port}", deadline_s=20) as client:
            while not ended.is_set():  # a refusal would end the thread, and be raised by pytest
                found.append(tuple(client.score(ROWS, at=AT)["scores"]))

    try:
        wait_until_served(port, server)
        askers = [threading.Thread(target=keep_asking, args=(each,)) for each in answers]
        for asker in askers:
            asker.start()
        assert wait_until(lambda: all(len(each) > 20 for each in answers))
        export(tmp_path / "model", seed=2)
        server.send_signal(signal.SIGHUP)
        assert wait_until(lambda: all(len(set(each)) > 1 for each in answers))
        counts = [len(each) for each in answers]
        assert wait_until(
            lambda: all(len(each) > n + 20 for each, n in zip(answers, counts, strict=True))
        )
        ended.set()
        for asker in askers:
            asker.join()
    finally:
        ended.set()
        server.terminate()
        server.communicate()
    first, second = answers[0][0], answers[0][-1]
    for each in answers:
        after = each.index(second)
        assert (set(each[:after]), set(each[after:])) == ({first}, {second})


def test_a_request_that_ends_after_a_model_was_read_does_not_undo_it(tmp_path: Path) -> None:
    export(tmp_path / "model", seed=1)
    former, later = Scorer.open(tmp_path / "model"), Scorer.open(tmp_path / "model")
    models = Models(former)

    def look_up(scorer: Scorer) -> Scorer:
        models.add(later, fits=True)
        return scorer

    assert models.first_that_fits(look_up) == (former, former)
    assert models.first_that_fits(lambda scorer: scorer) == (later, later)


def test_a_graph_that_is_replaced_while_a_model_is_read_is_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "model", seed=1)
    export(tmp_path / "later", seed=2)
    graph = tmp_path / "model" / GRAPH
    scores = {
        each: Scorer.open(tmp_path / each).score(COLUMNS).tolist() for each in ("model", "later")
    }
    assert scores["model"] != scores["later"]
    plain = Path.open

    def open_and_replace(path: Path, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  (of `Path.open`)
        opened = plain(path, *arguments, **named)
        if path == graph and (tmp_path / "later" / GRAPH).exists():
            (tmp_path / "later" / GRAPH).replace(graph)
        return opened

    monkeypatch.setattr(Path, "open", open_and_replace)
    assert Scorer.open(tmp_path / "model").score(COLUMNS).tolist() == scores["model"]


def test_a_hangup_is_acted_on_that_came_while_the_server_starts_and_harmless_while_it_ends() -> (
    None
):
    hangups, asked = Hangups(), list[int]()
    before = signal.getsignal(signal.SIGHUP)
    with hangups.noted():
        signal.raise_signal(signal.SIGHUP)
        with hangups.acted_on(lambda: asked.append(1)):
            assert wait_until(lambda: len(asked) == 1)
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == before
    assert asked == [1]


def test_a_model_that_cannot_be_read_for_an_unknown_reason_is_told_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    export(tmp_path / "model", seed=1)
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text("[profiles.local]\n")
    settings = Settings.load(env={}, path=tmp_path / "lake" / "lake.toml")
    with SQLiteOnlineStore(settings.online_store) as store:
        store.put(USERS, [user(1)])
        store.put(ITEMS, [item(1)])
    scorer, begun = Scorer.open(tmp_path / "model"), list[int]()

    def opened(_: Path, *, threads: int) -> Scorer:
        begun.append(threads)
        if len(begun) == 1:
            signal.raise_signal(signal.SIGHUP)  # the folder has another model by now
        if len(begun) == 2:
            raise RuntimeError("odd")
        return scorer

    async def told_again(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        assert sockets
        assert wait_until(lambda: "odd" in caplog.text)
        signal.raise_signal(signal.SIGHUP)
        assert wait_until(lambda: len(begun) == 3)

    monkeypatch.setattr(Scorer, "open", opened)
    monkeypatch.setattr(uvicorn.Server, "serve", told_again)
    run.serve(settings, host="127.0.0.1", port=0, model=tmp_path / "model", limits=ServerLimits())
    assert len(begun) == 3
