"""Read whether the jobs that Flink should run are well."""

from dataclasses import dataclass, replace

from headrace.definitions.load import Declarations
from headrace.errors import FlinkUnavailableError, LakeError
from headrace.flink.every import OwnedJob, owned_jobs
from headrace.standing.facts import JobStanding, Unreadable
from headrace.tables.lake import OpenLake

ANSWER_S_MAX = 3.0  # of Flink: who asks for the status waits in front of it
SERVER = "Flink"


@dataclass(frozen=True, kw_only=True)
class JobsRead:
    """The jobs that Flink should run; `unreadable` says so where Flink does not answer."""

    jobs: tuple[JobStanding, ...]
    unreadable: tuple[Unreadable, ...]

    @property
    def tables(self) -> frozenset[str]:
        """The tables that they write."""
        return frozenset(each.table for each in self.jobs)


def read_jobs(lake: OpenLake, declared: Declarations, *, ask: bool = True) -> JobsRead:
    """Read how each job is; changes nothing. Waits 3 s for an answer, and asks only once without one.

    Without `ask` it lists the jobs, and asks Flink nothing.
    """
    flink = lake.settings.flink
    access = None if flink is None else replace(flink, answer_s_max=ANSWER_S_MAX)
    found: list[JobStanding] = []
    silent: Unreadable | None = None
    for owned in owned_jobs(lake, declared=declared, access=access):
        standing = JobStanding(subject=owned.subject, table=str(owned.table), reads=owned.reads)
        if ask and silent is None:
            try:
                standing = _asked(owned, standing)
            except FlinkUnavailableError as error:
                silent = Unreadable.of(SERVER, error)
        found.append(standing)
    return JobsRead(jobs=tuple(found), unreadable=() if silent is None else (silent,))


def _asked(owned: OwnedJob, standing: JobStanding) -> JobStanding:
    """Ask Flink for a job; whatever else is wrong is a trouble of the job.

    Raises:
        FlinkUnavailableError: If it does not answer.

    """
    try:
        job = owned.open()
        found = job.status()
        health = found.health
        if health is not None:
            standing = replace(
                standing,
                state=health.state,
                job_id=found.job_id,
                checkpoint=health.checkpoint,
                committed=health.committed,
            )
        job.refuse_unwell(found)
    except FlinkUnavailableError:
        raise
    except LakeError as error:
        return replace(standing, trouble=error.message, remedy=error.remedy)
    return standing
