"""Following tables: each commit is online soon after, whoever made it, until the process is stopped."""

import datetime as dt
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.errors import DatabaseUnavailableError
from headrace.serving import follow as following
from headrace.serving.beside import publish_versions
from headrace.serving.follow import Failed, Followed, follow
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.versions import versions_of
from headrace.tables.alter import AddColumn, alter
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.serving.conftest import add, hours, row
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

Views = Callable[..., LakeTable]
VIEW = "features.item_ctr"


def eventually(holds: Callable[[], bool], *, s_max: float = WAIT_S) -> float:
    """Wait until something holds, and return how long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < s_max
        time.sleep(0.01)
    return time.monotonic() - started


def test_each_commit_is_online_soon_after(lake: Lake, view: Views, settings: Settings) -> None:
    table, stop = view(), threading.Event()
    add(table, [*(row(item, at=1) for item in range(50)), row(99, at=30)])
    seen: list[Followed | Failed] = []
    with SQLiteOnlineStore(settings.online_store) as store:

        def keep_up() -> None:
            with Lake.open(settings) as mine:
                follow(mine, store, [table.name], every_s=0.05, stop=stop, report=seen.append)

        thread = threading.Thread(target=keep_up)
        thread.start()
        eventually(lambda: store.state(VIEW) is not None)
        for number in range(5):
            snapshot = add(table, [row(number, at=2 + number / 8, ctr=number / 8)])

            def online(wanted: int = snapshot) -> bool:
                state = store.state(VIEW)
                return state is not None and state.snapshot_id == wanted

            eventually(online)
            (found,) = store.get(VIEW, [("all", number)])
            assert found is not None
            assert found.values[0] == number / 8
        delete_where(table, "item_id = 3", provenance=Provenance())
        eventually(lambda: store.get(VIEW, [("all", 3)]) == [None])
        stop.set()
        thread.join(timeout=WAIT_S)
    done = [each for each in seen if isinstance(each, Followed)]
    assert len(done) == len(seen)
    modes = [each.published.mode for each in done]
    assert modes == ["full", *["incremental"] * 6]
    # exactly the entities that changed
    assert [each.published.rows_changed for each in done] == [51, *[1] * 6]
    assert all(each.behind_s < WAIT_S for each in done)


def test_a_view_that_fails_is_tried_again_and_does_not_hold_up_others(
    lake: Lake, view: Views, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = view("features.one"), view("features.two")
    for table in (first, second):
        add(table, [row(1, at=1)])
    left, stop = [3], threading.Event()
    seen: list[Followed | Failed] = []
    real = following.publish_versions

    def publish_versions(*arguments: object, **options: object) -> object:
        if arguments[2] == first.name and left[0]:
            left[0] -= 1
            raise DatabaseUnavailableError("online store", "it is away")
        return real(*arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(following, "publish_versions", publish_versions)

    def report(each: Followed | Failed) -> None:
        seen.append(each)
        if isinstance(each, Followed) and each.published.view == str(first.name):
            stop.set()

    with SQLiteOnlineStore(settings.online_store) as store:
        follow(lake, store, [first.name, second.name], every_s=0.02, stop=stop, report=report)
    assert [type(each) for each in seen] == [Failed, Followed, Failed, Failed, Followed]
    pauses = [each.pause_s for each in seen if isinstance(each, Failed)]
    assert pauses == pytest.approx([0.02, 0.04, 0.08])


def test_a_row_that_is_not_known_for_long_is_looked_for_now_and_then(
    lake: Lake, view: Views, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, stop = view(), threading.Event()
    add(table, [row(1, at=1), row(2, at=2, known=24 * 365 * 100)])
    seen: list[Followed | Failed] = []
    looks: list[tuple[float, float]] = []  # when each began and ended
    real = following.publish_versions

    def publish_versions(*arguments: object, **options: object) -> object:
        began = time.monotonic()
        done = real(*arguments, **options)  # pyright: ignore[reportArgumentType]
        looks.append((began, time.monotonic()))
        if len(looks) == 3:
            stop.set()
        return done

    monkeypatch.setattr(following, "publish_versions", publish_versions)
    with SQLiteOnlineStore(settings.online_store) as store:
        follow(lake, store, [table.name], every_s=0.01, stop=stop, report=seen.append)
    assert len(seen) == 1
    for (began, ended), (again, _) in itertools.pairwise(looks):
        assert again - ended > 5 * (ended - began)


def test_the_command_publishes_until_it_is_told_to_stop(
    lake: Lake, view: Views, settings: Settings, tmp_path: Path
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    home = settings.declarations.parent
    assert (settings.declarations / "lake.toml").exists()
    environment = {**os.environ, "HEADRACE_STATE_DIR": str(settings.state_dir)}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("headrace")), "online", "follow", VIEW]
        + ["--every-ms", "50", "--output", "json"],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert (first["view"], first["mode"], first["rows_changed"]) == (VIEW, "full", 1)
    add(table, [row(2, at=2)])
    second = json.loads(process.stdout.readline())
    assert (second["mode"], second["rows_read"]) == ("incremental", 1)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=WAIT_S)
    assert (process.returncode, rest) == (0, "")
    with SQLiteOnlineStore(settings.online_store) as store:
        fresh = store.freshness(VIEW)
        assert fresh is not None
        assert (fresh.rows, fresh.newest_event_time) == (2, hours(2))
        assert fresh.published_at - hours(2) > dt.timedelta(0)


class Looks(threading.Event):
    """Stops `follow` after its looks; between two of them it does what it was given."""

    def __init__(self, *between: Callable[[], object]) -> None:
        super().__init__()
        self._between = list(between)

    def wait(self, timeout: float | None = None) -> bool:
        _ = timeout
        if self._between:
            self._between.pop(0)()
        else:
            self.set()
        return self.is_set()


def test_a_served_version_that_was_lost_is_published_again_beside_its_next(
    lake: Lake, view: Views, settings: Settings
) -> None:
    table, seen = view(), list[Followed | Failed]()
    add(table, [row(1, at=1)])
    with SQLiteOnlineStore(settings.online_store) as store:
        publish_versions(lake, store, table.name)
        alter(table, AddColumn("seen_2", type=pa.int64()))
        publish_versions(lake, store, table.name, beside=True)
        stop = Looks(lambda: store.drop(VIEW))
        follow(lake, store, [table.name], every_s=0, stop=stop, report=seen.append, beside=True)
        assert set(versions_of(store, VIEW)) == {"served", "next"}
        assert store.get(VIEW, [("all", 1)]) != [None]


def test_a_store_that_was_restored_from_a_dump_is_brought_up_to_the_head(
    lake: Lake, view: Views, settings: Settings
) -> None:
    table, seen = view(), list[Followed | Failed]()
    first = add(table, [row(1, at=1)])
    with (
        SQLiteOnlineStore(settings.online_store) as store,
        closing(sqlite3.connect(settings.online_store)) as other,
        closing(sqlite3.connect(":memory:")) as dump,
    ):
        publish_versions(lake, store, table.name)
        other.backup(dump)
        head = add(table, [row(2, at=2)])
        restored: list[int | None] = []

        def restore() -> None:
            assert online_snapshot(store) == head
            dump.backup(other)
            restored.append(online_snapshot(store))

        follow(lake, store, [table.name], every_s=0, stop=Looks(restore), report=seen.append)
        assert restored == [first]
        assert online_snapshot(store) == head
        assert None not in store.get(VIEW, [("all", 1), ("all", 2)])


def online_snapshot(store: SQLiteOnlineStore) -> int | None:
    state = store.state(VIEW)
    return None if state is None else state.snapshot_id
