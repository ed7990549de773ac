"""Who adds the rows of a view: one run or one job, also where another takes over in the middle."""

import datetime as dt
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.definitions.window_rows import WindowRows
from headrace.errors import (
    FencedError,
    FlinkCannotReachError,
    FlinkJobLostError,
    FlinkJobUnwellError,
    FlinkPythonMissingError,
    FlinkRefusedError,
    StreamOwnedError,
)
from headrace.flink import history_job, view_job
from headrace.flink.backfill import Missing, bring_up, missing_rows
from headrace.flink.client import JobOverview
from headrace.flink.health import CHANGED, Health
from headrace.flink.history_job import backfill_by_flink
from headrace.flink.statements import JobSql
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import BATCH, FLINK, HEADRACE, Owner
from headrace.ingest.stream_tables import declared
from headrace.tables.lake import LakeTable, OpenLake
from tests.flink.events import NOON, append_events, events, in_order, stream_named, view_of
from tests.flink.replies import answering
from tests.raising import refused

STREAM = stream_named("plays")
VIEW = "features.plays"
WELL = Health(state="RUNNING", restarts=0, checkpoint=1, committed=1, root="", faults={})
RUNS = JobOverview(id="c1", name="n", state="RUNNING", started_ms=0)
SQL = JobSql(setup=(), insert="insert", plan="p1")
REPLIES = {
    "GET /jobs/overview": [(200, {"jobs": []})],
    "GET /v3/info": [(200, {"productName": "Apache Flink"})],
    "POST /v3/sessions": [(200, {"sessionHandle": "5f"})],
    "POST /v3/sessions/5f/statements": [(200, {"operationHandle": "7a"})],
    "GET /v3/sessions/5f/operations/7a/result/0?rowFormat=JSON": [(200, {"jobID": "c1"})],
    "DELETE /v3/sessions/5f": [(200, {})],
    "PATCH /jobs/c1?mode=cancel": [(202, {})],
    "GET /jobs/c1": [(200, {"state": "FAILED"})],
    "GET /jobs/c1/exceptions": [(200, {"root-exception": "java.io.IOException: no room"})],
}


@pytest.fixture
def asked(lake: Lake) -> Iterator[tuple[ViewJob, list[tuple[str, object]]]]:
    """A view whose events are there, at a Flink without jobs; and what Flink was asked."""
    declared(lake, STREAM)
    append_events(lake, STREAM, events(100, seconds=200, seed=1))
    with answering({key: list(replies) for key, replies in REPLIES.items()}) as (address, said):
        made = ViewJob(lake, view_of(STREAM), access=FlinkAccess(uri=address, gateway_uri=address))
        made.declared()
        yield made, said


@pytest.fixture
def job(asked: tuple[ViewJob, list[tuple[str, object]]]) -> ViewJob:
    return asked[0]


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Let something happen once, between the look at a table and the commit to it."""
    left = [what]

    def looked(lake: OpenLake, rows: WindowRows, table: LakeTable) -> Missing:
        found = missing_rows(lake, rows, table)
        while left:
            left.pop()()
        return found

    monkeypatch.setattr(view_job, "missing_rows", looked)


def began(job: ViewJob) -> None:
    """Begin a job; this Flink takes it, and forgets it at once."""
    with pytest.raises(FlinkJobLostError):
        job.begin_again()


def row_count(job: ViewJob) -> int:
    return job.table.head().row_count


@pytest.mark.parametrize("wrong", [False, True])
def test_rows_that_are_added_little_by_little_are_those_of_all_events(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    """With a delay an event that came later may be known before others; and a clock may be wrong."""
    said: dict[str, Any] = STREAM.model_dump() | {"known_at": "ingested", "allowed_lateness": "20m"}
    said["fields"] = {key: field for key, field in said["fields"].items() if key != "known_at"}
    stream = Stream.model_validate(said)
    declared(lake, stream)
    plays = {"name": "plays", "take": "count", "windows": ["20m"]}
    views = [
        view_of(stream, view=f"features.{name}", delay="10m", lateness="30m", aggregates=[plays])
        for name in ("plays", "again")
    ]
    (row, *_) = (each for each in events(100, seconds=200, seed=1) if each["u"] is not None)
    del row["known_at"]
    far_s = 10**9
    for number, moments in enumerate(
        ([(-95, -94), (0, far_s if wrong else 1)], [(-120, 5)], [(3000, 3001)])
    ):
        rows = [
            {
                **row,
                "id": f"{number}-{happened_s}",
                "event_time": NOON + dt.timedelta(seconds=happened_s),
                "known_at": NOON + dt.timedelta(seconds=known_s),
            }
            for happened_s, known_s in moments
        ]
        append_events(lake, stream, rows)
        now_s = max(known_s for _, known_s in moments if known_s < far_s)
        now_ms = int((NOON.timestamp() + now_s) * 1000)
        monkeypatch.setattr(type(lake), "now_ms", lambda _, at=now_ms: at)
        bring_up(lake, views[0])
    assert bring_up(lake, views[1]) > 0
    by_steps, at_once = (in_order(lake.table(each.table).head().to_arrow()) for each in views)
    assert by_steps == at_once


def test_a_job_that_begins_while_rows_are_computed_lets_none_of_them_land(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: job.set_owner(Owner(), Owner(by=FLINK, epoch=1)))
    with refused(StreamOwnedError, owner=FLINK, epoch=1, wanted=HEADRACE):
        job.backfill()
    assert row_count(job) == 0


def test_history_that_flink_does_not_finish_leaves_the_view_to_headrace(
    asked: tuple[ViewJob, list[tuple[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said = asked
    with refused(FlinkCannotReachError, subject=VIEW):
        backfill_by_flink(job)
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, 2)
    monkeypatch.setattr(history_job, "catalog_of", lambda *_, **__: {"type": "iceberg"})
    with pytest.raises(FlinkRefusedError) as caught:
        backfill_by_flink(job)
    assert "java.io.IOException: no room" in caught.value.detail
    assert ("POST /v3/sessions/5f/statements") in [each for each, _ in said]
    assert (job.owner.by, row_count(job)) == (HEADRACE, 0)
    job.backfill()
    assert row_count(job) > 0


def test_history_by_flink_is_refused_beside_a_job_or_another_run(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(lake: OpenLake, rows: WindowRows, table: LakeTable) -> Missing:
        with refused(StreamOwnedError, owner=BATCH, epoch=1, wanted=HEADRACE):
            job.backfill()
        with refused(StreamOwnedError, owner=BATCH, epoch=1, wanted=HEADRACE):
            job.submit()
        with refused(StreamOwnedError, owner=BATCH, epoch=1, wanted=FLINK):
            job.submit_owned()
        assert (job.status().owner, bring_up(lake, rows)) == (BATCH, 0)
        return missing_rows(lake, rows, table)

    monkeypatch.setattr(history_job, "missing_rows", looked)
    with refused(FlinkCannotReachError, subject=VIEW):
        backfill_by_flink(job)
    job.set_owner(job.owner, Owner(by=FLINK, epoch=3, jobs=("c1",), savepoint="s3://s-1"))
    with refused(StreamOwnedError, owner=FLINK, wanted=HEADRACE):
        backfill_by_flink(job)


def test_history_of_a_view_that_was_freed_meanwhile_is_not_computed(
    asked: tuple[ViewJob, list[tuple[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said = asked

    def looked(lake: OpenLake, rows: WindowRows, table: LakeTable) -> Missing:
        job.release()
        return missing_rows(lake, rows, table)

    monkeypatch.setattr(history_job, "missing_rows", looked)
    monkeypatch.setattr(history_job, "catalog_of", lambda *_, **__: {"type": "iceberg"})
    with refused(StreamOwnedError, owner=HEADRACE, epoch=2, wanted=HEADRACE):
        backfill_by_flink(job)
    assert not [each for each, _ in said if each.startswith("POST")]
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, 2)


def test_history_of_a_view_that_is_freed_while_it_is_submitted_is_cancelled(
    asked: tuple[ViewJob, list[tuple[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said = asked
    submit = job.gateway.submit

    def freed(*what: Any, **how: Any) -> str:  # noqa: ANN401
        job.release()
        return submit(*what, **how)

    monkeypatch.setattr(job.gateway, "submit", freed)
    monkeypatch.setattr(history_job, "catalog_of", lambda *_, **__: {"type": "iceberg"})
    with refused(StreamOwnedError, owner=HEADRACE, epoch=2):
        backfill_by_flink(job)
    assert "PATCH /jobs/c1?mode=cancel" in [each for each, _ in said]
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, 2)


def test_history_whose_commit_landed_is_there_however_its_job_ended(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_job, "catalog_of", lambda *_, **__: {"type": "iceberg"})
    monkeypatch.setattr(ViewJob, "wrote", lambda *_: True)
    assert backfill_by_flink(job).until_us
    assert job.owner.by == HEADRACE


def test_rows_of_another_run_let_none_land(job: ViewJob, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, job.backfill)
    with pytest.raises(FencedError):
        job.backfill()
    assert row_count(job) > 0


@pytest.mark.parametrize("stopped", [Owner(by=FLINK, epoch=1, jobs=("c1",), savepoint="s3://s-1")])
def test_rows_that_a_stopped_job_would_write_again_are_not_added(
    job: ViewJob, stopped: Owner
) -> None:
    job.set_owner(Owner(), stopped)
    with refused(StreamOwnedError, owner=FLINK, wanted=HEADRACE):
        job.backfill()
    job.release()
    job.backfill()
    assert row_count(job) > 0


def test_nobody_restores_or_submits_a_job_while_another_begins(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Owner(by=FLINK, epoch=1, jobs=("c0",), savepoint="s3://s-1")
    job.set_owner(Owner(), stopped)

    def restored() -> None:
        with refused(StreamOwnedError, owner=HEADRACE, wanted=FLINK):
            job.owned()
        with refused(StreamOwnedError, owner=HEADRACE, epoch=2):
            job.start(stopped, SQL, {})  # it read the owner before

    meanwhile(monkeypatch, restored)
    monkeypatch.setattr(ViewJob, "sql", lambda *_, **__: SQL)  # no catalog that Flink reaches
    began(job)
    assert (job.owner.epoch, job.owner.jobs) == (2, ("c1",))


def test_the_later_of_two_runs_that_begin_a_job_goes_on_alone(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ViewJob, "sql", lambda *_, **__: SQL)
    meanwhile(monkeypatch, lambda: began(job))
    with refused(StreamOwnedError, owner=FLINK, epoch=2):
        job.begin_again()
    assert (job.owner.epoch, job.owner.jobs) == (2, ("c1",))


def test_a_job_that_runs_by_an_older_declaration_is_named(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ViewJob, "sql", lambda *_, **__: SQL)
    monkeypatch.setattr(ViewJob, "health_of", lambda *_: WELL)
    monkeypatch.setattr(ViewJob, "running", lambda *_: RUNS)
    job.set_owner(Owner(), Owner(by=FLINK, epoch=1, jobs=("c1",), plan=SQL.plan))
    assert job.check().health == WELL
    job.set_owner(job.owner, replace(job.owner, plan="p0"))
    with pytest.raises(FlinkJobUnwellError) as caught:
        job.check()
    assert set(caught.value.faults) == {CHANGED}


def test_a_job_whose_owner_changed_before_it_was_submitted_is_not_submitted(
    asked: tuple[ViewJob, list[tuple[str, object]]],
) -> None:
    job, said = asked
    before = Owner(by=FLINK, epoch=1)
    job.set_owner(Owner(), before)
    job.set_owner(before, Owner(by=FLINK, epoch=1, jobs=("c0",)))  # another submits it
    with refused(StreamOwnedError, owner=FLINK, epoch=1):
        job.start(before, SQL, {})
    assert said == []
    assert job.owner.jobs == ("c0",)


def test_a_job_whose_owner_changed_while_it_was_submitted_is_cancelled(
    asked: tuple[ViewJob, list[tuple[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said = asked
    before, submit = Owner(by=FLINK, epoch=1), job.gateway.submit
    job.set_owner(Owner(), before)

    def submitted(*statements: Any, **more: Any) -> str:  # noqa: ANN401  (of the method)
        job.set_owner(job.owner, Owner(by=FLINK, epoch=1, jobs=("c0",)))  # another submits it
        return submit(*statements, **more)

    monkeypatch.setattr(job.gateway, "submit", submitted)
    with refused(StreamOwnedError, owner=FLINK, epoch=1):
        job.start(before, SQL, {})
    assert said[-1][0] == "PATCH /jobs/c1?mode=cancel"
    assert job.owner.jobs == ("c0",)


@pytest.mark.parametrize("python", ["", sys.executable])
def test_a_view_that_flink_cannot_compute_changes_nothing(lake: Lake, python: str) -> None:
    """It has more tiles than SQL sums: without Python, or where Flink's gateway cannot load the function."""
    declared(lake, STREAM)
    append_events(lake, STREAM, events(100, seconds=200, seed=1))
    aggregates = [{"name": "plays", "take": "count", "windows": ["3h"]}]
    replies = {key: list(each) for key, each in REPLIES.items()}
    loaded = "GET /v3/sessions/5f/operations/7a/result/0?rowFormat=JSON"
    replies[loaded] = [(500, {"errors": ["java.io.IOException: no python"]})]
    with answering(replies) as (address, asked):
        access = FlinkAccess(uri=address, gateway_uri=address, python=python)
        made = ViewJob(lake, view_of(STREAM, aggregates=aggregates), access=access)
        starts: dict[tuple[str, ...], Callable[[], object]] = {
            ("flink", "submit", VIEW): made.submit,
            ("flink", "backfill", "--by", "flink", VIEW): lambda: backfill_by_flink(made),
        }
        for command, start in starts.items():
            with refused(FlinkPythonMissingError, view=VIEW, python=python, command=command):
                start()
            assert not lake.exists(made.table_name)
    assert bool(asked) == bool(python)
