"""The server under load while its store is killed and comes back: named errors, then correct values."""

import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from headrace.errors import ServerAnswerError
from headrace.serving.client import ServingClient
from headrace.serving.redis import RedisOnlineStore
from infra.launcher import run
from infra.launcher.redis import Redis, url
from tests.redis_server import redis_server
from tests.serving.test_redis import STATE, row
from tests.serving.test_serve import serve, wait_until_served
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow
ITEMS, ASKERS = 500, 4
DEADLINE_S = 20.0  # of a request; a store that is away is named long before
NAMED = {(503, "database-unavailable"), (503, "overloaded"), (504, "deadline")}


class Load:
    """Clients that ask for some keys again and again, and know what each has to be."""

    def __init__(self, port: int) -> None:
        self._url, self._ended = f"http://127.0.0.1:{port}", threading.Event()
        self.right, self.wrong = 0, list[object]()
        self.refused = Counter[tuple[int | None, str]]()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(ASKERS)]
        for each in self._threads:
            each.start()

    def _ask(self, number: int) -> None:
        draw = random.Random(number)
        with ServingClient(self._url, deadline_s=DEADLINE_S) as client:
            while not self._ended.is_set():
                items = [draw.randrange(ITEMS + 10) for _ in range(20)]
                wanted = [[item * 3 if item < ITEMS else None] for item in items]
                try:
                    found = client.vectors([{"item": item} for item in items], views=[STATE.view])
                except ServerAnswerError as error:
                    with self._lock:
                        self.refused[error.status, error.kind] += 1
                    continue
                with self._lock:
                    self.right += found["values"] == wanted
                    if found["values"] != wanted:
                        self.wrong.append((items, found))

    def end(self) -> None:
        self._ended.set()
        for each in self._threads:
            each.join(timeout=WAIT_S)


def test_a_store_killed_under_load_is_named_and_its_values_are_right_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text("[profiles.local]\n")
    with redis_server(tmp_path / "redis", appendfsync="always") as cluster:
        with RedisOnlineStore(url(cluster)) as store:
            store.put(STATE, [row(item, item * 3) for item in range(ITEMS)])
        monkeypatch.setenv("HEADRACE_ONLINE_STORE_URI", url(cluster))
        port = cluster.port("serve")
        server = serve(tmp_path, port)
        wait_until_served(port, server)
        load = Load(port)
        try:
            assert wait_until(lambda: load.right > 100)
            assert not load.refused
            pid = cluster.pid("redis")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda: load.refused.total() > 20)
            with ServingClient(f"http://127.0.0.1:{port}", deadline_s=DEADLINE_S) as client:
                (reason,) = client.ready()
            assert "online store" in reason
            assert cluster.secret("redis") not in reason
            run.up(cluster, [Redis({"appendfsync": "always"})], say=lambda _: None)
            before = load.right
            assert wait_until(lambda: load.right > before + 100)
        finally:
            load.end()
            server.terminate()
            _, told = server.communicate()
        assert load.wrong == []
        assert set(load.refused) <= NAMED
        assert "Traceback" not in told
