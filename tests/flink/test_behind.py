"""A job that does not keep up with its tables is named, and one that has read all is not; recorded replies."""

import datetime as dt
from typing import Any
from urllib.parse import quote as in_url

import pytest

from headrace import clock
from headrace.api import Lake
from headrace.clock import EPOCH
from headrace.flink.begin import Begin
from headrace.flink.behind import newest_known
from headrace.flink.client import JobOverview
from headrace.flink.table_job import BEHIND, BEHIND_S_MAX
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import declared
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import Provenance, append, move_properties
from headrace.tables.lake import LakeTable
from tests.flink.events import Row, append_events, events, stream_named, view_of
from tests.flink.replies import answering

STREAM = stream_named("plays")  # 30 s late at most
RUNS = JobOverview(id="c1", name="a job", state="RUNNING", started_ms=0)
SCAN = (
    "[{0}]:TableSourceScan(table=[[default_catalog, default_database, {1}{2}]], fields=[id])<br/>"
    "+- [{3}]:WatermarkAssigner(rowtime=[_known], watermark=[(_known - 30000)])<br/>"
)
NONE = -(1 << 63)
LATER_MS = round(BEHIND_S_MAX * 1000) + 1


@pytest.fixture
def sent(lake: Lake) -> list[Row]:
    """Events of which the first are in a table with which a job begins."""
    declared(lake, STREAM)
    found = events(6, seconds=6, seed=1)
    append_events(lake, STREAM, found[:3])
    return found


def table_of(lake: Lake) -> LakeTable:
    return lake.table(STREAM.table)


def is_behind(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, reached_ms: int, projected: str = ""
) -> bool:
    """Look some minutes later at a job whose tasks have such a time."""
    vertex = "/jobs/c1/vertices/{}/subtasks/metrics"
    said = {"history": (1 << 62, "v1"), "news": (reached_ms, "v2")}
    nodes = [
        {"id": task, "description": SCAN.format(at, name, projected, at + 1)}
        for at, (name, (_, task)) in enumerate(said.items(), 1)
    ]
    replies: dict[str, list[tuple[int, Any]]] = {
        "GET /jobs/c1": [(200, {"plan": {"nodes": nodes}, "vertices": []})],
        "GET /jobs/c1/exceptions": [(200, {})],
        "GET /jobs/c1/checkpoints": [(200, {})],
        "GET /jobmanager/config": [(200, [{"key": "jobmanager.scheduler", "value": "adaptive"}])],
    }
    for name, (time_ms, task) in said.items():
        path = f"GET {vertex.format(task)}"
        metrics = {f"Source__{name}[1].currentOutputWatermark": NONE}
        metrics["WatermarkAssigner[3].currentOutputWatermark"] = time_ms
        replies[path] = [(200, [{"id": "numRecordsIn"}, *({"id": each} for each in metrics)])]
        for each, value in metrics.items():
            replies[f"{path}?get={in_url(each, safe='')}"] = [
                (200, [{"id": each, "min": float(value)}])
            ]
    now_ms = clock.now_ms()
    with answering(replies) as (address, _), monkeypatch.context() as patch:
        patch.setattr(clock, "now_ms", lambda: now_ms + LATER_MS)
        job = ViewJob(lake, view_of(STREAM), access=FlinkAccess(uri=address, gateway_uri=address))
        faults = job.health_of(RUNS, Owner(by=FLINK, epoch=1, jobs=("c1",))).faults
    assert set(faults) <= {BEHIND}
    return bool(faults)


def begin(lake: Lake) -> None:
    """Let a job have begun with the newest snapshot of the table."""
    job = ViewJob(
        lake, view_of(STREAM), access=FlinkAccess(uri="http://no", gateway_uri="http://no")
    )
    job.declared()
    note = Begin.at(table_of(lake).iceberg().metadata, after_us=0).note()
    move_properties(job.table, lambda _: note)


def test_a_job_is_behind_once_rows_wait_for_minutes_and_not_for_the_rows_that_it_began_with(
    lake: Lake, sent: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lake)
    assert not is_behind(lake, monkeypatch, reached_ms=1)
    newest = max(each["known_at"] for each in sent[3:])
    append_events(lake, STREAM, sent[3:])
    newest_ms = (newest - EPOCH) // dt.timedelta(milliseconds=1)
    # it may have read them before it started again, and since then what was known 30 s before
    read_ms = newest_ms - 60_000
    assert not is_behind(lake, monkeypatch, reached_ms=read_ms)
    for projected in ("", ", project=[id, u], metadata=[]"):
        assert is_behind(lake, monkeypatch, reached_ms=read_ms - 2, projected=projected)
    for unknown in (NONE, 0):
        assert not is_behind(lake, monkeypatch, reached_ms=unknown)


def test_the_newest_rows_are_those_that_came_last_before_a_moment(
    lake: Lake, sent: list[Row]
) -> None:
    table = table_of(lake)
    begun = table.head().snapshot_id
    assert begun is not None
    now_ms, day = clock.now_ms() + LATER_MS, dt.timedelta(days=1)
    wrong = EPOCH + dt.timedelta(milliseconds=now_ms) + day * 3 / 4
    assert newest_known(table, since=begun, before_ms=now_ms, skew=day) is None
    append_events(lake, STREAM, sent[3:])
    append(table, [], provenance=Provenance())
    compact(table)
    newest = max(each["known_at"] for each in sent[3:])
    assert newest_known(table, since=begun, before_ms=now_ms, skew=day) == newest
    came_ms = table.iceberg().metadata.snapshots[1].timestamp_ms
    assert newest_known(table, since=begun, before_ms=came_ms - 1, skew=day) is None
    append_events(lake, STREAM, [{**sent[3], "known_at": wrong}])
    came_ms = table.iceberg().metadata.snapshots[-1].timestamp_ms
    came = EPOCH + dt.timedelta(milliseconds=came_ms)
    for skew, found in ((day / 2, None), (day, came)):
        assert newest_known(table, since=begun, before_ms=now_ms, skew=skew) == found
    # one of a wrong clock in each file hides no job that reads nothing any more
    append_events(lake, STREAM, [sent[4], {**sent[3], "known_at": wrong}])
    found = newest_known(table, since=begun, before_ms=now_ms, skew=day / 2)
    assert found == sent[4]["known_at"]
