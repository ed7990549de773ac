"""`headrace ingest run --follow`: a service for streams, which says what it commits and why it stops."""

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.failures import exit_status, say_error
from headrace.cli.output import Output
from headrace.cli.stopping import stopping
from headrace.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.config import Settings
    from headrace.definitions.stream import Stream
    from headrace.ingest.cadence import Cadence
    from headrace.ingest.open_batch import Committed
    from headrace.ingest.progress import Listener, Progress
    from headrace.ingest.sources.holes import AcceptedGap

EveryOption = Annotated[
    float | None,
    typer.Option(
        "--every-s", min=0.1, help="Commit after so many seconds, not as the contract says."
    ),
]
RowsOption = Annotated[
    int | None, typer.Option("--rows", min=1, help="Commit after so many records at the latest.")
]
MibOption = Annotated[
    int | None, typer.Option("--mib", min=1, help="Commit after so many MiB at the latest.")
]
MetricsOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65_535,
        help="Serve metrics for Prometheus on this port of 127.0.0.1; 0 takes a free one.",
    ),
]


class Following:
    """Follows streams and shows each commit as one line; listens to the service."""

    def __init__(
        self, out: Output, *, every_s: float | None, rows: int | None, mib: int | None
    ) -> None:
        self._out, self._every_s, self._rows, self._mib = out, every_s, rows, mib
        self._stretched: dict[str, int] = {}
        self._away: dict[str, str] = {}  # the error of each stream that is being tried again

    def run(
        self,
        settings: "Settings",
        streams: "Sequence[Stream]",
        *,
        metrics_port: int | None,
        gaps: "Sequence[AcceptedGap]" = (),
    ) -> None:
        """Follow until interrupted, or until every stream failed; exits with the status of errors."""
        from headrace.ingest.service import follow_all
        from headrace.ingest.sources.open import open_source

        if not streams:
            self._out.say("no stream is declared")
            return
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(stopping())
            listeners: list[Listener] = [self]
            if metrics_port is not None:
                from headrace.ingest.metrics import Metrics

                metrics = stack.enter_context(Metrics())
                port = metrics.serve(metrics_port)
                self._out.say(f"metrics at http://127.0.0.1:{port}/metrics")
                listeners.append(metrics)
            done = follow_all(
                settings,
                streams,
                stop=stop,
                cadence_of=self._cadence_of,
                listeners=listeners,
                source_of=lambda stream: open_source(stream, settings, accepted=gaps),
                failed=self._say_failed,
            )
        for name, progress in sorted(done.progress.items()):
            self._out.say(
                f"{name}  stopped after {progress.commits:,} commits, {progress.rows:,} rows, "
                f"{progress.dead_letters:,} dead letters"
            )
        if done.errors:
            raise typer.Exit(exit_status(*done.errors.values()))

    def _cadence_of(self, stream: "Stream") -> "Cadence":
        from headrace.ingest.cadence import MIB, Cadence

        declared = stream.commit
        return Cadence(
            seconds=self._every_s or declared.every.total_seconds(),
            rows=self._rows or declared.rows,
            bytes=(self._mib or declared.mib) * MIB,
        )

    def _say_failed(self, stream: str, error: LakeError) -> None:
        self._out.say(f"{stream}  stopped")
        say_error(error)

    def changed(self, progress: "Progress") -> None:
        """Say when a stream has to wait or goes on, and when it begins or ends to commit more rarely."""
        self._say_waits(progress)
        before = self._stretched.get(progress.stream, 1)
        self._stretched[progress.stream] = progress.stretch
        if progress.stretch > before:
            self._out.say(
                f"{progress.stream}  commits {progress.stretch} times as rarely: its table has "
                f"{progress.stretch_reason}; maintenance was asked for"
            )
        elif progress.stretch < before:
            self._out.say(f"{progress.stream}  commits as often as wished again")

    def committed(self, stream: str, done: "Committed", *, seconds: float) -> None:
        """Say what was committed."""
        letters = sum(each.dead_letters for each in done.taken.values())
        late = sum(each.late_rows for each in done.taken.values())
        more = [f"{letters:,} dead letters"] if letters else []
        more += [f"{late:,} late"] if late else []
        if not done.taken:
            self._out.say(f"{stream}  moved its watermark in {seconds:.2f} s")
            return
        said = ", ".join([f"{done.rows.rows_added:,} rows", *more])
        self._out.say(f"{stream}  {said} of {len(done.taken)} partitions in {seconds:.2f} s")

    def failed(self, stream: str, code: str) -> None:
        """Leave errors to `changed`, and to the end of the stream: both say them in full."""

    def _say_waits(self, progress: "Progress") -> None:
        """Say an error that may pass once, and that it passed."""
        from headrace.ingest.progress import Phase

        name, before = progress.stream, self._away.get(progress.stream, "")
        if progress.phase is Phase.RETRYING:
            self._away[name] = progress.error
            if progress.error != before:
                self._out.say(f"{name}  tries again: {progress.error_code}: {progress.error}")
        elif before and progress.phase is Phase.FOLLOWING:
            del self._away[name]
            self._out.say(f"{name}  goes on")
