"""Hands a stream from headrace to Flink and back, at the offsets that its table holds.

To Flink: the table names the new owner first, so that headrace commits nothing more; the job then begins at
the recorded offsets of every partition. To headrace: the job stops with a savepoint, what it wrote is taken
note of, and only then the owner changes. Its savepoint is of an epoch that is over, and is never restored.
An audit before and after shows that nothing is lost and nothing is there twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyiceberg.table.metadata import TableMetadata

from headrace.definitions.properties import EPOCH_PREFIX, LETTERS_SINCE_PREFIX
from headrace.errors import HandoverError
from headrace.flink.committed import begun, sequence_of
from headrace.flink.job_status import JobStatus
from headrace.flink.jobs import StreamJob
from headrace.flink.note import take_note
from headrace.flink.recovery import stop
from headrace.ingest import dead_letters
from headrace.ingest.audit import Audit, plan_audit, run_audit
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.stream_tables import open_tables
from headrace.tables.commits.operations import move_properties


@dataclass(frozen=True, kw_only=True)
class Handover:
    """A stream that changed its owner; `audit` is that of the moment in between."""

    stream: str
    owner: str
    epoch: int
    audit: Audit
    job: JobStatus | None


def to_flink(job: StreamJob, *, accepted: Sequence[AcceptedGap] = ()) -> Handover:
    """Give a stream to Flink; where Flink has it and its job ended, begin a new epoch at the offsets.

    Lost offsets that are `accepted` are noted as such: no job of the epoch that ends is started again.

    Raises:
        IngestAuditError: If the table is not exact; nothing was changed.
        FlinkCannotError: If SQL cannot express the contract; nothing was changed.
        HandoverError: If an ingester left dead letters without the rows before them.
        FlinkUnavailableError, FlinkRefusedError: If the gateway is not there, and nothing was changed;
            or if the job did not start: run it again, which starts it in the same epoch.

    """
    if not job.lake.exists(job.table_name):
        job.refuse_contract()
    open_tables(job.lake, job.stream)
    before = job.owner
    if before.by == FLINK:  # its notes may be older than what the topic deleted
        job.sql_again(group="")
    else:
        job.sql(group="", shown=True)  # refuses what SQL cannot say before anything changes
    running = job.running(before) if before.by == FLINK else None
    if running is not None:
        job.adopt(before, running)
        found = _audited(job)
        return _done(job, found, job.status())
    job.gateway.check()
    if before.by == FLINK:
        _tell_letters(job, before)
        if not _began(job, before):  # an epoch whose job never started
            owner = Owner(by=HEADRACE)
            return _begin(job, before, before=owner, audit=_audited(job), accepted=accepted)
        take_note(job.lake, job.stream, complete=True, accepted=accepted)
        job.sql(group="", shown=True)
    found = _audited(job)
    now = begun(job.table.iceberg().metadata, epoch=before.epoch + 1)
    job.set_owner(before, now)
    _tell_letters(job, now)
    return _begin(job, now, before=before, audit=found, accepted=accepted)


def _began(job: StreamJob, owner: Owner) -> bool:
    return bool(owner.jobs) or job.wrote(owner)


def _begin(
    job: StreamJob, now: Owner, *, before: Owner, audit: Audit, accepted: Sequence[AcceptedGap]
) -> Handover:
    """Start the first job of an epoch, or give the stream back."""
    # a commit of headrace that was under way either landed before, or is refused
    ahead = take_note(job.lake, job.stream, complete=False, accepted=accepted)
    if ahead.is_ahead:
        job.set_owner(now, replace(before, epoch=now.epoch))
        detail = "an ingester that was interrupted left dead letters without what comes before them"
        raise HandoverError(job.stream.name, detail)
    return _done(job, audit, job.submit())


def _tell_letters(job: StreamJob, owner: Owner) -> None:
    """Let the table of dead letters know the epoch, so that a commit to it that is under way is judged again.

    The owner is said by the stream's table: a commit that was staged before would not hear of it. What is
    written from now on is of jobs of this epoch.
    """
    key, epoch = EPOCH_PREFIX + job.subject, str(owner.epoch)

    def changes_of(found: TableMetadata) -> dict[str, str | None]:
        if found.properties.get(key) == epoch:
            return {}
        return {key: epoch, LETTERS_SINCE_PREFIX + job.subject: str(sequence_of(found))}

    if job.lake.exists(dead_letters.TABLE):
        move_properties(job.lake.table(dead_letters.TABLE), changes_of)


def to_headrace(job: StreamJob, *, accepted: Sequence[AcceptedGap] = ()) -> Handover:
    """Take a stream from Flink, whose job is stopped if it runs; idempotent.

    Lost offsets that are `accepted` are noted as such.

    Raises:
        FlinkStopError: If the job did not stop cleanly; it is still the owner.
        RecordsMissingError: If it left records out, which its savepoint may hold: restore it.
        IngestAuditError: If the table is not exact; Flink is still the owner.

    """
    before = job.owner
    if before.by == HEADRACE:
        return _done(job, _audited(job), None)
    if job.running(before) is not None:
        stop(job, accepted=accepted)
    else:
        complete = _began(job, before)
        take_note(job.lake, job.stream, complete=complete, accepted=accepted)
    before = job.owner
    found = _audited(job)
    job.set_owner(before, Owner(by=HEADRACE, epoch=before.epoch + 1))
    return _done(job, found, None)


def _audited(job: StreamJob) -> Audit:
    found = run_audit(job.lake, plan_audit(job.lake, job.stream))
    error = found.error()
    if error is not None:
        raise error
    return found


def _done(job: StreamJob, audit: Audit, status: JobStatus | None) -> Handover:
    owner = job.owner
    return Handover(
        stream=job.stream.name, owner=owner.by, epoch=owner.epoch, audit=audit, job=status
    )
