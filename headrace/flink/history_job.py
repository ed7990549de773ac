"""Adds the missing rows of a window view by a job of Flink that ends: history beyond one host.

The job commits once, at its end, and never starts again: its sink would commit the same files once more.
The table says meanwhile that a batch writes it, so that neither headrace nor another job adds rows.
"""

import time
from dataclasses import replace

from headrace.errors import FlinkRefusedError, StreamOwnedError
from headrace.flink.backfill import Missing, missing_rows
from headrace.flink.committed import begun
from headrace.flink.places import catalog_of
from headrace.flink.session import SESSION
from headrace.flink.view_job import ViewJob
from headrace.flink.window_sql import history_sql
from headrace.ingest.owner import BATCH, HEADRACE, Owner

_BATCH = {
    **SESSION,
    "execution.runtime-mode": "batch",
    "restart-strategy.type": "none",
}
_POLL_S = 0.5


def backfill_by_flink(job: ViewJob) -> Missing:
    """Add the rows that are missing up to now, and wait for it; a second run adds nothing.

    Raises:
        StreamOwnedError: If a job writes the rows, or did and may be restored; or if the view was freed
            meanwhile, and the batch is cancelled.
        TwoOwnersError: If a job runs that is not the owner.
        FlinkCannotViewError: If there are no events yet.
        FlinkPythonMissingError: If the job calls Python, and Flink has none.
        FlinkUnavailableError: If Flink does not answer.
        FlinkRefusedError: If the job did not start, or ended without its commit; nothing was added.

    """
    job.refuse_unready("flink", "backfill", "--by", "flink")
    job.declared()
    before = job.owner
    if before.by != HEADRACE:
        raise StreamOwnedError(job.subject, owner=before.by, epoch=before.epoch, wanted=HEADRACE)
    job.refuse_running(before)
    owner = begun(job.table.iceberg().metadata, by=BATCH, epoch=before.epoch + 1)
    job.set_owner(before, owner)
    try:
        missing = missing_rows(job.lake, job.rows, job.table)
        if missing.until_us > missing.after_us:
            _run(job, owner, missing)
    finally:
        if job.owner.epoch == owner.epoch:
            job.release()
    return missing


def _run(job: ViewJob, owner: Owner, missing: Missing) -> None:
    """Run the job to its end."""
    sql = history_sql(
        job.rows,
        catalog_of(job.lake.settings, stream=job.subject),
        snapshot_id=missing.begin.snapshot_id,
        after_us=max(missing.after_us, 0),
        until_us=missing.until_us,
    )
    properties = {
        **_BATCH,
        **job.session("flink", "backfill", "--by", "flink"),
        "pipeline.name": job.name(owner),
    }
    found = job.owner
    if found != owner:
        raise StreamOwnedError(job.subject, owner=found.by, epoch=found.epoch, wanted=HEADRACE)
    job_id = job.gateway.submit((*sql.setup, sql.insert), properties=properties)
    now = replace(owner, jobs=(job_id,), plan=sql.plan)
    try:
        job.set_owner(owner, now)
    except StreamOwnedError:
        job.manager.cancel(job_id)
        raise
    while job.running(now) is not None:
        time.sleep(_POLL_S)
    ended = job.ended(now)
    if ended != "FINISHED" and not job.wrote(now):  # the answer of its commit may be what it lacked
        what = f"the history of `{job.subject}`"
        raise FlinkRefusedError(what, f"its job is {ended}; {job.manager.why_ended(job_id)}")
