"""Merges and deletes beside each other, appends and compaction, and after kills: nothing lost or doubled."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.copy_on_write import TRIES_MAX, rewrite, until_it_lands
from headrace.dml.delete import delete_where
from headrace.dml.merge import NewRows, merge, merge_into
from headrace.errors import CatalogBusyError, CommitConflictError, ConflictReason
from headrace.tables.commits.operations import Provenance
from tests.dml.keyed import START, Row, add_rows, arrow, in_order, keyed_table, rows_of
from tests.dml.processes import append_each, compact_often, delete_each, finish, merge_each, start
from tests.raising import refused

pytestmark = pytest.mark.slow

BOUNDARIES = ("commit.after_data_files", "commit.after_manifests", "commit.after_swap")


def row(user_id: int, item: str = "a", *, value: int = 0) -> Row:
    return user_id, item, START, value, 0.5


def soon() -> float:
    """When processes that are started now are all ready to begin."""
    return time.time() + 1.5


@pytest.mark.parametrize("first", [[], [row(100)]], ids=["empty", "filled"])
def test_of_merges_of_one_new_key_every_key_is_there_once(
    settings: Settings, first: list[Row]
) -> None:
    with Lake.open(settings) as lake:
        table = keyed_table(lake, name="keyed")
        if first:
            add_rows(table, first)
        begin = soon()
        merges = [
            [[row(number + step, value=writer) for number in range(4)] for step in range(5)]
            for writer in (1, 2, 3)
        ]
        assert finish([start(merge_each, settings, each, begin) for each in merges]) == [0, 0, 0]
        users = sorted(each[0] or 0 for each in rows_of(table))
        assert users == [*range(8), *(each[0] for each in first)]
        # the last to merge a key wins, and a merge is all or nothing
        assert {each[3] for each in rows_of(table)} - {0} <= {1, 2, 3}


def test_a_merge_beside_appends_and_compaction_loses_and_doubles_nothing(
    settings: Settings,
) -> None:
    with Lake.open(settings) as lake:
        table = keyed_table(lake, ["day(at)"], name="keyed")
        add_rows(table, [row(number, "m") for number in range(6)])
        begin = soon()
        merges = [[row(number, "m", value=step) for number in range(8)] for step in range(1, 7)]
        appends = [[row(number, "appended")] for number in range(20)]
        codes = finish(
            [
                start(merge_each, settings, merges, begin),
                start(append_each, settings, appends, begin),
                start(compact_often, settings, 8, begin),
            ]
        )
        assert codes == [0, 0, 0]
        assert rows_of(table) == in_order([*merges[-1], *(r for rows in appends for r in rows)])


def test_deletes_beside_merges_appends_and_compaction_take_what_they_name(
    settings: Settings,
) -> None:
    with Lake.open(settings) as lake:
        table = keyed_table(lake, name="keyed")
        add_rows(table, [row(number, item) for number in range(12) for item in ("m", "old")])
        begin = soon()
        merges = [[row(number, "m", value=step) for number in range(12)] for step in range(1, 5)]
        appends = [[row(number, "new")] for number in range(12)]
        deletes = [f"user_id = {number} and item = 'old'" for number in range(0, 12, 2)]
        codes = finish(
            [
                start(merge_each, settings, merges, begin),
                start(append_each, settings, appends, begin),
                start(compact_often, settings, 6, begin),
                start(delete_each, settings, deletes, begin),
            ]
        )
        assert codes == [0, 0, 0, 0]
        kept = [row(number, "old") for number in range(1, 12, 2)]
        assert rows_of(table) == in_order(
            [*merges[-1], *(r for rows in appends for r in rows), *kept]
        )


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_killed_merge_is_all_or_nothing_and_the_same_again_makes_it_whole(
    settings: Settings, boundary: str
) -> None:
    with Lake.open(settings) as lake:
        table = keyed_table(lake, ["day(at)"], name="keyed")
        old = [row(number) for number in range(4)]
        add_rows(table, old)
        new = [row(number, value=9) for number in range(2, 6)]
        assert finish([start(merge_each, settings, [new], 0.0, crash_at=boundary)]) == [
            -signal.SIGKILL
        ]
        merged = in_order([*old[:2], *new])
        landed = boundary == "commit.after_swap"
        assert rows_of(table) == (merged if landed else in_order(old))
        again = merge(table, arrow(new), key=("user_id", "item"), provenance=Provenance())
        assert (again.commit is None) == landed
        assert rows_of(table) == merged


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_killed_delete_is_all_or_nothing_and_the_same_again_makes_it_whole(
    settings: Settings, boundary: str
) -> None:
    with Lake.open(settings) as lake:
        table = keyed_table(lake, name="keyed")
        old = [row(number) for number in range(4)]
        add_rows(table, old)
        condition = "user_id >= 2"
        assert finish([start(delete_each, settings, [condition], 0.0, crash_at=boundary)]) == [
            -signal.SIGKILL
        ]
        landed = boundary == "commit.after_swap"
        assert rows_of(table) == in_order(old[:2] if landed else old)
        assert delete_where(table, condition, provenance=Provenance()).rows == (0 if landed else 2)
        assert rows_of(table) == in_order(old[:2])


def test_what_loses_every_race_is_tried_alone_in_the_end(lake: Lake) -> None:
    table = keyed_table(lake, name="keyed")
    tries: list[int] = []
    held: list[bool] = []

    def is_held() -> bool:
        try:
            with lake.locks.hold(table.name, wait_s_max=0.0):
                return False
        except CatalogBusyError:
            return True

    def attempt(number: int) -> str:
        tries.append(number)
        held.append(in_another_thread(is_held))
        if number < TRIES_MAX:
            raise CommitConflictError(
                str(table.name), "another was faster", reason=ConflictReason.REF_MOVED
            )
        add_rows(table, [row(1)])  # a commit takes the lock that is held already
        return "landed"

    assert until_it_lands(table, attempt) == "landed"
    assert tries == list(range(1, TRIES_MAX + 1))
    assert held == [False] * (TRIES_MAX - 1) + [True]
    assert not in_another_thread(is_held)


def in_another_thread(ask: Callable[[], bool]) -> bool:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join()
    return found[0]


def test_a_merge_planned_before_a_rollback_does_not_double_what_it_brings_back(lake: Lake) -> None:
    table = keyed_table(lake, name="keyed")
    add_rows(table, [row(1), row(2)])
    first = table.head().snapshot_id
    assert first is not None
    delete_where(table, "user_id = 1", provenance=Provenance())
    version = table.head()
    new = NewRows.of(arrow([row(1, value=7)]), version, key=("user_id",))
    table.iceberg().manage_snapshots().set_current_snapshot(first).commit()
    with refused(CommitConflictError, reason=ConflictReason.ROLLED_BACK, ref="main"):
        merge_into(table, version, new, provenance=Provenance())
    assert rows_of(table) == in_order([row(1), row(2)])


def test_a_refused_change_leaves_no_data_file_behind(lake: Lake) -> None:
    table = keyed_table(lake, name="keyed")
    add_rows(table, [row(1)])
    version = table.head()
    add_rows(table, [row(2)])
    before = sorted(Path(lake.settings.warehouse).rglob("*.parquet"))
    with refused(CommitConflictError, reason=ConflictReason.ROWS_ADDED):
        rewrite(
            table,
            version,
            files=version.files(),
            kept_rows=lambda _: iter(()),
            new_rows=arrow([row(2, value=1)]),
            provenance=Provenance(),
            may_conflict=lambda _: True,
        )
    assert sorted(Path(lake.settings.warehouse).rglob("*.parquet")) == before
    assert rows_of(table) == in_order([row(1), row(2)])
