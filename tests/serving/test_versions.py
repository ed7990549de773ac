"""Versions side by side: a changed definition is filled beside the served one, switched, rolled back."""

import contextlib
import datetime as dt
import json
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.errors import VersionNotReadyError, VersionReason
from headrace.identifiers import TableName
from headrace.serving.beside import publish_versions
from headrace.serving.redis import RedisOnlineStore
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineStore
from headrace.serving.versions import (
    apply_move,
    apply_retire,
    plan_rollback,
    plan_switch,
    versions_of,
)
from headrace.tables.alter import AddColumn, DropColumn, alter
from headrace.tables.lake import LakeTable
from infra.launcher.redis import url
from tests.processes import exit_code, start
from tests.raising import refused
from tests.redis_server import redis_server
from tests.samples.window_oracle import windows_of
from tests.serving.conftest import add, row
from tests.serving.plays import World, online

pytestmark = pytest.mark.slow
NAME = TableName.parse("features.item_ctr")
VIEW = str(NAME)
Views = Callable[..., LakeTable]


@pytest.fixture
def store(settings: Settings) -> SQLiteOnlineStore:
    return SQLiteOnlineStore(settings.online_store)


def modes(lake: Lake, store: OnlineStore, *, beside: bool = True) -> dict[str, str]:
    done = publish_versions(lake, store, NAME, beside=beside)
    return {each.view.removeprefix(VIEW): each.mode for each in done}


def served(store: OnlineStore, *items: int, version: str = "") -> list[tuple[object, ...] | None]:
    found = store.get(VIEW + version, [("all", item) for item in items])
    return [None if each is None else each.values for each in found]


def redefined(lake: Lake, store: OnlineStore, view: Views) -> LakeTable:
    """A view that is served, and whose table has another column since."""
    table = view()
    add(table, [row(1, at=1)])
    publish_versions(lake, store, NAME)
    alter(table, AddColumn("seen_2", type=pa.int64()))
    add(table, [row(2, at=2) | {"seen_2": 9}])
    return table


def test_the_next_version_goes_on_though_its_definition_was_taken_back(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_versions(lake, store, NAME)
    view(delay_s=60)
    assert modes(lake, store)["@next"] == "full"
    view()
    add(table, [row(1, at=2, ctr=0.9)])
    assert modes(lake, store) == {"": "incremental", "@next": "incremental"}
    assert served(store, 1, version="@next") == [(0.9, 3)]


def test_another_definition_is_filled_beside_the_served_one_which_goes_on(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = redefined(lake, store, view)
    assert modes(lake, store) == {"": "incremental", "@next": "full"}
    assert served(store, 1, 2) == [(0.5, 3), (0.5, 3)]
    assert served(store, 1, 2, version="@next") == [(0.5, 3, None), (0.5, 3, 9)]
    add(table, [row(1, at=3, ctr=0.25) | {"seen_2": 8}])
    assert modes(lake, store, beside=True) == {"": "incremental", "@next": "incremental"}
    assert served(store, 1) == [(0.25, 3)]
    assert served(store, 1, version="@next") == [(0.25, 3, 8)]
    assert store.views() == (VIEW,)


def test_switched_versions_both_go_on_until_one_is_retired(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = redefined(lake, store, view)
    modes(lake, store)
    apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))
    assert set(versions_of(store, VIEW)) == {"served", "former"}
    assert served(store, 2) == [(0.5, 3, 9)]
    add(table, [row(2, at=5, ctr=0.75) | {"seen_2": 7}])
    assert modes(lake, store) == {"": "incremental", "@former": "incremental"}
    apply_move(store, plan_rollback(VIEW, versions_of(store, VIEW)))
    assert served(store, 2) == [(0.75, 3)]
    assert served(store, 2, version="@next") == [(0.75, 3, 7)]
    add(table, [row(2, at=6, ctr=1.0) | {"seen_2": 6}])
    assert modes(lake, store) == {"": "incremental", "@next": "incremental"}
    assert (served(store, 2), served(store, 2, version="@next")) == ([(1.0, 3)], [(1.0, 3, 6)])


def test_without_beside_the_served_version_is_replaced_in_one_step(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    redefined(lake, store, view)
    assert modes(lake, store, beside=False) == {"": "full"}
    assert served(store, 2) == [(0.5, 3, 9)]
    assert set(versions_of(store, VIEW)) == {"served"}


def test_a_version_whose_column_is_gone_stays_as_it_is_until_the_switch(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    publish_versions(lake, store, NAME)
    alter(table, DropColumn("seen"), AddColumn("seen", type=pa.int64()))  # another field
    add(table, [row(1, at=2, ctr=0.75)])
    assert modes(lake, store) == {"": "kept", "@next": "full"}
    assert served(store, 1) == [(0.5, 3)]
    apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))
    assert served(store, 1) == [(0.75, 3)]
    assert modes(lake, store) == {"": "unchanged", "@former": "kept"}


def test_what_cannot_be_served_is_refused_with_the_reason_and_changes_nothing(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    redefined(lake, store, view)
    found = versions_of(store, VIEW)
    with refused(VersionNotReadyError, reason=VersionReason.NO_NEXT):
        plan_switch(VIEW, found)
    with refused(VersionNotReadyError, reason=VersionReason.NO_FORMER):
        plan_rollback(VIEW, found)
    modes(lake, store)
    planned = plan_switch(VIEW, versions_of(store, VIEW))
    apply_move(store, planned)
    before = versions_of(store, VIEW)
    with refused(VersionNotReadyError, reason=VersionReason.MOVED):
        apply_move(store, planned)
    assert versions_of(store, VIEW) == before
    newer = replace(before["served"], snapshot_id=1, as_of=before["served"].published_at)
    stale = {"served": newer, "next": before["former"]}
    with refused(VersionNotReadyError, reason=VersionReason.BEHIND) as behind:
        plan_switch(VIEW, stale)  # pyright: ignore[reportArgumentType]
    assert behind.value.remedy is not None
    assert behind.value.remedy.command == ("online", "publish", VIEW, "--beside")


def test_a_rollback_does_not_wait_for_a_next_version_that_is_behind(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = redefined(lake, store, view)
    modes(lake, store)
    apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))
    alter(table, AddColumn("seen_3", type=pa.int64()))
    modes(lake, store)
    found = versions_of(store, VIEW)
    ahead = replace(found["served"], snapshot_id=1, as_of=found["next"].as_of + dt.timedelta(1))
    store.put(ahead, ())
    apply_move(store, plan_rollback(VIEW, versions_of(store, VIEW)))
    now = versions_of(store, VIEW)
    assert (now["served"], now["next"]) == (
        replace(found["former"], view=VIEW),
        replace(ahead, view=f"{VIEW}@next"),
    )


def test_a_next_version_that_has_every_row_of_the_snapshot_is_switched_to_whatever_its_moment(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    redefined(lake, store, view)
    modes(lake, store)
    found = versions_of(store, VIEW)
    served, coming = found["served"], found["next"]
    assert served.snapshot_id == coming.snapshot_id
    later = replace(served, as_of=coming.as_of + dt.timedelta(minutes=1))
    assert plan_switch(VIEW, {"served": later, "next": coming}).moves
    waits = replace(coming, held_back=(dt.date(2019, 11, 24),))
    with refused(VersionNotReadyError, reason=VersionReason.BEHIND):
        plan_switch(VIEW, {"served": later, "next": waits})


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_version_that_a_switch_put_there_meanwhile_is_not_retired(
    kind: str,
    lake: Lake,
    view: Views,
    store: SQLiteOnlineStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if kind == "sqlite":
        check_retired_beside_a_switch(lake, view, store)
        return
    with (
        redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as cluster,
        RedisOnlineStore(url(cluster)) as on_redis,
    ):
        check_retired_beside_a_switch(lake, view, on_redis)


def check_retired_beside_a_switch(lake: Lake, view: Views, store: OnlineStore) -> None:
    table = redefined(lake, store, view)
    modes(lake, store)
    apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))
    planned = versions_of(store, VIEW)["former"]
    add(table, [row(1, at=4) | {"seen_2": 5}])
    modes(lake, store)  # a publication in between is fine
    alter(table, AddColumn("seen_3", type=pa.int64()))
    modes(lake, store)
    apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))  # what was served is the former
    before = versions_of(store, VIEW)
    with refused(VersionNotReadyError, reason=VersionReason.MOVED):
        apply_retire(store, planned)
    assert versions_of(store, VIEW) == before
    apply_retire(store, before["former"])
    assert set(versions_of(store, VIEW)) == {"served"}
    with refused(VersionNotReadyError, reason=VersionReason.MOVED):
        apply_retire(store, before["former"])


def test_window_views_of_two_declarations_are_followed_side_by_side(
    lake: Lake, store: SQLiteOnlineStore
) -> None:
    world = World(lake, store, random.Random(3))
    world.arrive(6)
    world.publish()
    name = TableName.parse(world.windows.view)
    other = windows_of(hop="5s")

    def publish() -> list[str]:
        done = publish_versions(lake, store, name, windows=other, beside=True, as_of=world.clock)
        return [each.mode for each in done]

    assert publish() == ["unchanged", "full"]
    world.tick(3)
    world.arrive(6)
    assert publish() == ["incremental", "incremental"]
    world.tick(1)
    world.ask()
    apply_move(store, plan_switch(str(name), versions_of(store, str(name))))
    fresh = SQLiteOnlineStore(lake.settings.online_store.with_name("fresh.db"))
    with fresh:
        publish_versions(lake, fresh, name, windows=other, as_of=world.clock)
        assert online(store, world.clock) == online(fresh, world.clock)
    apply_move(store, plan_rollback(str(name), versions_of(store, str(name))))
    world.ask()
    world.check()


def switch_on(address: str) -> None:
    on_redis = "://" in address
    with RedisOnlineStore(address) if on_redis else SQLiteOnlineStore(Path(address)) as store:
        apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_switch_that_is_killed_has_not_begun_and_can_be_done_again(
    kind: str,
    lake: Lake,
    view: Views,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if kind == "sqlite":
        address = str(settings.online_store)
        check_killed_switch(lake, view, SQLiteOnlineStore(Path(address)), address)
        return
    with redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as cluster:
        check_killed_switch(lake, view, RedisOnlineStore(url(cluster)), url(cluster))


def check_killed_switch(lake: Lake, view: Views, store: OnlineStore, address: str) -> None:
    redefined(lake, store, view)
    modes(lake, store)
    before = versions_of(store, VIEW)
    killed = start(switch_on, address, crash_at="serving.before_switch")
    assert exit_code(killed) == -signal.SIGKILL
    assert versions_of(store, VIEW) == before
    assert served(store, 2) == [(0.5, 3)]
    if isinstance(store, RedisOnlineStore):  # the turns of the killed one end by their time
        with redis.Redis.from_url(address) as client:
            client.delete(*client.keys("*:lock"))  # pyright: ignore[reportGeneralTypeIssues]
    assert exit_code(start(switch_on, address)) == 0
    assert served(store, 2) == [(0.5, 3, 9)]
    assert modes(lake, store) == {"": "unchanged", "@former": "unchanged"}
    store.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments))


def test_the_commands_show_the_plan_and_act_with_apply_alone(
    lake: Lake,
    view: Views,
    store: SQLiteOnlineStore,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(settings.declarations / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(settings.state_dir))
    redefined(lake, store, view)
    nothing = run("online", "switch", VIEW, "--output", "json")
    assert (nothing.exit_code, json.loads(nothing.output)["reason"]) == (1, "no-next")
    assert run("online", "publish", VIEW, "--beside").exit_code == 0
    planned = run("online", "switch", VIEW)
    assert (planned.exit_code, "former" in planned.output) == (0, True)
    assert set(versions_of(store, VIEW)) == {"served", "next"}
    assert run("online", "switch", VIEW, "--apply").exit_code == 0
    shown = json.loads(run("online", "versions", VIEW, "--output", "json").output)
    assert [(each["version"], each["differs_by"]) for each in shown] == [
        ("served", ""),
        ("former", "-seen_2"),
    ]
    got = run("online", "get", f"{VIEW}@former", '{"campaign": "all", "item_id": 2}')
    assert (got.exit_code, "expired" in got.output) == (0, True)
    assert run("online", "rollback", VIEW, "--apply").exit_code == 0
    assert set(versions_of(store, VIEW)) == {"served", "next"}
    missing = run("online", "retire", VIEW, "former", "--apply")
    assert f"no former version; nothing was deleted; run `headrace online versions {VIEW}`" in (
        missing.output
    )
    assert run("online", "retire", VIEW, "next").exit_code == 0
    assert set(versions_of(store, VIEW)) == {"served", "next"}
    assert run("online", "retire", VIEW, "next", "--apply").exit_code == 0
    assert set(versions_of(store, VIEW)) == {"served"}


def test_a_plain_publish_leaves_the_served_version_where_the_next_has_the_definition(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = redefined(lake, store, view)
    assert modes(lake, store) == {"": "incremental", "@next": "full"}
    add(table, [row(1, at=3, ctr=0.25) | {"seen_2": 8}])
    assert modes(lake, store, beside=False) == {"": "incremental", "@next": "incremental"}
    assert served(store, 1) == [(0.25, 3)]
    assert served(store, 1, version="@next") == [(0.25, 3, 8)]


def test_a_switch_that_redis_is_sent_twice_is_made_once(
    lake: Lake, view: Views, tmp_path: Path
) -> None:
    with (
        redis_server(tmp_path, appendonly="no") as cluster,
        RedisOnlineStore(url(cluster)) as store,
    ):
        redefined(lake, store, view)
        modes(lake, store)
        before, names = versions_of(store, VIEW), [VIEW, f"{VIEW}@former", f"{VIEW}@next"]
        moves = [(VIEW, f"{VIEW}@former"), (f"{VIEW}@next", VIEW)]
        server = store._server  # pyright: ignore[reportPrivateUsage]
        with contextlib.ExitStack() as turns:
            held = [turns.enter_context(server.turn_of(name)) for name in names]
            for _ in range(2):  # as a client does that lost the first answer
                server.rename(names, held, moves)
        after = versions_of(store, VIEW)
        assert set(after) == {"served", "former"}
        assert after["served"].columns == before["next"].columns
        assert after["former"].columns == before["served"].columns
        assert served(store, 1, 2) == [(0.5, 3, None), (0.5, 3, 9)]
        assert served(store, 1, 2, version="@former") == [(0.5, 3), (0.5, 3)]
        assert modes(lake, store)[""] == "unchanged"
