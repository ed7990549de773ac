"""What readers notice of a publication by another process, and of the rows that it takes the place of."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from headrace.serving.redis import RedisOnlineStore
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow, OnlineStore
from headrace.serving.stored_names import stored_name
from infra.launcher.cluster import Cluster
from infra.launcher.redis import url
from tests.processes import exit_code, start
from tests.redis_server import redis_server
from tests.serving.test_redis import BATCH, LATER, ONE_US, START, STATE, rows
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
COUNT = 2 * BATCH
LARGE = 2_000  # rows that Redis keeps in a table of its own


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that frees at once whatever it is not told to free beside its work."""
    folder = tmp_path_factory.mktemp("redis")
    with redis_server(folder, appendonly="no", lazyfree_lazy_user_del="no") as made:
        yield made


@pytest.fixture(params=["redis", "sqlite"])
def address(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> str:
    return url(cluster) if request.param == "redis" else str(tmp_path / "online.db")


def opened(address: str) -> OnlineStore:
    if address.startswith("redis"):
        return RedisOnlineStore(address, batch_rows=BATCH)
    return SQLiteOnlineStore(Path(address))


def publish(address: str, folder: Path) -> None:
    """Write rows, say so, and wait before the last one."""

    def slow() -> Iterator[OnlineRow]:
        newer = rows(COUNT + 1, 2, at=START + ONE_US)
        yield from newer[:-1]
        (folder / "wrote").touch()
        assert wait_until((folder / "go_on").exists)
        yield newer[-1]

    with opened(address) as store:
        store.replace(LATER, slow())


def test_look_ups_go_on_while_another_process_publishes(address: str, tmp_path: Path) -> None:
    keys = [(item,) for item in range(COUNT)]
    with opened(address) as store:
        store.replace(STATE, rows(COUNT, 1))
        process = start(publish, address, tmp_path)
        assert wait_until(lambda: (tmp_path / "wrote").exists() or not process.is_alive())
        with opened(address) as new:  # also one that is opened only now
            for each in (store, new):
                (found,) = each.look_up([(STATE.view, keys)])
                assert (found.state, list(found.rows)) == (STATE, rows(COUNT, 1))
                assert each.views() == (STATE.view,)
                fresh = each.freshness(STATE.view)
                assert fresh is not None
                assert (fresh.rows, fresh.snapshot_id) == (COUNT, STATE.snapshot_id)
        assert process.is_alive()  # so all that was in the middle of its write
        (tmp_path / "go_on").touch()
        assert exit_code(process) == 0
        (found,) = store.look_up([(STATE.view, keys)])
        assert (found.state, list(found.rows)) == (LATER, rows(COUNT, 2, at=START + ONE_US))


def test_rows_that_are_retired_are_freed_beside_the_work_of_the_server(cluster: Cluster) -> None:
    """Freed at once, a million rows keep a server from every look-up for most of a second."""
    served, following = STATE.view, stored_name(STATE.view, "next")
    with opened(url(cluster)) as store, redis.Redis.from_url(url(cluster)) as client:

        def counted(name: str) -> int:
            return client.info("memory")[name]  # pyright: ignore[reportIndexIssue, reportReturnType]  (of redis-py)

        store.replace(STATE, rows(LARGE, 1))
        steps: list[Callable[[], object]] = [
            lambda: store.replace(LATER, rows(LARGE, 2)),  # the former generation
            lambda: store.rename([(following, served)]),  # the version that lost its place
            lambda: store.drop(served),
        ]
        for step in steps:
            store.replace(replace(STATE, view=following), rows(LARGE, 3))
            assert wait_until(lambda: counted("lazyfree_pending_objects") == 0)
            before = counted("lazyfreed_objects")
            step()
            assert wait_until(lambda b=before: counted("lazyfreed_objects") > b)
