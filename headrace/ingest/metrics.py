"""Metrics of the streams that are followed, for Prometheus, served on this host only.

Counters begin at 0 with each process, as Prometheus expects; what must outlive it is in the table.
"""

from collections import Counter as Counts

from prometheus_client import Counter, Gauge, Histogram

from headrace import clock
from headrace.ingest.open_batch import Committed
from headrace.ingest.progress import Phase, Progress
from headrace.metrics_server import MetricsServer

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics(MetricsServer):
    """Listens to streams, and serves what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: dict[str, Progress] = {}
        of_stream = ("stream",)

        def counter(name: str, what: str, *labels: str) -> Counter:
            name = f"headrace_ingest_{name}"
            return Counter(name, what, (*of_stream, *labels), registry=self.registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            name = f"headrace_ingest_{name}"
            return Gauge(name, what, (*of_stream, *labels), registry=self.registry)

        self._rows = counter("rows", "Rows committed to the stream's table.")
        self._bytes = counter("bytes", "Bytes of the data files committed to the stream's table.")
        self._files = counter("files", "Data files committed to the stream's table.")
        self._dead = counter("dead_letters", "Records refused, by error code.", "code")
        self._late = counter("late_rows", "Rows older than the watermark when they were taken.")
        self._attempts = counter(
            "commit_attempts", "Attempts to commit, with those that lost a race."
        )
        self._conflicts = counter(
            "commit_conflicts", "Attempts that lost a race and were repeated."
        )
        self._errors = counter("errors", "Errors of the stream, by code.", "code")
        self._seconds = Histogram(
            "headrace_ingest_commit_seconds",
            "How long a commit takes, from closing its files to the answer of the catalog.",
            of_stream,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._lag = gauge("lag_offsets", "Offsets behind the end of a partition.", "partition")
        self._behind = gauge("lag_seconds", "For how long the stream has not been at its end.")
        self._share = gauge("refused_share", "Share of the newest records that was refused.")
        self._stretch = gauge("commit_stretch", "How many times as rarely as wished it commits.")
        self._up = gauge("up", "1 while the stream is followed, 0 after it stopped or failed.")
        self._age = gauge("watermark_age_seconds", "How old the watermark is.")
        self._since = gauge(
            "seconds_since_commit", "Seconds since the last commit of this process."
        )

    def changed(self, progress: Progress) -> None:
        """Take note of how a stream goes on."""
        name = progress.stream
        is_new = name not in self._progress
        self._progress[name] = progress  # first: the metrics may be asked for at any moment
        if is_new:
            self._age.labels(name).set_function(lambda: self._watermark_age_s(name))
            self._since.labels(name).set_function(lambda: self._commit_age_s(name))
        for partition, offsets in progress.lag.items():
            self._lag.labels(name, partition).set(offsets)
        self._behind.labels(name).set(progress.behind_s)
        self._share.labels(name).set(progress.refused_share)
        self._stretch.labels(name).set(progress.stretch)
        self._up.labels(name).set(progress.phase not in (Phase.STOPPED, Phase.FAILED))

    def committed(self, stream: str, done: Committed, *, seconds: float) -> None:
        """Count a commit."""
        commits = [done.rows, *([] if done.dead is None else [done.dead])]
        self._seconds.labels(stream).observe(seconds)
        self._rows.labels(stream).inc(done.rows.rows_added)
        self._bytes.labels(stream).inc(done.rows.bytes_added)
        self._files.labels(stream).inc(done.rows.files_added)
        self._late.labels(stream).inc(sum(each.late_rows for each in done.taken.values()))
        self._attempts.labels(stream).inc(sum(each.attempts for each in commits))
        self._conflicts.labels(stream).inc(sum(each.attempts - 1 for each in commits))
        codes: Counts[str] = Counts()
        for each in done.taken.values():
            for reason, count in each.reasons.items():
                codes[reason.partition(" ")[0]] += count
        for code, count in codes.items():
            self._dead.labels(stream, code).inc(count)

    def failed(self, stream: str, code: str) -> None:
        """Count an error."""
        self._errors.labels(stream, code).inc()

    def _watermark_age_s(self, stream: str) -> float:
        mark = self._progress[stream].watermark_us
        return float("nan") if mark is None else max(0.0, clock.now_ms() / 1e3 - mark / 1e6)

    def _commit_age_s(self, stream: str) -> float:
        at_ms = self._progress[stream].committed_ms
        return float("nan") if at_ms is None else max(0.0, (clock.now_ms() - at_ms) / 1e3)
