"""What became of a job that does not run: it was stopped, it never started, or it is lost."""

from headrace.errors import FlinkJobLostError, JobNotStartedError, LakeError
from headrace.flink.client import JobManager
from headrace.flink.health import Health
from headrace.ingest.owner import Owner

STOPPED = "STOPPED"  # Flink says that it is finished, as it does of one that has read all


def stopped(owner: Owner, *, committed: int) -> Health:
    """Say how a job is that was stopped with a savepoint: well, and not running."""
    return Health(
        state=STOPPED,
        restarts=0,
        checkpoint=owner.checkpoint,
        committed=committed,
        root="",
        faults={},
    )


def ended(manager: JobManager, name: str) -> str:
    """Say what became of the job of a name that does not run."""
    states = [each.state for each in manager.jobs(name=name)]
    return next(iter(states), "the JobManager does not know it")


def lost(
    subject: str, owner: Owner, *, name: str, is_known: bool, manager: JobManager
) -> LakeError:
    """Return the error that says what became of the job of an epoch, with the root exception if it failed.

    `is_known` means that a start of it is.
    """
    if not is_known:
        return JobNotStartedError(subject, epoch=owner.epoch)
    if owner.savepoint:
        return FlinkJobLostError(subject, job=name, found=f"it was stopped at {owner.savepoint}")
    found = ended(manager, name)
    if found == "FAILED":
        (failed, *_) = manager.jobs(name=name)
        found += f", because of {manager.why_ended(failed.id) or 'nothing that is known'}"
    return FlinkJobLostError(subject, job=name, found=found)
