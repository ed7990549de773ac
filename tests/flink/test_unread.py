"""A job reads what is appended: a table whose rows replace others is refused, and named once it has such a commit."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.dml.delete import delete_where
from headrace.dml.merge import merge
from headrace.errors import (
    DatabaseUnavailableError,
    FlinkCannotError,
    FlinkCannotSamplesError,
    FlinkCannotViewError,
    LakeError,
)
from headrace.flink.begin import Begin
from headrace.flink.client import JobOverview
from headrace.flink.health import REGISTRY
from headrace.flink.jobs import StreamJob
from headrace.flink.keyed_job import KeyedJob
from headrace.flink.live_samples import live_samples
from headrace.flink.sample_begin import noted
from headrace.flink.sample_job import SampleJob
from headrace.flink.table_job import UNREAD, TableJob
from headrace.flink.unread import unread_since, upserted
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.stream_tables import declared
from headrace.maintenance.compaction.compact import compact
from headrace.registry import Registry
from headrace.tables.commits.operations import Provenance, append, expire, move_properties
from headrace.tables.lake import LakeTable
from infra.launcher.cluster import Cluster
from tests.flink.contracts import contract
from tests.flink.events import append_events, events, stream_named, view_of
from tests.flink.keyed import contract_of
from tests.flink.replies import answering
from tests.flink.sample_events import Sampled, happened
from tests.raising import refused
from tests.samples.factories import settings_in
from tests.tables.factories import add, events_table
from tests.tables.factories import events as rows_of

NOWHERE = FlinkAccess(uri="http://127.0.0.1:9", gateway_uri="http://127.0.0.1:9")  # never asked
RUNS = JobOverview(id="c1", name="a job", state="RUNNING", started_ms=0)
UPSERTS = {"write.upsert.enabled": "true"}
REPLIES: dict[str, list[tuple[int, Any]]] = {
    "GET /jobs/c1": [(200, {"plan": {"nodes": []}, "vertices": []})],
    "GET /jobs/c1/exceptions": [(200, {})],
    "GET /jobs/c1/checkpoints": [(200, {})],
    "GET /jobmanager/config": [(200, [{"key": "jobmanager.scheduler", "value": "adaptive"}])],
}


def update(table: LakeTable, *ids: int) -> int:
    """Replace rows of some ids by rows of another day."""
    done = merge(
        table, pa.Table.from_batches([rows_of(ids, day=1)]), key=["id"], provenance=Provenance()
    )
    assert done.commit is not None
    return done.commit.snapshot_id


def test_rows_that_were_replaced_are_named_and_other_commits_are_not(lake: Lake) -> None:
    table = events_table(lake)
    begin = add(table, [1, 2, 3]).snapshot_id
    add(table, [4])
    delete_where(table, "id = 2", provenance=Provenance())  # rewrites a file, and adds nothing
    delete_where(table, "id = 4", provenance=Provenance())
    compact(table)
    assert unread_since(table, begin) == ""
    first, second = update(table, 1), update(table, 3)
    assert f"snapshot {first} of `raw.events`" in unread_since(table, begin)
    assert f"snapshot {second} of" in unread_since(table, first)
    assert unread_since(table, second) == ""


def test_rows_that_were_replaced_are_named_also_once_the_commit_expired(lake: Lake) -> None:
    table = events_table(lake)
    begin = add(table, [1]).snapshot_id
    replaced = update(table, 1)
    later = add(table, [2]).snapshot_id
    add(table, [3])
    assert replaced in expire(table, keep=1, before_ms=1 << 50)
    assert f"snapshot {replaced} of" in unread_since(table, begin)
    assert unread_since(table, later) == ""


def test_a_table_of_identifier_fields_or_upserts_replaces_rows(lake: Lake) -> None:
    table = events_table(lake)
    assert upserted(table.iceberg().metadata) == ""
    move_properties(table, lambda _: UPSERTS)
    assert "write.upsert.enabled" in upserted(table.iceberg().metadata)
    move_properties(table, lambda _: {"write.upsert.enabled": "false"})
    with table.iceberg().update_schema() as change:
        change.set_identifier_fields("id")
    assert "`id`" in upserted(table.iceberg().metadata)


def of_stream(lake: Lake, folder: Path) -> tuple[LakeTable, Callable[[], object]]:
    _ = folder
    stream = contract()
    declared(lake, stream)
    job = StreamJob(lake, stream, access=NOWHERE)
    return job.table, lambda: job.sql(group="", shown=True)


def of_view(lake: Lake, folder: Path) -> tuple[LakeTable, Callable[[], object]]:
    _ = folder
    stream = stream_named("plays")
    declared(lake, stream)
    job = ViewJob(lake, view_of(stream), access=NOWHERE)
    return lake.table(stream.table), job.begin_again


def of_samples(lake: Lake, folder: Path) -> tuple[LakeTable, Callable[[], object]]:
    sampled = Sampled.make(lake, Cluster(folder / "none"), "things")
    job = SampleJob(lake, live_samples(lake, sampled.sample_set("any")), access=NOWHERE)
    return lake.table(sampled.taps.table), job.begin_again


def of_keyed(lake: Lake, folder: Path) -> tuple[LakeTable, Callable[[], object]]:
    stream = contract_of("users")
    declared(lake, stream)
    append(lake.table(stream.table), [], provenance=Provenance())
    job = KeyedJob(lake, stream, access=NOWHERE)
    return job.table, job.begin_again


def test_the_status_of_a_keyed_table_that_headrace_has_names_no_job(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = contract_of("users")
    settings = dataclasses.replace(lake.settings, paimon_warehouse=str(tmp_path / "paimon"))
    with Lake.open(settings) as opened:
        declared(opened, stream)
        job = KeyedJob(opened, stream, access=NOWHERE)
        monkeypatch.setattr(job.manager, "jobs", lambda **_: [])
        assert job.status().owner == HEADRACE


@pytest.mark.parametrize(
    ("make", "error", "facts"),
    [
        (of_stream, FlinkCannotError, {"stream": "things"}),
        (of_view, FlinkCannotViewError, {"key": "events"}),
        (of_samples, FlinkCannotSamplesError, {"key": "labels"}),
        (of_keyed, FlinkCannotError, {"stream": "users"}),
    ],
)
def test_no_job_begins_where_rows_replace_others(
    tmp_path: Path,
    make: Callable[[Lake, Path], tuple[LakeTable, Callable[[], object]]],
    error: type[LakeError],
    facts: Mapping[str, str],
) -> None:
    settings = dataclasses.replace(settings_in(tmp_path), paimon_warehouse=f"file://{tmp_path}")
    with Lake.open(settings) as lake:
        table, begin = make(lake, tmp_path)
        move_properties(table, lambda _: UPSERTS)
        with refused(error, **facts):
            begin()


def test_the_job_of_a_view_is_judged_by_what_it_does_not_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_named("plays")
    declared(lake, stream)
    sent, table = events(4, seconds=4, seed=1), lake.table(stream.table)
    append_events(lake, stream, sent)
    with answering(REPLIES) as (address, _):
        job = ViewJob(lake, view_of(stream), access=FlinkAccess(uri=address, gateway_uri=address))
        job.declared()
        note = Begin.at(table.iceberg().metadata, after_us=0).note()
        move_properties(job.table, lambda _: note)
        assert faults_of(job) == {}
        changed = pa.Table.from_pylist([sent[0] | {"item": 5}], stream.table_schema())
        merge(table, changed, key=["id"], provenance=Provenance())
        assert set(faults_of(job)) == {UNREAD}
        for _ in range(2):
            append_events(lake, stream, sent[:1])
        assert expire(table, keep=1, before_ms=1 << 50)
        assert set(faults_of(job)) == {UNREAD}
        monkeypatch.setattr(Registry, "replacing_since", _unavailable)
        assert set(faults_of(job)) == {REGISTRY}


def test_the_job_of_samples_is_judged_by_all_its_tables(tmp_path: Path) -> None:
    with Lake.open(settings_in(tmp_path)) as lake, answering(REPLIES) as (address, _):
        sampled = Sampled.make(lake, Cluster(tmp_path / "none"), "things")
        sampled.add(*happened(10, seconds=10, seed=1))
        live = live_samples(lake, sampled.sample_set("any"))
        job = SampleJob(lake, live, access=FlinkAccess(uri=address, gateway_uri=address))
        job.declared()
        streams = (live.exposures, *live.labels)
        heads = {str(each.table): lake.table(each.table).head().metadata for each in streams}
        begins = {name: Begin.at(head, after_us=0) for name, head in heads.items()}
        move_properties(job.table, lambda _: noted(begins))
        assert faults_of(job) == {}
        move_properties(lake.table(sampled.taps.table), lambda _: UPSERTS)
        assert set(faults_of(job)) == {UNREAD}


def faults_of(job: TableJob) -> Mapping[str, str]:
    return job.health_of(RUNS, Owner(by=FLINK, epoch=1, jobs=("c1",))).faults


def _unavailable(*_: object) -> None:
    raise DatabaseUnavailableError("registry", "the server is gone")
