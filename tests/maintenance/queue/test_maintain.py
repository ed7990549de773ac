"""Rounds of maintenance on real tables: rows stay, budgets hold, races are for the next round."""

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    DatabaseUnavailableError,
    LakeError,
)
from headrace.identifiers import TableName
from headrace.maintenance.health.health import health
from headrace.maintenance.health.state import table_state
from headrace.maintenance.queue import maintain as maintaining
from headrace.maintenance.queue.actions import Action, Kind
from headrace.maintenance.queue.maintain import Budget, MaintenanceRun, follow, maintain, survey
from headrace.maintenance.queue.perform import Outcome, run_action
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.storage.locations import local_path
from headrace.tables import intents
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.refs.refs import tag
from headrace.tables.writer import write_batches
from tests.maintenance.compaction.test_beside_ingest import ROWS, append_until
from tests.maintenance.factories import NOW
from tests.processes import CONTEXT
from tests.tables.factories import add, day_key, events, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

FINISHED = 0.0  # every partition counts as finished at once


def untidy(lake: Lake, name: str = "raw.events", *, files: int = 6) -> LakeTable:
    """A table of small files over two days."""
    table = events_table(lake, name)
    for number in range(files):
        add(table, [number], day=number % 2)
    return table


def outcomes(run: MaintenanceRun) -> dict[str, int]:
    found = [result.outcome.value for result in run.results]
    return {outcome: found.count(outcome) for outcome in found}


def test_a_round_tidies_every_table_and_a_second_one_finds_nothing(lake: Lake) -> None:
    tables = [untidy(lake, name) for name in ("raw.a", "raw.b")]
    done = maintain(lake, cold_after_s=FINISHED)
    assert outcomes(done) == {"done": 4}
    for table in tables:
        assert ids_of(table) == list(range(6))
        assert len(table.head().files()) == 2
        assert health(table).score == 100
    again = maintain(lake, cold_after_s=FINISHED)
    assert not again.plan
    assert (again.results, again.plan.waiting, again.bytes) == ((), (), 0)


def test_rows_and_changes_are_what_they_would_be_without_maintenance(lake: Lake) -> None:
    table = untidy(lake)
    start, before = table.head().snapshot_id, table.head().to_arrow().sort_by("id")
    maintain(lake, cold_after_s=FINISHED)
    assert table.head().to_arrow().sort_by("id").equals(before)
    assert not changes(table, since=start)


def test_a_table_that_is_not_named_is_left_alone(lake: Lake) -> None:
    mine, other = untidy(lake, "raw.a"), untidy(lake, "raw.b")
    at = other.head().snapshot_id
    maintain(lake, [mine.name], cold_after_s=FINISHED)
    assert len(mine.head().files()) == 2
    assert other.head().snapshot_id == at


def test_a_partition_written_a_moment_ago_waits_until_many_files_came_together(lake: Lake) -> None:
    table = untidy(lake, files=8)
    first = maintain(lake)
    assert first.results == ()
    assert [each.kind for each in first.plan.waiting] == [Kind.MAJOR, Kind.MAJOR]
    for number in range(8, 16):
        add(table, [number])
    second = maintain(lake)
    assert [result.action.kind for result in second.results] == [Kind.MINOR]
    assert len(table.head().files(partitions=[day_key(0)])) == 1
    assert len(table.head().files(partitions=[day_key(1)])) == 4
    assert ids_of(table) == list(range(16))


def test_light_runs_write_a_row_anew_a_few_times_and_not_with_every_run(lake: Lake) -> None:
    table = events_table(lake)
    rewritten = 0
    for number in range(64):
        add(table, [number])
        rewritten += sum(
            int(result.detail.split(",")[1].split()[0]) for result in maintain(lake).results
        )
    assert ids_of(table) == list(range(64))
    assert rewritten <= 2 * 64
    assert len(table.head().files()) <= 14


def test_a_budget_of_bytes_is_kept_and_rounds_with_it_come_to_an_end(lake: Lake) -> None:
    tables = [untidy(lake, name, files=8) for name in ("raw.a", "raw.b")]
    most = max(
        sum(file.bytes for file in table.head().files(partitions=[day_key(day)]))
        for table in tables
        for day in (0, 1)
    )
    budget = Budget(bytes=most + 1)
    rounds = 0
    while run := maintain(lake, budget=budget, cold_after_s=FINISHED).results:
        assert sum(result.bytes for result in run) <= most + 1
        rounds += 1
        assert rounds < 10
    assert rounds == 4
    assert [len(table.head().files()) for table in tables] == [2, 2]


def test_no_action_starts_once_the_seconds_are_spent(lake: Lake) -> None:
    table = untidy(lake)
    at = table.head().snapshot_id
    done = maintain(lake, budget=Budget(seconds=0.0), cold_after_s=FINISHED)
    assert done.plan
    assert done.results == ()
    assert "0 s" in done.stopped_by
    assert table.head().snapshot_id == at


def test_stopping_lets_the_current_action_end_and_starts_no_other(lake: Lake) -> None:
    table = untidy(lake)
    stop = threading.Event()
    done = maintain(lake, cold_after_s=FINISHED, stop=stop, step=lambda _: stop.set())
    assert outcomes(done) == {"done": 1}
    assert done.stopped_by == "it was asked to stop"
    assert len(table.head().files()) == 4
    assert ids_of(table) == list(range(6))


def test_progress_counts_every_step_of_the_plan_once(lake: Lake) -> None:
    untidy(lake, "raw.a")
    untidy(lake, "raw.b")
    plans: list[MaintenancePlan] = []
    steps: list[Action] = []
    maintain(lake, cold_after_s=FINISHED, planned=plans.append, step=steps.append)
    (plan,) = plans
    assert [action.key for action in steps] == [
        action.key for action in plan.actions for _ in action.steps
    ]


def planned(lake: Lake, kind: Kind) -> Action:
    found = survey(lake, cold_after_s=FINISHED)
    plan = plan_maintenance(found.states, now=NOW)
    return next(action for action in plan.actions if action.kind is kind)


def test_what_another_commit_invalidated_is_planned_again_and_nothing_comes_back(
    lake: Lake,
) -> None:
    table = untidy(lake)
    action = planned(lake, Kind.MAJOR)
    key = action.partition or ()
    files = write_batches(table, [events([70], day=0 if key == day_key(0) else 1)])
    operations.overwrite_partitions(table, files, partitions=[key], provenance=Provenance())
    done = run_action(lake, action)
    assert done.outcome is Outcome.NOTHING
    assert 70 in ids_of(table)
    assert len(ids_of(table)) == 4


def test_an_action_that_loses_a_race_is_no_failure(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    untidy(lake)
    action = planned(lake, Kind.MAJOR)

    def loses(*_: object, **__: object) -> None:
        raise CommitConflictError(
            "raw.events", "another commit was first", reason=ConflictReason.REF_MOVED
        )

    # the moment between plan and swap is too short to hit: the commit itself is made to lose
    monkeypatch.setattr("headrace.maintenance.queue.perform.apply_compaction", loses)
    done = run_action(lake, action)
    assert done.outcome is Outcome.LOST
    run = maintain(lake, cold_after_s=FINISHED)
    assert outcomes(run) == {"lost": 2}
    assert run.errors == ()
    monkeypatch.undo()
    assert outcomes(maintain(lake, cold_after_s=FINISHED)) == {"done": 2}


def test_a_damaged_table_does_not_keep_the_others_from_maintenance(lake: Lake) -> None:
    broken, fine = untidy(lake, "raw.a"), untidy(lake, "raw.b")
    for file in broken.head().files(partitions=[day_key(0)]):
        with open(file.path, "r+b") as handle:  # noqa: PTH123 - in place
            handle.truncate(10)
    at = broken.head().snapshot_id
    done = maintain(lake, cold_after_s=FINISHED)
    assert outcomes(done) == {"failed": 1, "done": 3}
    (error,) = done.errors
    assert "raw" in str(error)
    assert len(fine.head().files()) == 2
    assert broken.head().snapshot_id != at  # its other partition is tidy
    assert len(broken.head().files()) == 4


def test_a_table_whose_metadata_is_damaged_is_named_and_left_alone(lake: Lake) -> None:
    broken, fine = untidy(lake, "raw.a"), untidy(lake, "raw.b")
    loaded = broken.iceberg()
    snapshot = loaded.metadata.current_snapshot()
    assert snapshot is not None
    path = snapshot.manifest_list.removeprefix("file://")
    with open(path, "r+b") as handle:  # noqa: PTH123 - in place
        handle.truncate(10)
    with Lake.open(lake.settings) as opened:  # a process that has not read it yet
        done = maintain(opened, cold_after_s=FINISHED)
    assert list(done.unreadable) == [TableName("raw", "a")]
    assert len(done.errors) == 1
    assert len(fine.head().files()) == 2


def test_snapshots_beyond_those_kept_expire_but_tags_stay(settings: Settings) -> None:
    many = dataclasses.replace(settings, snapshots_kept=1_000)
    with Lake.open(many) as lake:
        table = events_table(lake)
        for number in range(20):
            add(table, [number])
            if number == 2:
                tag(table, "kept", snapshot_id=table.head().snapshot_id or 0)
    few = dataclasses.replace(settings, snapshots_kept=5)
    with Lake.open(few) as lake:
        table = lake.table("raw.events")
        kept = table.at(tag="kept").snapshot_id
        (found,) = survey(lake).states
        assert found.expirable == 13
        done = run_action(lake, planned(lake, Kind.EXPIRE))
        assert done.outcome is Outcome.DONE
        assert done.detail == "13 snapshots expired"
        assert table.at(tag="kept").snapshot_id == kept
        assert table_state(table).expirable == 0
        assert run_action(lake, done.action).outcome is Outcome.NOTHING


def test_manifests_are_rewritten_once_and_not_a_second_time(lake: Lake) -> None:
    table = events_table(lake)
    for number in range(63):
        add(table, [number], day=number % 3)
    action = planned(lake, Kind.MANIFESTS)
    before = table.head().files()
    done = run_action(lake, action)
    assert done.outcome is Outcome.DONE
    assert table.head().files() == before
    at = table.head().snapshot_id
    assert run_action(lake, action).outcome is Outcome.NOTHING
    assert table.head().snapshot_id == at


def test_a_dropped_table_is_a_failure_of_its_action_only(lake: Lake) -> None:
    untidy(lake, "raw.a")
    action = planned(lake, Kind.MAJOR)
    lake.catalog.drop_table(("raw", "a"))
    done = run_action(lake, action)
    assert done.outcome is Outcome.FAILED
    assert isinstance(done.error, LakeError)


def test_rounds_beside_a_running_writer_lose_and_double_nothing(settings: Settings) -> None:
    rows, is_enough = CONTEXT.Value("i", 0), CONTEXT.Event()
    with Lake.open(settings) as lake:
        table = events_table(lake)
        writer = CONTEXT.Process(target=append_until, args=(settings, rows, is_enough))
        writer.start()
        while writer.is_alive():
            run = maintain(lake, cold_after_s=FINISHED)
            assert run.errors == ()
            if run.results:
                is_enough.set()
        writer.join(WAIT_S)
        assert writer.exitcode == 0
        maintain(lake, cold_after_s=FINISHED)
        assert rows.value >= ROWS
        assert ids_of(table) == list(range(rows.value))
        assert len(table.head().files()) == 2


def rounds_until(stop: threading.Event, count: int) -> Callable[[], None]:
    done = 0

    def one() -> None:
        nonlocal done
        done += 1
        if done >= count:
            stop.set()

    return one


def test_following_goes_on_until_it_is_asked_to_stop() -> None:
    stop, seen = threading.Event(), []
    one = rounds_until(stop, 3)
    follow(lambda: seen.append(one()), interval_s=0.001, stop=stop, failed=lambda _: None)
    assert len(seen) == 3


def test_a_writer_that_asks_for_maintenance_gets_it_before_the_interval_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintaining, "_LOOK_S", 0.001)
    stop, rounds = threading.Event(), list[int]()
    asked: list[int | None] = [None]

    def one_round() -> None:
        rounds.append(1)
        asked[0] = None if len(rounds) == 1 else 2**62
        if len(rounds) == 3:
            stop.set()

    def asked_ms() -> int | None:
        if len(rounds) == 1 and asked[0] is None:
            asked[0] = 2**62  # on the second look
            raise DatabaseUnavailableError("registry", "busy")
        return asked[0]

    follow(one_round, interval_s=60, stop=stop, failed=lambda _: None, asked_ms=asked_ms)
    assert len(rounds) == 3


def test_following_survives_what_passes_and_ends_with_what_does_not() -> None:
    stop, passed = threading.Event(), []
    fatal = LakeError("for good")
    conflict = CommitConflictError("t", "first", reason=ConflictReason.REF_MOVED)
    errors: list[LakeError] = [conflict, fatal]

    def fails() -> None:
        raise errors.pop(0)

    with pytest.raises(LakeError) as ended:
        follow(fails, interval_s=0.001, stop=stop, failed=passed.append)
    assert ended.value is fatal
    assert [type(error) for error in passed] == [CommitConflictError]


def test_stopping_does_not_wait_for_the_next_round() -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    follow(lambda: None, interval_s=60, stop=stop, failed=lambda _: None)
    assert time.monotonic() - started < 30


def test_maintenance_looks_for_orphans_once_a_day_and_leaves_taking_them_to_a_person(
    settings: Settings,
) -> None:
    no_age = dataclasses.replace(settings, cleanup_age_hours=0)
    with Lake.open(no_age) as lake:
        table = events_table(lake)
        add(table, [1])
        left = write_batches(table, [events([99])])
        intents.landed(lake.registry, left)  # as if its writer had ended
        first = maintain(lake, cold_after_s=FINISHED)
        assert [each.action.kind for each in first.results] == [Kind.FIND_ORPHANS]
        assert "1 orphan file, " in first.results[0].detail
        second = maintain(lake, cold_after_s=FINISHED)
        assert not second.results
        (waiting,) = second.plan.waiting
        assert waiting.kind is Kind.REMOVE_ORPHANS
        assert waiting.remedy is not None
        assert waiting.remedy.command == ("tables", "cleanup", "raw.events")
        assert Path(local_path(left[0].file_path)).exists()
