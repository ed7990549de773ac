"""Schemas of a job that starts again are those with which it began, and the table knows them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from headrace.api import Lake
from headrace.errors import FlinkJobLostError, SchemaChangedError
from headrace.flink import jobs
from headrace.flink.health import CHANGED, SCHEMAS
from headrace.flink.jobs import StreamJob
from headrace.flink.recovery import restore
from headrace.flink.starts import Starts
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import known_schemas, open_tables
from headrace.kafka_access import RegistryAccess
from tests.flink.avro_records import LATER, SCHEMA
from tests.flink.contracts import PLACES
from tests.flink.replies import answering
from tests.flink.test_avro_sql import avro_contract
from tests.flink.test_backfill import REPLIES, RUNS, WELL

STREAM = avro_contract()
STARTS = Starts(offsets={}, topic_id="first")
VERSIONS = "/subjects/things-value/versions"
_LATER, _SCHEMA = ({"schema": json.dumps(each)} for each in (LATER, SCHEMA))


@pytest.fixture
def registry() -> dict[str, list[tuple[int, Any]]]:
    """What the registry answers: one version, of the id 7."""
    return {
        f"GET {VERSIONS}": [(200, [1])],
        f"GET {VERSIONS}/1": [(200, {"id": 7})],
        f"GET {VERSIONS}/2": [(200, {"id": 8})],
        "GET /schemas/ids/7": [(200, _LATER)],
        "GET /schemas/ids/8": [(200, _SCHEMA)],
    }


@pytest.fixture
def asked(
    lake: Lake, registry: dict[str, list[tuple[int, Any]]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[StreamJob, list[tuple[str, Any]]]]:
    """A job that Flink took and forgot; and what Flink was asked."""
    monkeypatch.setattr(jobs, "starts_of", lambda *_, **__: STARTS)  # no broker
    monkeypatch.setattr(jobs, "places_of", lambda *_, **__: PLACES)
    flink = {key: list(replies) for key, replies in REPLIES.items()}
    with answering(registry) as (url, _), answering(flink) as (address, said):
        access = RegistryAccess(url=url)
        with Lake.open(replace(lake.settings, schema_registry=access)) as opened:
            open_tables(opened, STREAM)
            job = StreamJob(opened, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
            job.set_owner(Owner(), Owner(by=FLINK, epoch=1))
            with pytest.raises(FlinkJobLostError):
                job.submit_owned()
            yield job, said


def statements(said: list[tuple[str, Any]]) -> str:
    found = [body["statement"] for path, body in said if path.endswith("/statements")]
    return "\n".join(found)


def test_a_job_starts_again_by_the_schemas_with_which_it_began(
    asked: tuple[StreamJob, list[tuple[str, Any]]], registry: dict[str, list[tuple[int, Any]]]
) -> None:
    job, said = asked
    assert list(known_schemas(STREAM, job.table.head().properties)) == [7]
    registry[f"GET {VERSIONS}"] = [(200, [1, 2])]
    owner = job.owner
    job.set_owner(owner, replace(owner, savepoint="s3://s-1", checkpoint=1))
    said.clear()
    with pytest.raises(FlinkJobLostError):  # it started, and this Flink forgot it at once
        restore(job)
    assert "view typed_7" in statements(said)
    assert "view typed_8" not in statements(said)
    assert (job.owner.jobs, job.owner.plan) == (("c1", "c1"), owner.plan)
    assert job.owner.topic_id == "first"


def test_a_version_that_is_registered_and_a_registry_that_is_down_are_faults(
    asked: tuple[StreamJob, list[tuple[str, Any]]],
    registry: dict[str, list[tuple[int, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, _ = asked
    monkeypatch.setattr(StreamJob, "health_of", lambda *_: WELL)
    monkeypatch.setattr(StreamJob, "running", lambda *_: RUNS)
    assert faults(job) == set()
    registry[f"GET {VERSIONS}"] = [(200, [1, 2])]
    assert faults(job) == {CHANGED}
    registry[f"GET {VERSIONS}"] = [(500, {})]
    assert faults(job) == {SCHEMAS}


def test_another_schema_of_an_id_that_a_job_wrote_by_is_refused(
    asked: tuple[StreamJob, list[tuple[str, Any]]], registry: dict[str, list[tuple[int, Any]]]
) -> None:
    job, _ = asked
    registry["GET /schemas/ids/7"] = [(200, _SCHEMA)]
    with pytest.raises(SchemaChangedError) as caught:
        job.sql(group="g")
    assert caught.value.schema_id == 7


def faults(job: StreamJob) -> set[str]:
    health = job.status().health
    assert health is not None
    return set(health.faults)
