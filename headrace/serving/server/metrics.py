"""Metrics of the server, in the text format of Prometheus."""

import functools
import time
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from headrace.serving.server.log import ServingLog
from headrace.serving.store import OnlineStore

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class ServerMetrics:
    """The metrics of one server; not shared with others of the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        # `labels` looks for its child under a lock, and checks the labels, each time
        self._of = functools.cache(lambda metric, *labels: metric.labels(*labels))
        self._requests = Counter(
            "headrace_serve_requests",
            "Requests answered, by path and status",
            ("path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "headrace_serve_request_seconds",
            "Time from a request's last byte to its answer",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter(
            "headrace_serve_rows",
            "Sets of entities looked up, by path",
            ("path",),
            registry=self._registry,
        )
        self._values = Counter(
            "headrace_serve_view_rows",
            "Rows of views in answers, by view and status: fresh, expired, missing, not_yet_known",
            ("view", "status"),
            registry=self._registry,
        )
        self._age = Gauge(
            "headrace_serve_view_age_seconds",
            "Time since the newest event of a published view",
            ("view",),
            registry=self._registry,
        )
        self._published = Gauge(
            "headrace_serve_view_published_seconds",
            "When a view was published, in seconds since 1970",
            ("view",),
            registry=self._registry,
        )
        self._entities = Gauge(
            "headrace_serve_view_entities",
            "Entities of a published view",
            ("view",),
            registry=self._registry,
        )
        self._store = Gauge(
            "headrace_serve_store_bytes",
            "Memory or file of the online store: used, and max where it has a limit",
            ("kind",),
            registry=self._registry,
        )
        self._logged = Gauge(
            "headrace_serve_log_records",
            "Records of the serving log since the start, by outcome: written, dropped",
            ("outcome",),
            registry=self._registry,
        )

    @contextmanager
    def timed(self, path: str) -> Generator[None]:
        """Count the time of one request."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._of(self._seconds, path).observe(time.perf_counter() - started)

    def answered(self, path: str, status: int) -> None:
        """Count an answer."""
        self._of(self._requests, path, str(status)).inc()

    def rows_answered(self, path: str, rows: int) -> None:
        """Count the sets of entities of an answer."""
        self._of(self._rows, path).inc(rows)

    def looked_up(self, view: str, statuses: dict[str, int]) -> None:
        """Count the rows of a view in an answer."""
        for status, count in statuses.items():
            self._of(self._values, view, status).inc(count)

    def text(self, store: OnlineStore, log: ServingLog | None = None) -> bytes:
        """Write all metrics; asks the store how fresh its views are, and how large it is."""
        size = store.size()
        self._store.labels("used").set(size.bytes)
        if size.bytes_max is not None:
            self._store.labels("max").set(size.bytes_max)
        if log is not None:
            self._logged.labels("written").set(log.written)
            self._logged.labels("dropped").set(log.dropped)
        for view in store.views():
            fresh = store.freshness(view)
            if fresh is None:
                continue
            self._entities.labels(view).set(fresh.rows)
            self._published.labels(view).set(fresh.published_at.timestamp())
            if fresh.newest_event_time is not None:
                self._age.labels(view).set(time.time() - fresh.newest_event_time.timestamp())
        return generate_latest(self._registry)
