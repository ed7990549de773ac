"""Read whether the jobs that Flink should run are well, and whether others run that should not."""

from dataclasses import dataclass, replace
from itertools import chain

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.load import Declarations
from headrace.errors import (
    FlinkJobLostError,
    FlinkUnavailableError,
    JobNotStartedError,
    LakeError,
)
from headrace.flink.committed import kept_for
from headrace.flink.every import OwnedJob, ended_jobs, owned_jobs
from headrace.ingest.owner import Owner
from headrace.standing.facts import JobStanding, Unreadable
from headrace.tables.lake import OpenLake

ANSWER_S_MAX = 3.0  # of Flink: who asks for the status waits in front of it
SERVER = "Flink"
# where Flink has no word for it
_STATES: dict[type[LakeError], str] = {FlinkJobLostError: "LOST", JobNotStartedError: "NOT STARTED"}


@dataclass(frozen=True, kw_only=True)
class JobsRead:
    """The jobs that Flink should run, and those that run though it should not.

    `tables` are those that it should write; `unreadable` says so where Flink does not answer.
    """

    jobs: tuple[JobStanding, ...]
    tables: frozenset[str] = frozenset()
    unreadable: tuple[Unreadable, ...]


def read_jobs(lake: OpenLake, declared: Declarations, *, ask: bool = True) -> JobsRead:
    """Read how each job is; changes nothing. Waits 3 s for an answer, and asks only once without one.

    Without `ask` it lists the jobs, and asks Flink nothing.
    """
    flink = lake.settings.flink
    access = None if flink is None else replace(flink, answer_s_max=ANSWER_S_MAX)
    found: list[JobStanding] = []
    tables: set[str] = set()
    silent: Unreadable | None = None
    owned_ones = owned_jobs(lake, declared=declared, access=access)
    if ask and access is not None:
        owned_ones = chain(owned_ones, ended_jobs(lake, declared=declared, access=access))
    for owned in owned_ones:
        standing = _by_table(lake, owned)
        if ask and silent is None:
            try:
                standing = _asked(owned, standing)
            except FlinkUnavailableError as error:
                silent = Unreadable.of(SERVER, error)
        if not owned.is_ended:
            tables.add(standing.table)
        if standing.trouble or not owned.is_ended:
            found.append(standing)
    unreadable = (silent,) if silent and found else ()
    return JobsRead(jobs=tuple(found), tables=frozenset(tables), unreadable=unreadable)


def _by_table(lake: OpenLake, owned: OwnedJob) -> JobStanding:
    """Say of a job what its table says, also where Flink does not answer."""
    standing = JobStanding(subject=owned.subject, table=owned.writes, reads=owned.reads)
    head = None if owned.is_ended else lake.head_of(owned.table)
    if head is None:
        return standing
    kept = kept_for(head.metadata, Owner.read(head.properties, stream=owned.subject))
    if len(kept) <= lake.settings.snapshots_kept:
        return standing
    since = EPOCH + kept[0].timestamp_ms * ONE_US * 1000
    return replace(standing, kept=len(kept), kept_since=since)


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
        found.refuse_unwell()
    except FlinkUnavailableError:
        raise
    except LakeError as error:
        state = _STATES.get(type(error), standing.state)
        return replace(standing, state=state, trouble=error.message, remedy=error.remedy)
    return standing
