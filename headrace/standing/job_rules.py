"""What needs a person of the jobs that Flink should run: pure rules."""

from collections.abc import Iterator

from headrace.errors import FindingCode, Remedy
from headrace.flink.ended import STOPPED
from headrace.maintenance.health.wording import counted
from headrace.standing.facts import JobStanding, Standing
from headrace.standing.finding import Finding
from headrace.standing.wording import moment


def job_findings(standing: Standing) -> Iterator[Finding]:
    """Yield jobs that are not well, then those that are stopped and keep snapshots of their table."""
    for each in standing.jobs:
        if each.trouble:
            yield Finding(
                kind="wrong",
                code=FindingCode.FLINK_JOB,
                subject=f"Flink job of {each.subject}",
                text=each.trouble,
                remedies=() if each.remedy is None else (each.remedy,),
                table=each.table,
                concerns=(each.subject, each.table),
                breaks=True,
            )
        elif each.kept and each.state in ("", STOPPED):  # or Flink was not heard
            yield _keeping(each)


def _keeping(job: JobStanding) -> Finding:
    return Finding(
        kind="slow",
        code=FindingCode.STOPPED_JOB,
        subject=f"Flink job of {job.subject}",
        text=f"is stopped, and goes on after its commit of {moment(job.kept_since)} UTC: "
        f"{counted(job.kept, 'snapshot')} of {job.table} since then do not expire",
        since=job.kept_since,
        remedies=(
            Remedy.run("flink", "restore", job.subject),
            Remedy.run(
                "flink", "handover", job.subject, "--to", "headrace", advice="it goes on no more"
            ),
        ),
        table=job.table,
        concerns=(job.subject, job.table),
    )
