"""Jobs of Flink in the asset graph: defined where Flink is named, checked and observed as they are now."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from headrace.definitions.stream import Stream
from headrace.flink.jobs import StreamJob
from headrace.flink.statements import JobSql
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.stream_tables import declared
from headrace.tables.lake import OpenLake
from orchestration.defs.flink.jobs import flink_jobs, flink_jobs_now
from orchestration.lib.keys import UNDECLARED_JOBS
from orchestration.lib.resource import LakeResource
from tests.flink.replies import answering
from tests.orchestration.conftest import use_lake

KEY = dg.AssetKey(["flink", "clicks"])
SQL = JobSql(setup=(), insert="insert", plan="p1")
STREAM = {
    "stream": "clicks",
    "table": "raw.clicks",
    "source": {"kafka": {"topic": "clicks"}},
    "format": "json",
    "key": "id",
    "event_time": "at",
    "fields": {
        "id": {"type": "string", "required": True},
        "at": {"type": "timestamptz", "required": True},
    },
}
RUNNING: dict[str, list[tuple[int, Any]]] = {
    "GET /jobs/c1": [(200, {"state": "FAILED"})],  # asked of a job that does not run
    "GET /jobs/c1/exceptions": [(200, {})],
    "GET /jobs/c1/checkpoints": [(200, {"latest": {"completed": {"id": 3}}})],
}


@pytest.fixture
def folder(tmp_path: Path, parsed: Path) -> Path:
    """A lake that declares one stream of a topic, and beside it what dbt has parsed."""
    shutil.copytree(parsed, tmp_path / "state" / "dbt")
    made = tmp_path / "lake"
    (made / "streams").mkdir(parents=True)
    (made / "lake.toml").write_text('profile = "local"\n[profiles.local]\nstate_dir = "state"\n')
    (made / "streams" / "clicks.yaml").write_text(json.dumps(STREAM))
    return made


@pytest.fixture
def opened(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[OpenLake, dict[str, list[tuple[int, Any]]]]]:
    """The lake, beside a Flink whose replies a test chooses."""
    replies = dict(RUNNING)
    with answering(replies) as (address, _):
        use_lake(monkeypatch, state_dir=tmp_path / "state", lake=folder)
        monkeypatch.setenv("HEADRACE_FLINK_URI", address)
        monkeypatch.setenv("HEADRACE_FLINK_GATEWAY_URI", address)
        monkeypatch.setattr(StreamJob, "sql", lambda *_, **__: SQL)  # no catalog that Flink reaches
        with LakeResource().open() as lake:
            declared(lake, Stream.model_validate(STREAM))
            yield lake, replies


def runs(lake: OpenLake, replies: dict[str, list[tuple[int, Any]]], *, state: str) -> None:
    """Let Flink own the stream, and its job be in a state."""
    job = StreamJob(lake, Stream.model_validate(STREAM))
    job.set_owner(Owner(), Owner(by=FLINK, epoch=1, jobs=("c1",), plan=SQL.plan))
    found = {"jid": "c1", "name": job.name(job.owner), "state": state, "start-time": 1}
    replies["GET /jobs/overview"] = [(200, {"jobs": [found]})]


def graph() -> dg.Definitions:
    """What the folder defines, with the lake that all of it works on."""
    of = dg.AssetSelection.checks_for_assets
    job = dg.define_asset_job("check", selection=of(KEY))
    others = dg.define_asset_job("check_others", selection=of(UNDECLARED_JOBS))
    around = dg.Definitions(jobs=[job, others], resources={"lake": LakeResource()})
    return dg.Definitions.merge(flink_jobs(), around)


def checked(name: str = "check") -> dg.AssetCheckEvaluation:
    with dg.DagsterInstance.ephemeral() as instance:
        done = graph().resolve_job_def(name).execute_in_process(instance=instance)
    (found,) = done.get_asset_check_evaluations()
    return found


def observed() -> list[dg.AssetObservation]:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"lake": LakeResource()})
        found: Any = flink_jobs_now.evaluate_tick(context)
    return list(found.asset_events)


def test_jobs_are_assets_only_where_the_profile_says_where_flink_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=folder)
    assert not flink_jobs().assets
    monkeypatch.setenv("HEADRACE_FLINK_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("HEADRACE_FLINK_GATEWAY_URI", "http://127.0.0.1:2")
    assert {each.key for each in graph().resolve_all_asset_specs()} == {KEY, UNDECLARED_JOBS}
    checks = graph().resolve_asset_graph().asset_check_keys
    assert {each.name for each in checks} == {"job_is_well", "no_other_job_runs"}


def test_the_job_of_a_keyed_table_depends_on_the_stream_that_it_follows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "streams" / "clicks.yaml").write_text(json.dumps(STREAM | {"keyed": "paimon"}))
    use_lake(monkeypatch, state_dir=tmp_path / "state", lake=folder)
    monkeypatch.setenv("HEADRACE_FLINK_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("HEADRACE_FLINK_GATEWAY_URI", "http://127.0.0.1:2")
    keyed = dg.AssetKey(["flink", "paimon", "raw", "clicks"])
    found = {each.key: each for each in graph().resolve_all_asset_specs()}
    assert {KEY, keyed} <= set(found)
    assert [each.asset_key for each in found[keyed].deps] == [dg.AssetKey(["raw", "clicks"])]


def test_a_stream_of_headrace_has_no_job_to_look_at(
    opened: tuple[OpenLake, dict[str, list[tuple[int, Any]]]],
) -> None:
    _ = opened
    found = checked()
    assert found.passed
    assert found.metadata["owner"].value == HEADRACE
    assert observed() == []


def test_a_job_that_is_well_is_shown_with_its_id_and_checkpoints(
    opened: tuple[OpenLake, dict[str, list[tuple[int, Any]]]],
) -> None:
    runs(*opened, state="RUNNING")
    found = checked()
    assert (found.passed, found.asset_key) == (True, KEY)
    (seen,) = observed()
    assert seen.asset_key == KEY
    for metadata in (found.metadata, seen.metadata):
        assert metadata["job_id"].value == "c1"
        assert metadata["checkpoints_behind"].value == 3


def test_a_job_that_is_lost_fails_its_check_and_is_observed_with_its_fault(
    opened: tuple[OpenLake, dict[str, list[tuple[int, Any]]]],
) -> None:
    runs(*opened, state="FAILED")
    found = checked()
    assert not found.passed
    assert "does not run: FAILED" in str(found.description)
    (seen,) = observed()
    assert "does not run: FAILED" in str(seen.metadata["fault/flink-job-lost"].value)


def test_a_job_that_is_unwell_fails_its_check_by_name(
    opened: tuple[OpenLake, dict[str, list[tuple[int, Any]]]],
) -> None:
    lake, replies = opened
    runs(lake, replies, state="RUNNING")
    replies["GET /jobs/c1/checkpoints"] = [(200, {"latest": {"completed": {"id": 90}}})]
    found = checked()
    assert not found.passed
    assert "nothing-commits" in str(found.description)
    (seen,) = observed()
    assert "fault/nothing-commits" in seen.metadata


def test_a_job_that_runs_though_nothing_declares_it_fails_a_check(
    opened: tuple[OpenLake, dict[str, list[tuple[int, Any]]]], folder: Path
) -> None:
    runs(*opened, state="RUNNING")
    assert checked("check_others").passed
    (folder / "streams" / "clicks.yaml").unlink()
    found = checked("check_others")
    assert not found.passed
    assert "nothing declares stream `clicks`" in str(found.description)


def test_a_job_that_runs_though_headrace_is_the_owner_fails_its_check(
    opened: tuple[OpenLake, dict[str, list[tuple[int, Any]]]],
) -> None:
    lake, replies = opened
    runs(lake, replies, state="RUNNING")
    job = StreamJob(lake, Stream.model_validate(STREAM))
    job.set_owner(job.owner, Owner(by=HEADRACE, epoch=2))
    found = checked()
    assert not found.passed
    assert "wrote it too" in str(found.description)
