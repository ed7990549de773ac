"""Metrics of maintenance say what rounds did and left, and the dashboard shows all of them."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Gauge, generate_latest

from headrace.api import Lake
from headrace.maintenance.queue.maintain import Budget, maintain
from headrace.maintenance.queue.metrics import MaintenanceMetrics
from tests.conftest import ROOT
from tests.tables.factories import add, events_table

_NAME = re.compile(r"headrace_(?:maintenance|ingest)_[a-z_]+")


def values(metrics: MaintenanceMetrics) -> Mapping[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("headrace_maintenance_"): float(value) for name, value in pairs}


def test_what_a_round_did_and_left_is_told(lake: Lake) -> None:
    table, damaged = events_table(lake), events_table(lake, "raw.damaged")
    for number in range(6):
        add(table, [number], day=number % 2)
    add(damaged, [1])
    Path(damaged.iceberg().metadata_location.removeprefix("file://")).write_bytes(b"{")
    metrics = MaintenanceMetrics()
    assert values(metrics)["seconds_since_round"] != values(metrics)["seconds_since_round"]

    with Lake.open(lake.settings) as fresh:  # which has not read the metadata before
        metrics.done(maintain(fresh, budget=Budget(seconds=0), cold_after_s=0))
    told = values(metrics)
    due = told['left{table="raw.events"}']
    assert due >= 2
    assert told["rounds_total"] == 1
    assert told["unreadable_tables"] == 1

    run = maintain(lake, cold_after_s=0)
    metrics.done(run)
    told = values(metrics)
    of = 'action="major compaction",by="headrace"'
    assert told[f'actions_total{{{of},outcome="done",table="raw.events"}}'] == 2
    compacted = [each for each in run.results if each.action.kind.value == "major compaction"]
    written = sum(each.bytes for each in compacted)
    assert told[f'rewritten_bytes_total{{{of},table="raw.events"}}'] == written > 0
    assert told[f'action_seconds_total{{{of},table="raw.events"}}'] > 0
    assert told["rounds_total"] == 2
    assert 'left{table="raw.events"}' not in told
    assert 0 <= told["seconds_since_round"] < 60


def test_a_table_that_stays_in_the_queue_is_shown_at_any_moment(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(6):
        add(table, [number], day=number % 2)
    metrics = MaintenanceMetrics()
    run = maintain(lake, budget=Budget(seconds=0), cold_after_s=0)
    metrics.done(run)
    labels, told = Gauge.labels, list[Mapping[str, float]]()

    def asked_before(gauge: Gauge, *names: str) -> Gauge:
        told.append(values(metrics))
        return labels(gauge, *names)

    with monkeypatch.context() as patch:
        patch.setattr(Gauge, "labels", asked_before)
        metrics.done(run)
    assert told
    assert all('left{table="raw.events"}' in each for each in told)
    metrics.done(replace(run, plan=replace(run.plan, actions=())))
    assert 'left{table="raw.events"}' not in values(metrics)


def test_the_dashboard_shows_every_metric_of_maintenance_and_asks_for_no_other() -> None:
    served = {each.name for each in MaintenanceMetrics().registry.collect()}
    board = json.loads((ROOT / "infra" / "grafana" / "dashboards" / "maintenance.json").read_text())
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    asked = {name for target in targets for name in _NAME.findall(target["expr"])}
    own = {each.removesuffix("_total") for each in asked if "_maintenance_" in each}
    assert own == served
    # those of ingest are served: its own dashboard, which is held to that, shows them too
    ingest = (ROOT / "infra" / "grafana" / "dashboards" / "ingest.json").read_text()
    assert asked - {each for each in asked if "_maintenance_" in each} <= set(_NAME.findall(ingest))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
