"""What Flink cannot do for a stream, a view or samples: refused before anything is changed."""

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.flink import shown
from headrace.errors.remedy import Remedy


class FlinkCannotError(LakeError):
    """A contract says what Flink SQL cannot do."""

    def __init__(self, stream: str, what: str, *, field: str | None = None) -> None:
        self.stream, self.what, self.field = stream, what, field
        where = f"field `{field}` of stream `{stream}`" if field else f"stream `{stream}`"
        super().__init__(
            f"Flink SQL cannot express {where}: {what}",
            state=NOTHING_CHANGED,
            remedy=Remedy.run(
                "ingest", "run", stream, "--follow", advice="change the contract, or take it with"
            ),
        )


class FlinkCannotReachError(LakeError):
    """Flink cannot reach the tables or the topic of a job as headrace does."""

    def __init__(self, subject: str, what: str, *, advice: str) -> None:
        self.subject, self.what, self.advice = subject, what, advice
        super().__init__(
            f"Flink cannot write {shown(subject)}: {what}",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice=advice),
        )


class NothingToFollowError(LakeError):
    """The table that a job would follow has no rows yet, so there is no time at which it could begin."""

    def __init__(self, subject: str, *, table: str) -> None:
        self.subject, self.table = subject, table
        super().__init__(
            f"rows of `{subject}` follow those of `{table}`, which has none yet",
            state=NOTHING_CHANGED,
            remedy=Remedy.run("ingest", "run", advice="ingest the stream of that table first"),
        )


class FlinkCannotSamplesError(LakeError):
    """A sample set has no revisions that Flink SQL can write."""

    def __init__(self, samples: str, what: str, *, key: str) -> None:
        self.samples, self.what, self.key = samples, what, key
        super().__init__(
            f"Flink SQL cannot express sample set `{samples}`, by its `{key}`: {what}",
            state=NOTHING_CHANGED,
            remedy=Remedy.run("samples", "build", samples, advice="build it by day with"),
        )


class FlinkPythonMissingError(LakeError):
    """The job of a window view calls a function of Python, and Flink has no interpreter for it.

    `command` is what was asked for, and `refused` why Flink does not take it, if it was asked.
    """

    def __init__(
        self, view: str, *, python: str, command: tuple[str, ...], refused: str = ""
    ) -> None:
        self.view, self.python, self.command, self.refused = view, python, command, refused
        found = f"`{python}` is no program" if python else "nothing says where it is"
        if refused:
            found = f"it does not run `{python}`: {refused}"
        super().__init__(
            f"the rows of `{view}` need Python at Flink, and {found}",
            state=NOTHING_CHANGED,
            remedy=Remedy.run(
                *command,
                advice="make it with `make pyflink`, set HEADRACE_FLINK_PYTHON as it says, then",
            ),
        )


class FlinkCannotViewError(LakeError):
    """A window view has no rows that Flink SQL can write."""

    def __init__(self, view: str, what: str, *, key: str) -> None:
        self.view, self.what, self.key = view, what, key
        super().__init__(
            f"Flink SQL cannot express view `{view}`, by its `{key}`: {what}",
            state=NOTHING_CHANGED,
            remedy=Remedy.run(
                "online",
                "publish",
                advice="declare what it can in a view of its own, and serve this one with",
            ),
        )
