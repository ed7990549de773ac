"""A job that follows tables is judged by how its JobManager recovers, too; recorded replies."""

from typing import Any

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.flink.client import JobOverview
from headrace.flink.job_status import JobStatus
from headrace.flink.statements import JobSql
from headrace.flink.table_job import TableJob
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import open_tables
from headrace.tables.lake import LakeTable
from tests.flink.contracts import contract
from tests.flink.replies import answering

RUNS = JobOverview(id="c1", name="headrace things epoch 1", state="RUNNING", started_ms=0)


class Following(TableJob):
    """A job that runs already: what would start one is not asked for."""

    subject, table_name = "raw.things", TableName.parse("raw.things")

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        raise NotImplementedError

    def declared(self) -> LakeTable:
        return self.table

    def begin_again(self) -> JobStatus:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("scheduler", "faults"),
    [("Adaptive", []), ("Default", ["tables-out-of-order"]), (None, ["tables-out-of-order"])],
)
def test_a_job_manager_that_may_read_files_after_later_ones_is_named(
    settings: Settings, scheduler: str | None, faults: list[str]
) -> None:
    said = [] if scheduler is None else [{"key": "jobmanager.scheduler", "value": scheduler}]
    replies: dict[str, list[tuple[int, Any]]] = {
        "GET /jobs/c1": [(200, {"plan": {"nodes": []}, "vertices": []})],
        "GET /jobs/c1/exceptions": [(200, {})],
        "GET /jobs/c1/checkpoints": [(200, {})],
        "GET /jobmanager/config": [(200, said)],
    }
    with answering(replies) as (address, _), Lake.open(settings) as lake:
        open_tables(lake, contract())
        job = Following(lake, access=FlinkAccess(uri=address, gateway_uri=address))
        found = job.health_of(RUNS, Owner(by=FLINK, epoch=1, jobs=("c1",)))
    assert list(found.faults) == faults
