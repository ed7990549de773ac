"""Metrics say what listeners hear, and the dashboard asks for nothing that is not served."""

import json
import re
import socket
from collections.abc import Callable, Mapping
from urllib.request import urlopen

import pytest
from prometheus_client import Gauge, generate_latest

from headrace.errors import MetricsPortError
from headrace.identifiers import TableName
from headrace.ingest.metrics import Metrics
from headrace.ingest.open_batch import Committed
from headrace.ingest.progress import Phase, Progress
from headrace.ingest.sources.base import SourcePartition
from headrace.ingest.status import Taken
from headrace.metrics_server import LOOPBACK
from headrace.tables.commits.change import Commit
from tests.conftest import ROOT
from tests.waiting import WAIT_S

_NAME = re.compile(r"headrace_ingest_[a-z_]+")


def commit(*, rows: int, attempts: int = 1) -> Commit:
    return Commit(
        table=TableName("raw", "things"), snapshot_id=1, parent_id=None, operation="append",
        files_added=2, files_removed=0, rows_added=rows, rows_removed=0, bytes_added=10 * rows,
        bytes_removed=0, attempts=attempts,
    )  # fmt: skip


def heard() -> Metrics:
    """Metrics that heard a commit, an error and a report."""
    metrics = Metrics()
    reasons = {"wrong_type `n`": 2, "wrong_type `x`": 1, "malformed": 1}
    taken = {
        SourcePartition("t", at): Taken(source="t", partition=at, rows=5, late_rows=1, reasons=of)
        for at, of in enumerate((reasons, {}))
    }
    done = Committed(rows=commit(rows=10, attempts=3), dead=commit(rows=4), taken=taken)
    metrics.committed("things", done, seconds=0.15)
    metrics.failed("things", "catalog-busy")
    metrics.changed(
        Progress(stream="things", phase=Phase.FOLLOWING, lag={"t": 7, "t//1": 0}, behind_s=2.5)
    )
    return metrics


def values(metrics: Metrics) -> Mapping[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("headrace_ingest_"): float(value) for name, value in pairs}


def test_a_stream_that_appears_while_metrics_are_asked_for_breaks_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, answers = Metrics(), list[Mapping[str, float]]()
    plain = Gauge.set_function

    def then_asked(gauge: Gauge, value: Callable[[], float]) -> None:
        plain(gauge, value)
        answers.append(values(metrics))

    monkeypatch.setattr(Gauge, "set_function", then_asked)
    metrics.changed(Progress(stream="things"))
    assert len(answers) == 2


def test_what_was_heard_is_told() -> None:
    told = values(heard())
    of = '{stream="things"}'
    assert told[f"rows_total{of}"] == 10
    assert told[f"bytes_total{of}"] == 100
    assert told[f"commit_attempts_total{of}"] == 4
    assert told[f"commit_conflicts_total{of}"] == 2
    assert told[f"late_rows_total{of}"] == 2
    assert told['dead_letters_total{code="wrong_type",stream="things"}'] == 3
    assert told['dead_letters_total{code="malformed",stream="things"}'] == 1
    assert told['lag_offsets{partition="t",stream="things"}'] == 7
    assert told[f"lag_seconds{of}"] == 2.5
    assert told['commit_seconds_bucket{le="0.2",stream="things"}'] == 1
    assert told['errors_total{code="catalog-busy",stream="things"}'] == 1
    assert told[f"up{of}"] == 1


def test_a_stream_that_stopped_is_down_and_has_no_age_before_its_first_commit() -> None:
    metrics = heard()
    metrics.changed(Progress(stream="things", phase=Phase.FAILED))
    told = values(metrics)
    assert told['up{stream="things"}'] == 0
    assert (
        told['seconds_since_commit{stream="things"}']
        != told['seconds_since_commit{stream="things"}']
    )


def test_metrics_are_served_on_this_host_only_and_a_used_port_is_named() -> None:
    with Metrics() as metrics:
        port = metrics.serve(0)
        with urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=WAIT_S) as answer:
            assert b"headrace_ingest" in answer.read()
        with Metrics() as second, pytest.raises(MetricsPortError) as raised:
            second.serve(port)
        assert raised.value.port == port
    with socket.socket() as free:
        assert free.connect_ex((LOOPBACK, port)) != 0
    assert LOOPBACK == "127.0.0.1"


def test_the_dashboard_asks_only_for_what_is_served() -> None:
    board = json.loads((ROOT / "infra" / "grafana" / "dashboards" / "ingest.json").read_text())
    served = {name.partition("{")[0] for name in generate_latest(heard().registry).decode().split()}
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    asked = {name for target in targets for name in _NAME.findall(target["expr"])}
    assert asked <= served
    assert len(asked) >= 15
    sources = {target["datasource"]["uid"] for target in targets}
    assert sources == {"headrace-prometheus"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
