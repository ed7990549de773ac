"""A job whose submission got no answer is known by what it began with, whatever is declared by now."""

from collections.abc import Mapping
from typing import Any

import pytest

from headrace.api import Lake
from headrace.errors import FlinkRefusedError, TwoOwnersError
from headrace.flink import recovery
from headrace.flink.committed import CHECKPOINT, JOB
from headrace.flink.health import CHANGED
from headrace.flink.job import FlinkJob
from headrace.flink.recovery import restore
from headrace.flink.statements import JobSql
from headrace.flink.stopping import Stopped
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, Owner
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from tests.flink.replies import answering
from tests.flink.states import saved_in, savepoint, savepoint_of
from tests.raising import refused
from tests.tables.factories import add, events_table

NOTE = "headrace.schemas.things"
LOST = (500, {"errors": ["the connection was closed"]})
REPLIES: dict[str, list[tuple[int, Any]]] = {
    "GET /jobs/overview": [(200, {"jobs": []})],
    "POST /v3/sessions": [(200, {"sessionHandle": "s"})],
    "DELETE /v3/sessions/s": [(200, {})],
    "POST /v3/sessions/s/statements": [(200, {"operationHandle": "o"})],
    "GET /v3/sessions/s/operations/o/result/0?rowFormat=JSON": [LOST],
    "GET /jobs/c1/exceptions": [(200, {})],
    "GET /jobs/c1/checkpoints": [(200, {"latest": {}})],
}


class Job(FlinkJob):
    """A job of whatever is declared now, which its schemas follow."""

    def __init__(self, lake: Lake, table: LakeTable, address: str) -> None:
        super().__init__(lake, access=FlinkAccess(uri=address, gateway_uri=address))
        self.subject, self.table_name, self.declared = "things", table.name, "first"

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        _ = group, shown
        return JobSql(setup=(), insert="i", plan=self.declared)

    def start_note(self) -> Mapping[str, str]:
        return {NOTE: self.declared}

    def runs(self, *, epoch: int) -> dict[str, Any]:
        name = f"{self.family()}{epoch}"
        return {"jobs": [{"jid": "c1", "name": name, "state": "RUNNING", "start-time": 0}]}


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    made = events_table(lake)
    add(made, [1])
    return made


def test_a_submission_without_an_answer_is_known_by_its_own_plan_and_schemas(
    lake: Lake, table: LakeTable
) -> None:
    folder = {"key": "execution.checkpointing.savepoint-dir", "value": saved_in(lake)}
    replies = {**REPLIES, "GET /jobmanager/config": [(200, [folder])]}
    with answering(replies) as (address, _):
        job = Job(lake, table, address)
        job.set_owner(job.owner, Owner(by=FLINK, epoch=1))
        with pytest.raises(FlinkRefusedError):
            job.submit_owned()
        assert job.owner.jobs == ()
        job.declared = "second"
        replies["GET /jobs/overview"] = [(200, job.runs(epoch=1))]
        judged = job.submit_owned().health
    assert (job.owner.jobs, job.owner.plan) == (("c1",), "first")
    assert table.head().properties[NOTE] == "first"
    assert judged is not None
    assert set(judged.faults) == {CHANGED}


def test_a_restore_without_an_answer_goes_on_from_its_savepoint_once(
    lake: Lake, table: LakeTable
) -> None:
    replies = dict(REPLIES)
    stopped = Owner(
        by=FLINK,
        epoch=1,
        jobs=("c0",),
        plan="first",
        savepoint="file:///s/savepoint-1",
        checkpoint=7,
    )
    with answering(replies) as (address, _):
        job = Job(lake, table, address)
        job.set_owner(job.owner, stopped)
        with pytest.raises(FlinkRefusedError):
            restore(job)
        assert job.owner == stopped  # it may be restored from there still
        replies["GET /jobs/overview"] = [(200, job.runs(epoch=1))]
        restore(job)
    assert (job.owner.jobs, job.owner.savepoint, job.owner.checkpoint) == (("c0", "c1"), "", 0)


def test_what_a_job_wrote_that_was_lost_before_it_was_known_is_not_written_again(
    lake: Lake, table: LakeTable
) -> None:
    stopped = Owner(
        by=FLINK,
        epoch=1,
        jobs=("c0",),
        plan="first",
        since_sequence=table.iceberg().metadata.next_sequence_number() - 1,
        savepoint="file:///s/savepoint-1",
        checkpoint=7,
    )
    with answering(dict(REPLIES)) as (address, asked):
        job = Job(lake, table, address)
        job.set_owner(job.owner, stopped)
        with pytest.raises(FlinkRefusedError):
            restore(job)
        committed = {JOB: "c1", CHECKPOINT: "9"}
        operations.append(table, [], provenance=operations.Provenance(notes=committed))
        before = len(asked)
        with refused(TwoOwnersError, others=("c1",)):
            restore(job)
        assert not [path for path, _ in asked[before:] if path.startswith("POST")]


def test_a_job_whose_submission_had_no_answer_is_known_once_it_is_stopped(
    lake: Lake, table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Stopped(savepoint=savepoint(lake, "savepoint-c0-1", savepoint_of(10)), why="")
    monkeypatch.setattr(recovery, "stop_with_savepoint", lambda *_, **__: ended)
    folder = {"key": "execution.checkpointing.savepoint-dir", "value": saved_in(lake)}
    replies = {**REPLIES, "GET /jobmanager/config": [(200, [folder])]}
    with answering(replies) as (address, _):
        job = Job(lake, table, address)
        job.set_owner(job.owner, Owner(by=FLINK, epoch=1))
        with pytest.raises(FlinkRefusedError):
            job.submit_owned()
        replies["GET /jobs/overview"] = [(200, job.runs(epoch=1))]
        owner = recovery.stop_job(job)
    assert owner == job.owner
    assert (owner.jobs, owner.savepoint, owner.checkpoint) == (("c1",), ended.savepoint, 10)
