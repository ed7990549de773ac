"""Metrics of maintenance that is done round by round, for Prometheus.

Counters begin at 0 with each process, as Prometheus expects; what was done is also in the registry.
"""

from collections import Counter as Counts
from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from headrace import clock
from headrace.maintenance.queue.maintain import MaintenanceRun
from headrace.metrics_server import MetricsServer

_NONE = float("nan")


class MaintenanceMetrics(MetricsServer):
    """Takes note of rounds, and serves what they did and what they left."""

    def __init__(self) -> None:
        super().__init__()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"headrace_maintenance_{name}", what, labels, registry=self.registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"headrace_maintenance_{name}", what, labels, registry=self.registry)

        of_action = ("table", "action", "by")
        self._actions = counter(
            "actions",
            "Actions by how they ended: done, nothing left, lost, failed.",
            *of_action,
            "outcome",
        )
        self._seconds = counter("action_seconds", "How long actions took.", *of_action)
        self._bytes = counter("rewritten_bytes", "Bytes that actions rewrote.", *of_action)
        self._rounds = counter("rounds", "Rounds done.")
        self._round_s = gauge("round_seconds", "How long the newest round took.")
        self._since = gauge("seconds_since_round", "Seconds since a round ended.")
        self._left = gauge("left", "Actions that the newest round left, by table.", "table")
        self._waiting = gauge("waiting", "Actions that are not due yet, by table.", "table")
        self._unreadable = gauge("unreadable_tables", "Tables that cannot be looked at.")
        self._ended_ms: int | None = None
        self._shown: dict[Gauge, frozenset[str]] = {}
        self._since.set_function(self._round_age_s)

    def done(self, run: MaintenanceRun) -> None:
        """Take note of a round."""
        for result in run.results:
            action = result.action
            labels = (str(action.table), action.kind.value, action.executor.value)
            self._actions.labels(*labels, result.outcome.value).inc()
            self._seconds.labels(*labels).inc(result.elapsed_s)
            self._bytes.labels(*labels).inc(result.bytes)
        self._show(self._left, (str(each.table) for each in run.plan.actions[len(run.results) :]))
        self._show(self._waiting, (str(each.table) for each in run.plan.waiting))
        self._unreadable.set(len(run.unreadable))
        self._round_s.set(run.elapsed_s)
        self._rounds.inc()
        self._ended_ms = clock.now_ms()

    def _round_age_s(self) -> float:
        return _NONE if self._ended_ms is None else (clock.now_ms() - self._ended_ms) / 1e3

    def _show(self, gauge: Gauge, tables: Iterable[str]) -> None:
        """Set a gauge to how often each table comes; others are no longer shown.

        The metrics may be asked for at any moment: a table that stays is there in each.
        """
        counts, before = Counts(tables), self._shown.get(gauge, frozenset())
        for table, count in counts.items():
            gauge.labels(table).set(count)
        for table in before - counts.keys():
            gauge.remove(table)
        self._shown[gauge] = frozenset(counts)
