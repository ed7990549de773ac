"""What a job starts again from: never a state that is older than its table, or of other statements."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from headrace.api import Lake
from headrace.errors import (
    FlinkStopError,
    FlinkUnavailableError,
    JobChangedError,
    JobFailsAgainError,
    NoCheckpointError,
    OldCheckpointError,
)
from headrace.flink import recovery
from headrace.flink.begin import Begin
from headrace.flink.client import Failure, JobOverview
from headrace.flink.recovery import restore
from headrace.flink.statements import JobSql
from headrace.flink.stopping import Stopped
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import declared
from tests.flink.events import stream_named, view_of
from tests.flink.replies import answering
from tests.flink.states import checkpoint, saved_in, savepoint, savepoint_of
from tests.raising import refused

STREAM = stream_named("plays")
VIEW = "features.plays"
SAVEPOINT, OLD = "s3://c/savepoint-1", "s3://c/0ld/chk-8"
SQL = JobSql(setup=("create view v",), insert="insert", plan="p1")
STOPPED = Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1", savepoint=SAVEPOINT, checkpoint=9)
BEGIN = Begin(after_us=0, snapshot_id=1, history_id=None)
FAILED = Stopped(savepoint="", why="its state is FAILED")
RUNNING = JobOverview(id="c0", name="n", state="RUNNING", started_ms=0)
_GATEWAY = "POST /v3/sessions"

Asked = list[tuple[str, Any]]


@pytest.fixture
def stopped(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ViewJob, Asked]]:
    """A job that was stopped at checkpoint 9, which its table has; and what Flink is asked."""
    declared(lake, STREAM)
    replies: dict[str, list[tuple[int, Any]]] = {
        "GET /jobs/overview": [(200, {"jobs": []})],
        _GATEWAY: [(200, {"sessionHandle": "5f"})],
        "POST /v3/sessions/5f/statements": [(200, {"operationHandle": "7a"})],
        "GET /v3/sessions/5f/operations/7a/result/0?rowFormat=JSON": [(200, {"jobID": "c1"})],
        "DELETE /v3/sessions/5f": [(200, {})],
        "GET /jobs/c0": [(200, {"state": "FAILED"})],
        "GET /jobs/c0/exceptions": [(200, {"root-exception": "java.sql.SQLException: closed"})],
        "GET /jobmanager/config": [
            (
                200,
                [
                    {"key": "execution.checkpointing.dir", "value": lake.settings.warehouse_uri},
                    {"key": "execution.checkpointing.savepoint-dir", "value": saved_in(lake)},
                ],
            )
        ],
    }
    monkeypatch.setattr(ViewJob, "sql", lambda *_, **__: SQL)  # no catalog that Flink reaches
    monkeypatch.setattr(ViewJob, "committed", lambda *_: 9)
    monkeypatch.setattr(ViewJob, "status", lambda job: job.owner)
    with answering(replies) as (address, asked):
        made = ViewJob(lake, view_of(STREAM), access=FlinkAccess(uri=address, gateway_uri=address))
        made.declared()
        made.set_owner(Owner(), STOPPED, more=BEGIN.note())
        yield made, asked


def sessions(asked: Asked) -> list[dict[str, str]]:
    return [body["properties"] for path, body in asked if path == _GATEWAY]


def test_a_job_starts_from_its_savepoint_which_stays_its_own(
    stopped: tuple[ViewJob, Asked],
) -> None:
    """A savepoint that Flink took over would go with a checkpoint, while a later one still needs its files."""
    job, asked = stopped
    restore(job)
    (session,) = sessions(asked)
    assert session["execution.state-recovery.path"] == SAVEPOINT
    assert session["execution.state-recovery.claim-mode"] == "NO_CLAIM"
    assert "execution.state-recovery.ignore-unclaimed-state" not in session
    assert (job.owner.jobs, job.owner.savepoint) == (("c0", "c1"), "")


def test_a_checkpoint_that_is_older_than_the_table_is_refused(
    stopped: tuple[ViewJob, Asked],
) -> None:
    job, asked = stopped
    with refused(OldCheckpointError, stream=VIEW, checkpoint=8, committed=9):
        restore(job, checkpoint=OLD)
    assert (sessions(asked), job.owner) == ([], STOPPED)


def test_a_named_checkpoint_is_whole_and_of_a_job_of_this_epoch_though_its_number_is_greater(
    stopped: tuple[ViewJob, Asked],
) -> None:
    job, asked = stopped
    folder = Path(job.lake.settings.warehouse_uri.removeprefix("file://")) / "chk"
    for each in ("c0/chk-10", "other/chk-10"):
        (folder / each).mkdir(parents=True)
    (folder / "other/chk-10/_metadata").touch()
    for named in (f"file://{folder}/c0/chk-10", f"file://{folder}/other/chk-10"):
        with refused(NoCheckpointError, stream=VIEW, folder=named):
            restore(job, checkpoint=named)
    assert (sessions(asked), job.owner) == ([], STOPPED)
    (folder / "c0/chk-10/_metadata").touch()
    restore(job, checkpoint=f"file://{folder}/c0/chk-10/")
    (session,) = sessions(asked)
    assert session["execution.state-recovery.path"] == f"file://{folder}/c0/chk-10"


def test_a_savepoint_of_other_statements_is_refused(
    stopped: tuple[ViewJob, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, asked = stopped
    changed = JobSql(setup=SQL.setup, insert=SQL.insert, plan="p2")
    monkeypatch.setattr(ViewJob, "sql", lambda *_, **__: changed)
    with refused(JobChangedError, stream=VIEW, expected="p1", found="p2"):
        restore(job)
    assert (sessions(asked), job.owner) == ([], STOPPED)


def test_a_job_without_a_checkpoint_is_not_started_without_state(
    stopped: tuple[ViewJob, Asked],
) -> None:
    job, asked = stopped
    lost = Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1")
    job.set_owner(STOPPED, lost)
    with refused(NoCheckpointError, stream=VIEW, folder=job.lake.settings.warehouse_uri):
        restore(job)
    for named in ("s3://c/0ld", "s3://c/0ld/chk-"):
        with refused(NoCheckpointError, stream=VIEW, folder=named):
            restore(job, checkpoint=named)
    assert (sessions(asked), job.owner) == ([], lost)


def test_a_savepoint_that_was_not_written_down_is_found_where_flink_ended_in_between(
    stopped: tuple[ViewJob, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its tables may have what is in the savepoint: an older checkpoint would write it again."""
    job, asked = stopped
    runs = Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1")
    job.set_owner(STOPPED, runs)
    monkeypatch.setattr(ViewJob, "running", lambda *_: RUNNING)
    ended = FlinkUnavailableError("http://127.0.0.1:9", "it ended")
    monkeypatch.setattr(recovery, "stop_with_savepoint", Mock(side_effect=ended))
    with refused(FlinkUnavailableError):
        job.stop()
    monkeypatch.setattr(ViewJob, "running", lambda *_: None)
    monkeypatch.setattr(ViewJob, "committed", lambda *_: 10)
    checkpoint(job.lake, 9)
    with refused(OldCheckpointError, checkpoint=9, committed=10):
        restore(job)
    for name, head in (
        ("savepoint-c0-2", savepoint_of(10)),
        ("savepoint-c0-1", savepoint_of(8)),
        ("savepoint-other-1", savepoint_of(12)),
        ("savepoint-c0-3", savepoint_of(13)[:-1]),  # it is being written
        ("savepoint-c0-4", b"\0" * 16),
        ("savepoint-c0-5", None),
    ):
        savepoint(job.lake, name, head)
    restore(job)
    (session,) = sessions(asked)
    assert session["execution.state-recovery.path"] == f"{saved_in(job.lake)}/savepoint-c0-2"


def test_a_savepoint_is_found_also_where_no_checkpoint_is_left(
    stopped: tuple[ViewJob, Asked],
) -> None:
    job, asked = stopped
    job.set_owner(STOPPED, Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1"))
    location = savepoint(job.lake, "savepoint-c0-1", savepoint_of(10))
    restore(job)
    (session,) = sessions(asked)
    assert session["execution.state-recovery.path"] == location


def test_a_checkpoint_after_the_last_savepoint_is_restored(
    stopped: tuple[ViewJob, Asked],
) -> None:
    job, asked = stopped
    job.set_owner(STOPPED, Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1"))
    savepoint(job.lake, "savepoint-c0-1", savepoint_of(10))
    newest = checkpoint(job.lake, 11)
    restore(job)
    (session,) = sessions(asked)
    assert session["execution.state-recovery.path"] == newest


def test_a_job_that_did_not_stop_cleanly_stays_the_owner(
    stopped: tuple[ViewJob, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = stopped
    runs = Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1")
    job.set_owner(STOPPED, runs)
    monkeypatch.setattr(ViewJob, "running", lambda *_: RUNNING)
    monkeypatch.setattr(recovery, "stop_with_savepoint", lambda *_, **__: FAILED)
    detail = "its state is FAILED; java.sql.SQLException: closed"
    with refused(FlinkStopError, stream=VIEW, detail=detail):
        job.stop()
    assert job.owner == runs


def test_a_job_that_fails_for_ever_is_named_with_its_reason_and_stays_the_owner(
    stopped: tuple[ViewJob, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = stopped
    runs = Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1")
    job.set_owner(STOPPED, runs)
    monkeypatch.setattr(ViewJob, "running", lambda *_: RUNNING)
    given_up = Stopped(savepoint="", why="", alike=(Failure(at_ms=1, root="no room"),) * 5)
    monkeypatch.setattr(recovery, "stop_with_savepoint", lambda *_, **__: given_up)
    with refused(JobFailsAgainError, stream=VIEW, times=5, root="no room") as error:
        job.stop()
    assert error.value.remedy is not None
    assert error.value.remedy.lines[-1] == f"headrace flink handover {VIEW} --to headrace"
    assert job.owner == runs


def test_a_job_that_ended_after_its_savepoint_is_restored_from_it(
    stopped: tuple[ViewJob, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its tables may have what is in the savepoint: an older checkpoint would write it again."""
    job, asked = stopped
    runs = Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1")
    job.set_owner(STOPPED, runs)
    found = [RUNNING]
    monkeypatch.setattr(ViewJob, "running", lambda *_: found.pop() if found else None)
    monkeypatch.setattr(ViewJob, "committed", lambda *_: 10)
    monkeypatch.setattr(recovery, "stop_with_savepoint", lambda *_, **__: FAILED)
    checkpoint(job.lake, 9)
    location = savepoint(job.lake, "savepoint-c0-2", savepoint_of(10))
    with refused(FlinkStopError, stream=VIEW):
        job.stop()
    assert (job.owner.savepoint, job.owner.checkpoint) == (location, 10)
    restore(job)
    (session,) = sessions(asked)
    assert session["execution.state-recovery.path"] == location


def test_the_number_of_a_savepoint_is_read_from_its_files(
    stopped: tuple[ViewJob, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The JobManager has it, too, but answers from a copy that may be older than the savepoint."""
    job, _ = stopped
    job.set_owner(STOPPED, Owner(by=FLINK, epoch=1, jobs=("c0",), plan="p1"))
    monkeypatch.setattr(ViewJob, "running", lambda *_: RUNNING)
    location = savepoint(job.lake, "savepoint-c0-2", None)
    ended = Stopped(savepoint=location.replace("file://", "file:"), why="")  # as Flink writes it
    monkeypatch.setattr(recovery, "stop_with_savepoint", lambda *_, **__: ended)
    with refused(NoCheckpointError, stream=VIEW, folder=ended.savepoint):
        job.stop()
    assert job.owner.savepoint == ""
    (Path(location.removeprefix("file://")) / "_metadata").write_bytes(savepoint_of(10))
    job.stop()
    assert (job.owner.savepoint, job.owner.checkpoint) == (ended.savepoint, 10)
