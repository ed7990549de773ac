"""Window views end to end: what serving answered is what training computes, whatever happened between."""

import datetime as dt
import json
import random
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.identifiers import TableName
from headrace.serving import window_plan
from headrace.serving.publish_windows import publish_windows
from headrace.serving.redis import RedisOnlineStore
from headrace.serving.server.service import Service
from headrace.serving.server.wire import VectorsRequest, json_of
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import Guard, OnlineRow, OnlineStore, ViewState
from headrace.serving.values import plain
from headrace.serving.vectors import lookup_vectors
from headrace.tables.commits.operations import Provenance
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from infra.launcher.redis import url
from tests.amounts import examples, seed_of_today
from tests.processes import exit_code, start
from tests.redis_server import redis_server
from tests.samples.window_oracle import NOON, windows_of
from tests.serving.plays import ENTITIES, TABLE, VIEW, World, add, compact, offline, online, plays

EVENT: dict[str, Any] = {
    "id": "e",
    "u": 1,
    "c": "a",
    "item": 1,
    "_source": "one",
    "_source_partition": 0,
    "_source_offset": 0,
}
WITHOUT_KEY = windows_of(key=False)  # an event that is folded in twice would count twice


def after(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as cluster:
        yield url(cluster)


@pytest.fixture(params=["sqlite", "redis"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store is: a file, or a server and a prefix there."""
    if request.param == "sqlite":
        return f"file {tmp_path / 'online.db'}"
    return f"{request.getfixturevalue('redis_url')} {tmp_path}"


def opened(where: str) -> OnlineStore:
    address, rest = where.split(" ")
    if address == "file":
        return SQLiteOnlineStore(Path(rest))
    return RedisOnlineStore(address, prefix=rest, batch_rows=2)


@pytest.fixture
def world(lake: Lake, where: str) -> Iterator[World]:
    with opened(where) as store:
        yield World(lake, store, random.Random(seed_of_today()))


@pytest.mark.parametrize("number", range(examples(20, few=1)))
def test_what_was_answered_at_each_moment_is_what_training_computes_later(
    lake: Lake, where: str, number: int
) -> None:
    draw = random.Random(f"{seed_of_today()}/{number}")
    windows = windows_of(
        key=draw.random() < 0.7,
        delay=draw.choice(("0s", "0s", "4s")),
        lateness=draw.choice((None, "12s", "50s")),
    )
    with opened(where) as store:
        world = World(lake, store, draw, windows)
        for _ in range(14):
            for _ in range(draw.choice((0, 1, 1, 2))):
                world.arrive(draw.randint(1, 8))
            if draw.random() < 0.2:
                compact(world.table)
            world.publish()
            world.tick(draw.choice((0, 0.000001, 0.5)))
            world.ask()
            world.tick(draw.choice((0.1, 2, 7, 20)))
            if draw.random() < 0.5:
                world.ask()  # nothing was published since
        world.check()


def test_an_entity_without_events_has_had_none(world: World) -> None:
    world.arrive(20)
    world.publish()
    (found,) = online(world.store, world.clock, [{"u": 77, "c": "a"}])
    nothing = offline(world.lake, world.table, world.windows, [{"u": 77, "c": "a", "t": NOON}])
    assert found == nothing[0]
    assert found["plays_1m"] == 0


def test_the_server_answers_with_the_same_values(world: World) -> None:
    world.arrive(20)
    world.publish()
    asked = VectorsRequest(views=[VIEW], entities=ENTITIES, at=world.clock)
    answer = Service(world.store, {}).vectors(asked)
    wanted = offline(
        world.lake, world.table, world.windows, [{**each, "t": world.clock} for each in ENTITIES]
    )
    assert answer["names"] == list(wanted[0])
    said = json.loads(json_of(answer))["values"]
    assert said == [[plain(value) for value in row.values()] for row in wanted]


def test_a_moment_before_what_the_tiles_can_tell_has_no_value(world: World) -> None:
    world.arrive(20)
    world.tick(200)
    world.publish()
    for at, status in ((NOON, "not_yet_known"), (world.clock, "fresh")):
        asked = [*ENTITIES, {"u": 77, "c": "a"}]
        found = lookup_vectors(world.store, [VIEW], asked, at=at)
        assert set(found.views[0].statuses) == {status}
        assert (None in found.columns()["plays_1m"]) == (status != "fresh")


def test_exactly_the_entities_with_new_events_are_written(world: World) -> None:
    world.arrive(30)
    assert world.publish().mode == "full"
    assert world.publish().mode == "unchanged"
    before = len(world.sent)
    world.arrive(3)
    touched = {(row["u"], row["c"]) for row in world.sent[before:] if row["u"] is not None}
    done = world.publish()
    assert (done.mode, done.rows_read) == ("incremental", len(touched))
    compact(world.table)
    assert world.publish().rows_read == 0


def test_values_expire_when_nobody_looks_at_the_table_any_more(world: World) -> None:
    world.arrive(5)
    world.publish()
    stale = dt.timedelta(microseconds=world.windows.stale_us)
    published = world.clock

    def statuses(at: dt.datetime) -> set[str]:
        return set(lookup_vectors(world.store, [VIEW], ENTITIES, at=at).views[0].statuses)

    assert statuses(published + stale) == {"fresh"}
    assert statuses(published + stale + dt.timedelta(microseconds=1)) == {"expired"}
    vectors = lookup_vectors(world.store, [VIEW], ENTITIES, at=published + 2 * stale)
    assert vectors.columns()["plays_1m"] == [None] * len(ENTITIES)
    world.tick(3 * stale.total_seconds())
    world.publish()  # there is nothing new, and that is known now
    assert statuses(world.clock) == {"fresh"}


def test_a_repeat_that_comes_when_its_tile_forgot_the_keys_counts_once(world: World) -> None:
    world.windows = windows_of(lateness="12s")
    first = {**EVENT, "event_time": after(100), "known_at": after(100)}
    add(world.table, [first])
    world.clock = after(200)
    world.publish()
    # both say that they were known long before they came into the table
    again = {**first, "known_at": after(101), "item": 9, "_source_offset": 1}
    other = {**first, "known_at": after(102), "id": "other", "item": 3, "_source_offset": 2}
    add(world.table, [again, other])
    assert world.publish().mode == "incremental"
    world.clock = after(150)
    world.ask()
    world.check()
    found = next(each for each in world.answers if each["plays_1m"])
    assert (found["plays_1m"], found["recent_1m"]) == (2, [1, 3])


def test_a_publisher_that_was_away_catches_up_step_by_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_plan, "_STEP_ROWS", 10)
    world.arrive(5)
    world.publish()
    states: list[int] = []
    put = world.store.put

    def noted(state: ViewState, rows: Iterable[OnlineRow], *, guard: Guard | None = None) -> int:
        states.append(state.snapshot_id)
        return put(state, rows, guard=guard)

    for _ in range(6):
        world.arrive(4)
    monkeypatch.setattr(world.store, "put", noted)
    world.publish()
    assert len(states) == 3  # of two commits each
    world.ask()
    world.check()


def test_entities_that_no_window_reaches_are_removed(world: World) -> None:
    world.arrive(20)
    world.publish()
    fresh = world.store.freshness(VIEW)
    assert fresh is not None
    assert fresh.rows > 0
    world.tick(600)
    world.publish()
    fresh = world.store.freshness(VIEW)
    assert fresh is not None
    assert fresh.rows == 0
    world.ask()
    world.check()


def test_another_declaration_replaces_every_row_and_a_deletion_too(world: World) -> None:
    world.arrive(20)
    world.publish()
    world.windows = windows_of(delay="2s")
    assert world.publish().mode == "full"
    world.tick(3)
    world.ask()
    world.check()
    delete_where(world.table, "u = 1", provenance=Provenance())
    assert world.publish().mode == "full"
    world.asked, world.answers = [], []
    world.ask()
    world.check()


def test_a_rollback_and_an_older_snapshot_never_mix(world: World) -> None:
    world.arrive(10)
    world.publish()
    first = world.table.head()
    world.arrive(10)
    second = world.table.head()
    world.publish()
    late = publish_windows(world.lake, world.store, world.windows, first, as_of=world.clock)
    assert (late.mode, late.snapshot_id) == ("superseded", second.snapshot_id)
    assert first.snapshot_id is not None
    apply_rollback(world.table, plan_rollback(world.table, first.snapshot_id))
    assert world.publish().mode == "full"
    world.ask()
    world.check()


def publish_at(settings: Settings, where: str, seconds: float) -> None:
    with Lake.open(settings) as lake, opened(where) as store:
        head = lake.table(TABLE).head()
        as_of = NOON + dt.timedelta(seconds=seconds)
        publish_windows(lake, store, WITHOUT_KEY, head, as_of=as_of)


@pytest.mark.parametrize("at", ["serving.between_batches:1", "serving.before_commit"])
def test_a_publication_that_is_killed_between_tiles_and_position_counts_nothing_twice(
    world: World, where: str, settings: Settings, at: str
) -> None:
    if where.startswith("file") and "between" in at:
        at = "serving.before_commit"  # a file is written in one transaction
    world.windows = WITHOUT_KEY
    world.arrive(12)
    world.publish()
    before = world.store.state(VIEW)
    for _ in range(2):  # killed again where the first one ended
        world.arrive(12)
        as_of_s = (world.clock - NOON).total_seconds()
        killed = start(publish_at, settings, where, as_of_s, crash_at=at)
        assert exit_code(killed) == -signal.SIGKILL
        assert world.store.state(VIEW) == before
        release(where)
    assert world.publish().mode == "incremental"
    world.ask()
    assert world.publish().mode == "unchanged"
    world.arrive(5)
    world.publish()
    world.ask()
    world.check()


def release(where: str) -> None:
    """Let the turn of a killed writer end now, as it would by itself after its time."""
    import redis

    address, prefix = where.split(" ")
    if address != "file":
        with redis.Redis.from_url(address) as client:
            assert client.delete(f"{prefix}:{{{VIEW}}}:lock")


def test_a_table_without_commits_has_nothing_to_publish(world: World) -> None:
    assert world.publish().snapshot_id is None
    assert world.store.views() == ()
    assert TableName.parse(VIEW) not in world.lake.names()
    empty = world.table.head()
    world.arrive(5)
    world.publish()
    late = publish_windows(world.lake, world.store, world.windows, empty, as_of=world.clock)
    assert late.mode == "superseded"
    world.lake.catalog.drop_table(("raw", "plays"))
    world.table = plays(world.lake)
    assert world.publish().mode == "full"
    assert world.store.views() == ()


def test_a_publisher_that_was_overtaken_does_not_go_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.windows = WITHOUT_KEY
    world.arrive(5)
    world.publish()
    world.arrive(5)
    put = world.store.put

    def overtaken(state: ViewState, rows: Iterable[OnlineRow], *, guard: Guard | None) -> int:
        monkeypatch.setattr(world.store, "put", put)
        world.arrive(5)
        world.publish()
        return put(state, rows, guard=guard)

    slow = world.table.head()
    monkeypatch.setattr(world.store, "put", overtaken)
    done = publish_windows(world.lake, world.store, world.windows, slow, as_of=world.clock)
    assert done.mode == "superseded"
    state = world.store.state(VIEW)
    assert state is not None
    assert state.snapshot_id == world.table.head().snapshot_id
    world.ask()
    world.check()
