"""Refs beside other writers, in processes of their own."""

import multiprocessing

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    NotAnAncestorError,
    SnapshotNotFoundError,
)
from headrace.identifiers import TableName
from headrace.tables.refs import refs
from tests.processes import CONTEXT
from tests.tables.factories import events_table, ids_of
from tests.tables.histories import branch_ids, few_snapshots, write
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


def _forward(settings: Settings, branch: str, outcomes: "multiprocessing.Queue[str]") -> None:
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        try:
            refs.fast_forward(table, "main", to=branch)
        except NotAnAncestorError:
            outcomes.put("refused")
        else:
            outcomes.put(branch)


def test_of_two_processes_that_fast_forward_to_two_branches_one_wins(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        write(table, [1])
        for i, name in enumerate(("left", "right")):
            refs.create_branch(table, name)
            write(table, [10 + i], branch=name)
        outcomes = CONTEXT.Queue()
        workers = [
            CONTEXT.Process(target=_forward, args=(settings, name, outcomes))
            for name in ("left", "right")
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(WAIT_S)
        said = sorted(outcomes.get(timeout=WAIT_S) for _ in workers)
        assert "refused" in said
        (winner,) = set(said) - {"refused"}
        assert ids_of(table) == branch_ids(table, winner)


def _append_many(settings: Settings, first: int, count: int) -> None:
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        for i in range(first, first + count):
            write(table, [i])


def test_tags_branches_and_drops_beside_appends_lose_nothing(settings: Settings) -> None:
    few = few_snapshots(settings)
    with Lake.open(few) as lake:
        table = events_table(lake)
        write(table, [0])
        worker = CONTEXT.Process(target=_append_many, args=(few, 1, 25))
        worker.start()
        made: dict[str, tuple[int, int]] = {}
        number = 0
        while worker.is_alive() and number < 60:
            head = table.head()
            name = f"at-{number}"
            try:
                refs.tag(table, name, snapshot_id=head.snapshot_id or 0)
            except SnapshotNotFoundError:
                pass  # it expired a moment ago, and the tag says so
            else:
                made[name] = (head.snapshot_id or 0, head.row_count)
            if number % 3 == 0 and made:
                gone, (snapshot_id, _) = made.popitem()
                refs.drop(table, gone, snapshot_id=snapshot_id)
            number += 1
        worker.join(WAIT_S)
        assert worker.exitcode == 0
        assert ids_of(table) == list(range(26))
        assert refs.tags(table) == {name: at for name, (at, _) in made.items()}
        for name, (_, rows) in made.items():
            assert len(table.at(tag=name).to_arrow()) == rows


def test_a_snapshot_that_expires_under_another_branch_is_no_error(settings: Settings) -> None:
    with Lake.open(few_snapshots(settings)) as lake:
        table = events_table(lake)
        write(table, [0])
        refs.create_branch(table, "trial")
        for i in range(1, 12):
            write(table, [i], branch="trial" if i % 2 else "main")
        assert branch_ids(table, "trial") == [0, 1, 3, 5, 7, 9, 11]
        assert ids_of(table) == [0, 2, 4, 6, 8, 10]
