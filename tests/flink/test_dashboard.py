"""The dashboard of Flink's jobs asks for numbers that Flink has."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from headrace.flink.client import JobManager
from headrace.flink.handover import to_flink
from tests.flink.streams import Written, until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
BOARD = Path(__file__).parents[2] / "infra" / "grafana" / "dashboards" / "flink.json"


def test_all_numbers_of_the_dashboard_are_numbers_of_a_job_that_runs(written: Written) -> None:
    to_flink(written.job)
    written.send(70)
    written.note_until(70)
    asked = set(re.findall(r"flink_\w+", BOARD.read_text()))
    assert len(asked) > 12
    manager, job = written.job.manager, written.job.owner.jobs[-1]
    # what a task counts is there once it was collected
    until(lambda: asked <= names_of(manager, job))


def names_of(manager: JobManager, job: str) -> set[str]:
    """Return the names that Flink's reporter gives Prometheus: the kind of thing, and what is counted of it."""
    kinds = {"flink_jobmanager": ["/jobmanager"], "flink_jobmanager_job": [f"/jobs/{job}"]}
    kinds["flink_taskmanager"] = [
        f"/taskmanagers/{quote(each['id'])}"
        for each in manager.ask("/taskmanagers")["taskmanagers"]
    ]
    found = {
        f"{kind}_{each.replace('.', '_')}"
        for kind, places in kinds.items()
        for place in places
        for each in metrics(manager, place)
    }
    for vertex in manager.ask(f"/jobs/{job}")["vertices"]:
        for each in metrics(manager, f"/jobs/{job}/vertices/{vertex['id']}"):
            # `0.busyTimeMsPerSecond` of the first subtask, or `0.` and an operator's name before it
            _, _, counted = each.partition(".")
            kind = "job_task_operator" if "." in counted else "job_task"
            found.add(f"flink_taskmanager_{kind}_{counted.rpartition('.')[2]}")
    return found


def metrics(manager: JobManager, place: str) -> list[str]:
    listed: Any = manager.ask(f"{place}/metrics")  # a list
    return [str(each["id"]) for each in listed]
