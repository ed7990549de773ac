"""Stops the job of a stream with a savepoint, and starts it again from one or from a checkpoint."""

from collections.abc import Sequence
from dataclasses import replace

from headrace.errors import (
    CommitsExpiredError,
    FlinkStopError,
    JobChangedError,
    JobFailsAgainError,
    NoCheckpointError,
    OldCheckpointError,
)
from headrace.flink.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    newest_savepoint,
    refuse_missing,
    savepoint_at,
)
from headrace.flink.client import JobOverview, root_exception
from headrace.flink.committed import hides_commits
from headrace.flink.job import FlinkJob
from headrace.flink.job_status import JobStatus
from headrace.flink.jobs import StreamJob
from headrace.flink.note import Noted, take_note
from headrace.flink.stopping import stop_with_savepoint
from headrace.flink.turns import turn
from headrace.ingest.owner import Owner
from headrace.ingest.sources.holes import AcceptedGap


def stop(job: StreamJob, *, accepted: Sequence[AcceptedGap] = ()) -> tuple[Owner, Noted]:
    """Stop the job with a savepoint, and take note of all that it wrote; idempotent.

    Offsets that are lost and `accepted` are noted as such: a job that stopped commits nothing more of them.

    Raises:
        FlinkJobLostError: If it does not run, and was not stopped.
        JobFailsAgainError: If it failed again and again for one reason meanwhile.
        FlinkStopError: If it ended otherwise than by its savepoint.
        RecordsMissingError: If the table lacks records before the last one it has.
        OffsetGapError: If the topic deleted records that are not there; the job is stopped all the same.

    """
    return stop_job(job), take_note(job.lake, job.stream, complete=True, accepted=accepted)


def stop_job(job: FlinkJob) -> Owner:
    """Stop a job with a savepoint; idempotent.

    Raises:
        FlinkJobLostError: If it does not run, and was not stopped.
        JobFailsAgainError: If it failed again and again for one reason meanwhile.
        FlinkStopError: If it ended otherwise than by its savepoint; if it wrote one all the same, `restore`
            starts from it.

    """
    owner = job.owned()
    found = job.running(owner)
    if found is not None:
        job.adopt(owner, found)
        return _stop(job, job.owned(), found)
    if not owner.savepoint:
        raise job.lost(owner)
    return owner


def _stop(job: FlinkJob, owner: Owner, found: JobOverview) -> Owner:
    ended = stop_with_savepoint(job.manager, found.id, say=job.say)
    if ended.savepoint:
        location = f"{_savepoints(job)}/{ended.savepoint.rstrip('/').rpartition('/')[2]}"
        saved = savepoint_at(job.table, location)
        if saved is None:
            raise NoCheckpointError(job.subject, folder=ended.savepoint)
        stopped = replace(owner, savepoint=ended.savepoint, checkpoint=saved.number)
        job.set_owner(owner, stopped)
        return stopped
    # it ended after its savepoint: one of its tables may have what is in it, so no older state will do
    runs = job.running(owner) is not None
    if not runs and (saved := _newest(job, owner)[1]) is not None:
        job.set_owner(owner, replace(owner, savepoint=saved.location, checkpoint=saved.number))
    if runs and ended.alike:
        times, root = len(ended.alike), ended.alike[0].root
        raise JobFailsAgainError(job.subject, job=job.name(owner), times=times, root=root)
    exceptions = f"/jobs/{found.id}/exceptions"
    root = root_exception(job.manager.ask(exceptions)) if runs else job.manager.why_ended(found.id)
    why = "; ".join(dict.fromkeys(each for each in (ended.why, root) if each))
    raise FlinkStopError(job.subject, job=job.name(owner), detail=why)


def restore(job: FlinkJob, *, checkpoint: str | None = None) -> JobStatus:
    """Start the job again from its savepoint, its newest checkpoint, or a given one.

    Raises:
        NoCheckpointError: If there is none, or the given one is not whole, or of another job.
        OldCheckpointError: If rows of a newer one are in the table.
        CommitsExpiredError: If it is not known which are.
        JobStartsError: If another command starts it, and does not end in time.
        JobChangedError: If the contract changed since.
        FollowedTableChangedError: If a table that it follows is another, or wider, than its state fits.
        TwoOwnersError: If a job wrote that is not known, as one that was restored, and lost before it was
            written down: what it wrote would be there twice.

    """
    with turn(job.lake, job.subject):
        _restore(job, checkpoint)
    return job.status()


def _restore(job: FlinkJob, checkpoint: str | None) -> None:
    owner = job.owned()
    found = job.running(owner)
    if found is not None:
        job.adopt(owner, found)
        return
    job.refuse_lost(owner)
    job.refuse_outgrown()
    start, stopped = _start(job, owner, checkpoint)
    committed = job.committed(owner)
    if start.number < committed:
        raise OldCheckpointError(job.subject, checkpoint=start.number, committed=committed)
    refuse_expired(job, owner)
    if checkpoint is not None:
        refuse_missing(job.table, start, stream=job.subject)
    sql = job.sql_again(group=job.group(owner, attempt=len(owner.jobs)))
    if sql.plan != owner.plan:
        raise JobChangedError(job.subject, expected=owner.plan, found=sql.plan)
    # Flink leaves the checkpoint to us: the next may refer to its files
    path = {
        "execution.state-recovery.path": start.location,
        "execution.state-recovery.claim-mode": "NO_CLAIM",
    }
    if stopped != owner:
        job.set_owner(owner, stopped)
    job.start(stopped, sql, path)


def refuse_expired(job: FlinkJob, owner: Owner) -> None:
    """Refuse to start a job again whose sinks would not find their last commits.

    Raises:
        CommitsExpiredError: If one has expired, or may have.

    """
    for table, since in job.sinks(owner):
        if hides_commits(table.iceberg().metadata, jobs=owner.jobs, since=since):
            raise CommitsExpiredError(job.subject, table=str(table.name))


def _start(job: FlinkJob, owner: Owner, location: str | None) -> tuple[Checkpoint, Owner]:
    """Return what a job starts from, and the owner with the savepoint of a stop that was not written down.

    The JobManager, or this process, may have ended between the savepoint and that: no checkpoint is kept of
    a job that has stopped, and one of its tables may have what is in the savepoint.
    """
    if location is not None:
        return Checkpoint.of(location, stream=job.subject), owner
    if owner.savepoint:
        return Checkpoint(location=owner.savepoint, number=owner.checkpoint), owner
    newest, saved = _newest(job, owner)
    if saved is not None:
        return saved, replace(owner, savepoint=saved.location, checkpoint=saved.number)
    if newest is None:
        raise NoCheckpointError(job.subject, folder=_checkpoints(job))
    return newest, owner


def _newest(job: FlinkJob, owner: Owner) -> tuple[Checkpoint | None, Checkpoint | None]:
    """Find the newest checkpoint of the jobs of an epoch, and the savepoint that is newer than it, if any.

    They are looked for on the store: what the JobManager says is from a copy that is seconds old.
    """
    newest = newest_checkpoint(job.table, _checkpoints(job), jobs=owner.jobs)
    saved = newest_savepoint(job.table, _savepoints(job), jobs=owner.jobs)
    if saved is not None and newest is not None and newest.number > saved.number:
        saved = None
    return newest, saved


def _checkpoints(job: FlinkJob) -> str:
    return job.manager.settings().get("execution.checkpointing.dir", "")


def _savepoints(job: FlinkJob) -> str:
    return job.manager.settings().get("execution.checkpointing.savepoint-dir", "")
