"""Takes a stream from Flink though no note of what its job wrote can be taken, as after its topic was created again.

What the job wrote stays, and is not known record by record. So headrace ingests nothing beside it: the swap
that makes headrace the owner also begins a reset, which a person completes once the rows may go. A stream of
which a note can be taken after all is handed over as any other.
"""

import uuid

from headrace.definitions.properties import RESET_PREFIX
from headrace.errors import (
    IngestAuditError,
    JobRunsError,
    LakeError,
    LogTruncatedError,
    OffsetGapError,
    RecordsMissingError,
    ResetUnfinishedError,
    TopicNotFoundError,
    TopicReplacedError,
)
from headrace.flink.handover import to_headrace
from headrace.flink.jobs import StreamJob
from headrace.ingest.owner import HEADRACE, Owner, begun_again
from headrace.ingest.stream_tables import refuse_unfinished

# what stays as it is, however often it is tried; not a topic that cannot be reached for now
_FOR_GOOD = (
    IngestAuditError,
    LogTruncatedError,
    OffsetGapError,
    RecordsMissingError,
    TopicNotFoundError,
    TopicReplacedError,
)


def to_headrace_unnoted(job: StreamJob) -> LakeError | None:
    """Take a stream from Flink whose job was cancelled; idempotent, and no row is removed.

    Returns:
        Why nothing is ingested until the stream is reset; None if it was handed over as any other.

    Raises:
        JobRunsError: If its job runs: it may commit; nothing was changed.
        FlinkUnavailableError: If whether it runs is not known; nothing was changed.
        StreamOwnedError: If a job of it was started meanwhile; nothing was changed.

    """
    before = job.owner
    if before.by == HEADRACE:
        return _barred(job)
    running = job.running(before)
    if running is not None:
        raise JobRunsError(job.subject, job=running.name, job_id=running.id)
    try:
        to_headrace(job)
    except _FOR_GOOD as error:
        more = {RESET_PREFIX + job.subject: uuid.uuid4().hex}
        more |= begun_again(job.table.head().properties, job.stream)
        # the owner of before: a job that was started in between is another
        job.set_owner(before, Owner(by=HEADRACE, epoch=before.epoch + 1), more=more)
        return error
    return None


def _barred(job: StreamJob) -> LakeError | None:
    try:
        refuse_unfinished(job.lake, job.stream)
    except ResetUnfinishedError as error:
        return error
    return None
