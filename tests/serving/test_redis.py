"""What a Redis server can do to the online store: die, forget, fill up, answer late."""

import contextlib
import datetime as dt
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from pydantic import SecretStr

from headrace.config import Settings
from headrace.errors import (
    DatabaseUnavailableError,
    OnlineStoreError,
    OnlineStoreEvictsError,
    OnlineStoreFullError,
    PublicationOvertakenError,
)
from headrace.serving.open import existing_store, open_store
from headrace.serving.redis import RedisOnlineStore
from headrace.serving.store import Found, OnlineRow, ViewState
from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.redis import Redis, url
from tests.conftest import ROOT
from tests.processes import exit_code, start
from tests.raising import refused
from tests.redis_server import redis_server
from tests.waiting import wait_until

START = dt.datetime(2019, 11, 24, tzinfo=dt.UTC)
ONE_US = dt.timedelta(microseconds=1)
BATCH = 10
STATE = ViewState(
    view="features.items",
    entity=("item",),
    columns=("value",),
    schema=pa.schema([pa.field("item", pa.int64()), pa.field("value", pa.int64())]),
    ttl=None,
    delay=dt.timedelta(0),
    snapshot_id=1,
    as_of=START,
    published_at=START,
)
LATER = replace(STATE, snapshot_id=2)


def row(item: int, value: int, *, at: dt.datetime = START) -> OnlineRow:
    return OnlineRow(key=(item,), event_time=at, known_at=at, values=(value,))


def rows(count: int, value: int, *, at: dt.datetime = START) -> list[OnlineRow]:
    return [row(item, value, at=at) for item in range(count)]


def opened(cluster: Cluster, **options: float) -> RedisOnlineStore:
    return RedisOnlineStore(url(cluster), batch_rows=BATCH, **options)  # pyright: ignore[reportArgumentType]


def values(store: RedisOnlineStore, count: int) -> list[object]:
    found = store.get(STATE.view, [(item,) for item in range(count)])
    return [None if one is None else one.values[0] for one in found]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as cluster:
        yield cluster


@pytest.fixture
def cluster(server: Cluster) -> Cluster:
    """Return the server of this file, empty."""
    with redis.Redis.from_url(url(server)) as client:
        client.flushall()
    return server


def write(address: str, kind: str) -> None:
    with RedisOnlineStore(address, batch_rows=BATCH) as store:
        newer = rows(25, 2, at=START + ONE_US)
        if kind == "put":
            store.put(LATER, newer, without=[(0,), (24,)])
        else:
            store.replace(LATER, newer)


@pytest.mark.parametrize("kind", ["put", "replace"])
@pytest.mark.parametrize("at", ["serving.between_batches:2", "serving.before_commit"])
def test_a_killed_write_is_completed_by_the_next(cluster: Cluster, kind: str, at: str) -> None:
    with opened(cluster) as store:
        store.put(STATE, rows(25, 1))
        assert exit_code(start(write, url(cluster), kind, crash_at=at)) == -signal.SIGKILL
        assert store.state(STATE.view) == STATE
        seen = values(store, 25)
        assert seen == ([1] * 25 if kind == "replace" else [1, *[2] * 20, *[1] * 4])
    release(cluster)
    write(url(cluster), kind)
    with opened(cluster) as store:
        assert store.state(STATE.view) == LATER
        assert values(store, 25) == [2] * 25
    assert len(keys_of_rows(cluster)) == 1  # no generation is left behind


def release(cluster: Cluster) -> None:
    """Let the turn of a killed writer end now, as it would by itself after its time."""
    with redis.Redis.from_url(url(cluster)) as client:
        client.delete("headrace:{features.items}:lock")


def keys_of_rows(cluster: Cluster) -> list[str]:
    with redis.Redis.from_url(url(cluster), decode_responses=True) as client:
        return [key for key in map(str, client.keys()) if ":rows:" in key]


def test_a_writer_that_was_overtaken_notices_and_changes_nothing(cluster: Cluster) -> None:
    def slow(store: RedisOnlineStore) -> Iterator[OnlineRow]:
        yield from rows(BATCH, 1)
        release(cluster)
        with opened(cluster) as other:
            other.replace(LATER, rows(3, 7))
        yield from rows(2 * BATCH, 1, at=START + ONE_US)

    with opened(cluster) as store:
        with refused(PublicationOvertakenError, view=STATE.view):
            store.replace(STATE, slow(store))
        assert store.state(STATE.view) == LATER
        assert values(store, 5) == [7, 7, 7, None, None]


def test_a_writer_goes_on_after_a_pause_in_which_nobody_came(cluster: Cluster) -> None:
    def slow() -> Iterator[OnlineRow]:
        yield from rows(BATCH, 1)
        release(cluster)
        yield row(BATCH, 1)

    with opened(cluster) as store:
        assert store.replace(STATE, slow()) == BATCH + 1
        assert values(store, BATCH + 1) == [1] * (BATCH + 1)


def test_times_a_microsecond_apart_and_ids_beyond_doubles_stay_exact(cluster: Cluster) -> None:
    at = dt.datetime.fromtimestamp(1_760_000_000, dt.UTC) + ONE_US
    large = 2**53 + 1
    first, second = (
        OnlineRow(key=(large,), event_time=time, known_at=time, values=(value,))
        for time, value in ((at, large), (at + ONE_US, large + 2))
    )
    early = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    with opened(cluster) as store:
        for order in ([first, second], [second, first]):
            store.replace(STATE, [row(1, 1, at=early)])
            for one in order:
                store.put(STATE, [one])
            assert store.get(STATE.view, [(large,)]) == [second]
            assert store.get(STATE.view, [(1,)]) == [row(1, 1, at=early)]


def test_lists_of_keys_with_repeats_and_absent_ones_equal_single_look_ups(
    cluster: Cluster,
) -> None:
    draw = random.Random(7)
    with opened(cluster) as store:
        store.put(STATE, rows(40, 5))
        singles = {item: store.get(STATE.view, [(item,)])[0] for item in range(60)}
        for _ in range(200):
            wanted = [draw.randrange(60) for _ in range(draw.randrange(12))]
            found = store.get(STATE.view, [(item,) for item in wanted])
            assert found == [singles[item] for item in wanted]


def test_newest_times_are_right_after_the_newest_row_was_replaced_or_deleted(
    cluster: Cluster,
) -> None:
    late = OnlineRow(key=(1,), event_time=START, known_at=START + 9 * ONE_US, values=(1,))
    with opened(cluster) as store:
        store.put(STATE, [late, row(2, 1)])
        assert fresh(store) == (2, START, START + 9 * ONE_US)
        store.put(STATE, [row(1, 1, at=START + ONE_US)])
        assert fresh(store) == (2, START + ONE_US, START + ONE_US)
        store.put(STATE, [], without=[(1,)])
        assert fresh(store) == (1, START, START)
        store.put(STATE, [], without=[(2,)])
        assert fresh(store) == (0, None, None)


def test_a_row_that_is_ignored_does_not_count_as_the_newest_of_a_large_batch(
    cluster: Cluster,
) -> None:
    with RedisOnlineStore(url(cluster), batch_rows=3_000) as store:
        store.put(STATE, [row(1_500, 1, at=START + 2 * ONE_US)])
        older = OnlineRow(key=(1_500,), event_time=START, known_at=START + 9 * ONE_US, values=(2,))
        store.put(STATE, [*(row(item, 1) for item in range(1_500)), older])
        assert fresh(store) == (1_501, START + 2 * ONE_US, START + 2 * ONE_US)


def fresh(store: RedisOnlineStore) -> tuple[object, ...]:
    found = store.freshness(STATE.view)
    assert found is not None
    return found.rows, found.newest_event_time, found.newest_known_at


def test_settings_choose_it(cluster: Cluster, settings: Settings) -> None:
    assert existing_store(settings) is None
    chosen = replace(settings, online_store_server=SecretStr(url(cluster)))
    with open_store(chosen) as store:
        store.put(STATE, rows(1, 1))
    found = existing_store(chosen)
    assert found is not None
    with found:
        assert found.state(STATE.view) == STATE
    assert not settings.online_store.exists()


def test_a_store_of_another_format_is_refused(cluster: Cluster) -> None:
    with redis.Redis.from_url(url(cluster)) as client:
        client.set("headrace:format", 99)
    with refused(OnlineStoreError, found=99):
        opened(cluster)


def test_a_server_that_throws_rows_away_gets_none(tmp_path: Path) -> None:
    settings = {"appendonly": "no", "maxmemory": "3mb", "maxmemory_policy": "allkeys-lru"}
    with redis_server(tmp_path, **settings) as cluster, opened(cluster) as store:
        with refused(OnlineStoreEvictsError, policy="allkeys-lru"):
            store.replace(STATE, rows(10, 1))
        with redis.Redis.from_url(url(cluster)) as client:
            client.config_set("maxmemory-policy", "noeviction")
        store.put(STATE, rows(10, 1))
        with refused(OnlineStoreFullError):
            store.put(LATER, rows(60_000, 2, at=START + ONE_US))
        assert store.state(STATE.view) == STATE
        with redis.Redis.from_url(url(cluster)) as client:
            client.config_set("maxmemory", "1")  # more is used: nothing but reads is possible
        assert store.get(STATE.view, [(3,), (99_999,)]) == [row(3, 2, at=START + ONE_US), None]
        assert store.state(STATE.view) == STATE
        with opened(cluster) as other:  # as a feature server that is started again, or a status
            assert other.get(STATE.view, [(3,)]) == [row(3, 2, at=START + ONE_US)]
            assert other.views() == (STATE.view,)
            assert other.freshness(STATE.view) == store.freshness(STATE.view) is not None
        with refused(OnlineStoreFullError):
            store.put(LATER, rows(1, 2, at=START + ONE_US))


def test_a_view_that_lost_rows_is_as_never_published_until_it_is_written_again(
    cluster: Cluster,
) -> None:
    with opened(cluster) as store, redis.Redis.from_url(url(cluster)) as client:
        store.put(STATE, rows(25, 1))
        (lost,) = client.scan_iter("headrace:*:rows:*")
        client.delete(lost)  # as a full memory with another policy does
        assert store.state(STATE.view) is None
        assert store.freshness(STATE.view) is None
        assert store.look_up([(STATE.view, [(1,)])]) == [Found(state=None, rows=[None])]
        store.put(LATER, rows(25, 2))
        assert values(store, 25) == [2] * 25
        store.put(LATER, [], without=[(item,) for item in range(25)])
        assert store.state(STATE.view) == LATER


def test_a_server_that_died_is_used_again_once_it_is_back(tmp_path: Path) -> None:
    with redis_server(tmp_path, appendfsync="always") as cluster, opened(cluster) as store:
        store.put(STATE, rows(25, 1))
        pid = cluster.pid("redis")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DatabaseUnavailableError) as found:
            values(store, 3)
        assert cluster.secret("redis") not in found.value.text()
        run.up(cluster, [Redis({"appendfsync": "always"})], say=lambda _: None)
        assert values(store, 25) == [1] * 25
        assert store.state(STATE.view) == STATE


class Delayed:
    """A proxy that holds back a server's answers."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # closing it alone wakes no thread that accepts
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for source, sink, held in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, held), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, held: bool) -> None:
        try:
            while content := source.recv(65536):
                if held and self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(content)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                each.close()


def test_a_look_up_given_up_never_leaves_its_answer_for_the_next(cluster: Cluster) -> None:
    proxy = Delayed(cluster.port("redis"))
    address = url(cluster).replace(str(cluster.port("redis")), str(proxy.port))
    draw = random.Random(3)
    late = 0
    with opened(cluster) as store:
        store.put(STATE, [row(item, item) for item in range(50)])
    # a busy machine may take a while for an answer that nobody delays, of which opening asks several
    found_open: list[RedisOnlineStore] = []

    def opens() -> bool:
        with contextlib.suppress(DatabaseUnavailableError):
            found_open.append(RedisOnlineStore(address, answer_s=0.5, retries=0))
        return bool(found_open)

    assert wait_until(opens)
    with found_open[0] as store:
        for _ in range(30):
            proxy.delay_s = draw.choice((0.0, 0.0, 0.75))
            item = draw.randrange(50)
            try:
                found = store.get(STATE.view, [(item,)])
            except DatabaseUnavailableError:
                late += 1
            else:
                assert found == [row(item, item)]
    proxy.close()
    assert 3 < late < 27


def as_documented(cluster: Cluster, user: str) -> str:
    """Make a user by the rules that the documents give; return its address."""
    text = (ROOT / "docs" / "production.md").read_text()
    (rules,) = re.findall(rf"^ACL SETUSER {user} (.*)$", text, re.MULTILINE)
    with redis.Redis.from_url(url(cluster)) as admin:
        admin.execute_command("ACL", "SETUSER", user, *rules.split())
    return f"redis://{user}:PASSWORD@127.0.0.1:{cluster.port('redis')}/0"


def test_users_with_the_documented_rights_can_do_their_work_and_no_more(cluster: Cluster) -> None:
    serving, publishing = (
        as_documented(cluster, f"headrace-{name}") for name in ("serve", "publish")
    )
    other = f"{STATE.view}@former"
    with redis.Redis.from_url(url(cluster)) as admin, RedisOnlineStore(publishing) as writer:
        writer.put(STATE, rows(5, 1))
        admin.script_flush()
        with RedisOnlineStore(serving) as reader:
            assert values(reader, 3) == [1, 1, 1]
            assert (reader.views(), reader.size().bytes > 0) == ((STATE.view,), True)
            fresh = reader.freshness(STATE.view)
            assert fresh is not None
            assert fresh.rows == 5
            with refused(DatabaseUnavailableError) as found:
                reader.put(LATER, rows(5, 2))
            assert "user" in str(found.value)  # as the server says it
            assert not admin.exists("headrace:{features.items}:lock")  # nobody has to wait for it
            assert values(reader, 1) == [1]
        admin.script_flush()
        late = rows(3, 2, at=START + ONE_US)
        assert writer.put(LATER, late, without=[(4,)]) == 4
        assert len(list(writer.happened(STATE.view, [(START, START + 2 * ONE_US)]))) == 4
        writer.replace(LATER, rows(25, 3))
        writer.rename([(STATE.view, other)])
        assert writer.freshness(other) is not None
        assert writer.drop(other) == 25


def test_a_server_that_forgets_scripts_all_the_time_answers_every_question(
    cluster: Cluster,
) -> None:
    done = threading.Event()

    def forget() -> None:
        with redis.Redis.from_url(url(cluster)) as admin:
            while not done.is_set():
                admin.script_flush()

    forgetting = [threading.Thread(target=forget) for _ in range(2)]
    with opened(cluster) as store:
        store.put(STATE, rows(5, 1))
        for each in forgetting:
            each.start()
        try:
            for number in range(150):
                assert values(store, 2) == [number + 1] * 2
                moment = START + (number + 1) * ONE_US
                store.put(STATE, rows(5, number + 2, at=moment))
        finally:
            done.set()
            for each in forgetting:
                each.join()
