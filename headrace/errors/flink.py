"""Errors of streams that Flink writes: what SQL cannot say, jobs that are not well, and who owns a stream."""

from collections.abc import Mapping

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.interop import begun_anew
from headrace.errors.remedy import Remedy

_KEYED = "paimon:"
FROM_OFFSETS = "start from the table's offsets"
_LEFT = "rows that were committed stay, and nothing is lost: the source still has the rest"


def shown(subject: str) -> str:
    """Name what a job writes: a view or samples are named with a namespace, which a stream has not."""
    return f"`{subject}`" if "." in subject else f"stream `{subject}`"


def begin_again(
    subject: str, *, advice: str = "begin another job after the rows that are there"
) -> Remedy:
    """Advise another job, which begins at what is in the table, whatever the state of the former one.

    That of a keyed table begins with no table of Paimon.
    """
    if subject.startswith(_KEYED):
        return begun_anew(subject.removeprefix(_KEYED), subject)
    return Remedy.run("flink", "handover", subject, "--to", "flink", advice=advice)


class FlinkUnavailableError(LakeError):
    """Flink's JobManager or its SQL gateway does not answer."""

    retryable = True

    def __init__(self, address: str, detail: str) -> None:
        self.address, self.detail = address, detail
        super().__init__(
            f"Flink does not answer at `{address}`: {detail}",
            state="jobs that run go on",
            remedy=Remedy(
                advice="check HEADRACE_FLINK_URI and HEADRACE_FLINK_GATEWAY_URI, or `make flink-up`"
            ),
        )


class FlinkRefusedError(LakeError):
    """Flink refuses a statement or a request."""

    def __init__(self, what: str, detail: str) -> None:
        self.what, self.detail = what, detail
        super().__init__(f"Flink refuses {what}: {detail}")


class StreamOwnedError(LakeError):
    """A stream belongs to another writer."""

    def __init__(self, stream: str, *, owner: str, epoch: int, wanted: str) -> None:
        self.stream, self.owner, self.epoch, self.wanted = stream, owner, epoch, wanted
        super().__init__(
            f"{shown(stream)} belongs to `{owner}` since epoch {epoch}, not to `{wanted}`",
            state="nothing of this writer was committed since",
            remedy=Remedy.run("flink", "handover", stream, "--to", wanted, advice="hand it over"),
        )


class TwoOwnersError(LakeError):
    """Two jobs, or a job and another writer, write one stream."""

    def __init__(self, stream: str, *, owner: str, others: tuple[str, ...]) -> None:
        self.stream, self.owner, self.others = stream, owner, others
        listed = ", ".join(f"`{each}`" for each in others)
        super().__init__(
            f"{shown(stream)} belongs to `{owner}`, and {listed} wrote it too",
            state="records may be there twice: `headrace ingest audit` says which",
            remedy=Remedy.run(
                "flink",
                "handover",
                stream,
                "--to",
                "headrace",
                advice="cancel the job that is not the owner's if it runs, then",
            ),
        )


class UndeclaredJobError(LakeError):
    """A job of a former declaration runs, and goes on to write."""

    def __init__(self, stream: str, *, table: str, jobs: tuple[str, ...]) -> None:
        self.stream, self.table, self.jobs = stream, table, jobs
        listed = ", ".join(f"`{each}`" for each in jobs)
        runs = f"{listed} runs" if jobs else "a job of it was started"
        super().__init__(
            f"nothing declares {shown(stream)}, and {runs}, as table `{table}` says",
            state="what it writes stays",
            remedy=Remedy(
                advice="stop it"
                if "." in stream
                else "cancel it in Flink; or declare it again, then",
                command=("flink", "handover", stream, "--to", "headrace"),
            ),
        )


class JobNotStartedError(LakeError):
    """Flink owns a stream, and no start of its job is known: its submission failed."""

    def __init__(self, stream: str, *, epoch: int) -> None:
        self.stream, self.epoch = stream, epoch
        super().__init__(
            f"{shown(stream)} belongs to `flink` since epoch {epoch}, and its job was not started",
            state=_LEFT,
            remedy=Remedy(
                command=("flink", "submit", stream),
                otherwise=(Remedy.run("flink", "handover", stream, "--to", "headrace"),),
            ),
        )


class JobRunsError(LakeError):
    """The job of a stream runs, and what it writes is not to be taken note of."""

    def __init__(self, stream: str, *, job: str, job_id: str) -> None:
        self.stream, self.job, self.job_id = stream, job, job_id
        super().__init__(
            f"job `{job}` of {shown(stream)} runs, and may commit more",
            state=NOTHING_CHANGED,
            remedy=Remedy.run(
                "flink",
                "handover",
                stream,
                "--to",
                "headrace",
                "--without-note",
                advice=f"cancel it, on Flink's page or by `curl -X PATCH "
                f'"$HEADRACE_FLINK_URI/jobs/{job_id}?mode=cancel"`, then',
            ),
        )


class JobStartsError(LakeError):
    """Another command starts the job of a stream, and did not end in time."""

    retryable = True

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(
            f"another command starts the job of {shown(stream)}, and Flink takes long to do so",
            state=NOTHING_CHANGED,
            remedy=Remedy.run("flink", "status", stream, advice="see whether it runs by now"),
        )


class FlinkJobLostError(LakeError):
    """The job of a stream is gone from the JobManager, though it was not stopped."""

    def __init__(self, stream: str, *, job: str, found: str) -> None:
        self.stream, self.job, self.found = stream, job, found
        super().__init__(
            f"job `{job}` of {shown(stream)} does not run: {found}",
            state=_LEFT,
            remedy=Remedy(
                advice="start it from its savepoint or its newest checkpoint",
                command=("flink", "restore", stream),
                otherwise=(Remedy.run("flink", "handover", stream, "--to", "headrace"),),
            ),
        )


class FlinkJobUnwellError(LakeError):
    """A job runs, but does not do its work."""

    def __init__(
        self, stream: str, *, job: str, faults: Mapping[str, str], begins_again: bool = False
    ) -> None:
        """Name each fault; `begins_again` says that another job mends them, which begins at the table."""
        self.stream, self.job, self.faults = stream, job, dict(faults)
        self.begins_again = begins_again
        listed = "; ".join(f"{name}: {what}" for name, what in faults.items())
        advice = "repair what is named, else take it from Flink"
        remedy = Remedy(advice=advice, command=("flink", "handover", stream, "--to", "headrace"))
        super().__init__(
            f"job `{job}` of {shown(stream)} is not well: {listed}",
            state=_LEFT,
            remedy=begin_again(stream) if begins_again else remedy,
        )


class FlinkStopError(LakeError):
    """A job did not stop as asked."""

    def __init__(self, stream: str, *, job: str, detail: str) -> None:
        self.stream, self.job, self.detail = stream, job, detail
        super().__init__(
            f"job `{job}` of {shown(stream)} did not stop cleanly: {detail}",
            state="a savepoint of it may exist, and its last files may be missing in the table",
            remedy=Remedy(
                advice="see what it does, then stop it again",
                command=("flink", "status", stream),
                otherwise=(
                    Remedy.run(
                        "flink",
                        "handover",
                        stream,
                        "--to",
                        "headrace",
                        advice="if it cannot run any more, cancel it in Flink, then",
                    ),
                ),
            ),
        )


class JobFailsAgainError(LakeError):
    """A job that is asked to stop fails again and again for one reason, and writes no savepoint."""

    def __init__(self, stream: str, *, job: str, times: int, root: str) -> None:
        self.stream, self.job, self.times, self.root = stream, job, times, root
        cancel = "else cancel it" if "." in stream else "else cancel it in Flink, then"
        super().__init__(
            f"job `{job}` of {shown(stream)} failed {times} times while it was asked to stop, each time "
            f"because of {root or 'nothing that is known'}",
            state=f"it starts again and again; {_LEFT}",
            remedy=Remedy(
                advice="repair what is named, then stop it",
                command=("flink", "stop", stream),
                otherwise=(
                    Remedy.run("flink", "handover", stream, "--to", "headrace", advice=cancel),
                ),
            ),
        )


class JobChangedError(LakeError):
    """The contract, and so the plan of its job, is another than that of a checkpoint."""

    def __init__(self, stream: str, *, expected: str, found: str) -> None:
        self.stream, self.expected, self.found = stream, expected, found
        super().__init__(
            f"the job of {shown(stream)} would have plan `{found}`, and its state is of `{expected}`",
            state=NOTHING_CHANGED,
            remedy=begin_again(stream, advice=FROM_OFFSETS),
        )


class FollowedTableChangedError(LakeError):
    """A table that a job follows became another one, or wider, and the state of the job does not fit it."""

    def __init__(self, subject: str, *, what: str) -> None:
        self.subject, self.what = subject, what
        super().__init__(
            f"the job of {shown(subject)} cannot go on: {what}",
            state=NOTHING_CHANGED,
            remedy=begin_again(subject),
        )


class RecordsMissingError(LakeError):
    """Records of a topic are neither rows nor dead letters, though later ones are."""

    def __init__(self, stream: str, *, ranges: tuple[str, ...]) -> None:
        self.stream, self.ranges = stream, ranges
        super().__init__(
            f"records of stream `{stream}` are neither rows nor dead letters: {', '.join(ranges)}",
            state="later records are there, and nothing was changed",
            remedy=Remedy.run(
                "flink", "restore", stream, advice="commit what the last checkpoint holds"
            ),
        )


class HandoverError(LakeError):
    """A stream cannot be handed over as it is."""

    def __init__(self, stream: str, detail: str) -> None:
        self.stream, self.detail = stream, detail
        super().__init__(
            f"stream `{stream}` cannot be handed over: {detail}",
            state="its owner is the one before",
            remedy=Remedy.run("ingest", "run", stream, advice="let headrace take what is left"),
        )
