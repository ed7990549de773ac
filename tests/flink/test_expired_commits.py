"""Commits of a job that have expired: its sink would not find them, and commit again what its state holds."""

import pytest

from headrace.api import Lake
from headrace.errors import CommitsExpiredError
from headrace.flink import recovery
from headrace.flink.committed import begun
from headrace.flink.jobs import StreamJob
from headrace.flink.recovery import refuse_expired, restore
from headrace.flink_access import FlinkAccess
from headrace.ingest import dead_letters
from headrace.ingest.owner import HEADRACE, Owner
from headrace.ingest.run import ingest
from headrace.tables.commits.operations import expire
from headrace.tables.lake import LakeTable
from tests.flink.contracts import contract
from tests.flink.test_letter_writers import by_job
from tests.ingest.log_source import Entry, Log, LogSource
from tests.raising import refused

pytestmark = pytest.mark.slow
STREAM = contract(known_at={"after_event": "0s"})


@pytest.fixture
def job(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> StreamJob:
    """The job of a stream that was stopped, before it committed anything."""
    ingest(lake, STREAM, source=LogSource({0: Log(entries=[Entry(0, b"not JSON")], end=1)}))
    monkeypatch.setattr(StreamJob, "running", lambda *_: None)
    made = StreamJob(lake, STREAM, access=FlinkAccess(uri="http://no", gateway_uri="http://no"))
    owner = begun(made.table.iceberg().metadata, epoch=1).started("c0")
    made.set_owner(Owner(), owner)
    return made


def expire_all(table: LakeTable) -> None:
    expire(table, keep=0, before_ms=1 << 50)


def rest(table: LakeTable) -> set[int]:
    return {each.snapshot_id for each in table.iceberg().metadata.snapshots}


def test_the_newest_commit_of_the_owner_s_jobs_is_kept_with_all_after_it(job: StreamJob) -> None:
    by_job(job.table, "c0")
    found = {by_job(job.table, "c0", checkpoint=2), by_job(job.table, ""), by_job(job.table, "")}
    expire_all(job.table)
    assert rest(job.table) == found
    refuse_expired(job, job.owner)
    job.set_owner(job.owner, Owner(by=HEADRACE, epoch=2))
    expire_all(job.table)
    assert len(rest(job.table)) == 1


@pytest.mark.parametrize("name", [str(STREAM.table), str(dead_letters.TABLE)])
def test_a_job_whose_commits_another_program_expired_is_not_started_again(
    job: StreamJob, name: str
) -> None:
    table, owner = job.lake.table(name), job.owner
    by_job(table, "c0")
    for _ in range(3):
        by_job(table, "another")
    refuse_expired(job, owner)
    job.set_owner(owner, Owner(by=HEADRACE, epoch=2))  # so that nothing is kept for it
    expire_all(table)
    job.set_owner(job.owner, owner)
    with refused(CommitsExpiredError, stream=STREAM.name, table=name):
        refuse_expired(job, owner)


def test_a_restore_ends_before_it_submits_anything(
    job: StreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "hides_commits", lambda *_, **more: more["jobs"] == ("c0",))
    with refused(CommitsExpiredError, table=str(STREAM.table)):
        restore(job, checkpoint="s3://c/c0/chk-8")


def test_a_table_with_its_whole_history_since_the_epoch_began_hides_nothing(job: StreamJob) -> None:
    for _ in range(2):
        by_job(job.table, "")
    expire(job.table, keep=2, before_ms=1 << 50)
    began = begun(job.table.iceberg().metadata, epoch=2)
    expire_all(job.table)
    assert len(rest(job.table)) == 1
    refuse_expired(job, began.started("c1"))
