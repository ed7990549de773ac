"""A job cannot read a column that became wider, nor another table: it is named, and another begins in its place."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    ColumnReason,
    ContractError,
    FlinkJobUnwellError,
    FlinkRefusedError,
    FollowedTableChangedError,
)
from headrace.flink.health import MADE_AGAIN, WIDENED
from headrace.flink.live_samples import live_samples
from headrace.flink.recovery import restore
from headrace.flink.statements import JobSql
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import HEADRACE, Owner
from headrace.ingest.stream_tables import declared
from infra.launcher.cluster import Cluster
from tests.flink.events import append_events, events, stream_named, view_of
from tests.flink.replies import answering
from tests.flink.sample_events import Sampled
from tests.raising import refused
from tests.samples.factories import settings_in

NARROW = stream_named("plays", item="int", name="int")
SENT = [{**each, "item": 1, "name": 1} for each in events(4, seconds=4, seed=1)]
VIEW, SQL = "features.plays", JobSql(setup=("create view v",), insert="insert", plan="p1")
AGGREGATES = [{"name": "largest", "take": "max", "of": "item", "windows": ["1m"]}]
REPLIES: dict[str, list[tuple[int, Any]]] = {
    "GET /jobs/c1": [(200, {"plan": {"nodes": []}, "vertices": []})],
    "GET /jobs/c1/checkpoints": [(200, {})],
    "GET /jobmanager/config": [(200, [{"key": "jobmanager.scheduler", "value": "adaptive"}])],
    "GET /v3/info": [(200, {})],
}


class Job(ViewJob):
    """A job of statements that no planner sees, which runs until it is cancelled."""

    def __init__(self, lake: Lake, jobs: list[dict[str, Any]], address: str) -> None:
        access = FlinkAccess(uri=address, gateway_uri=address)
        super().__init__(lake, view_of(NARROW, aggregates=AGGREGATES), access=access)
        self.jobs, self.cancelled = jobs, list[str]()
        self.gateway.submit = self._submit
        self.manager.cancel = self._cancelled

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        _ = group, shown
        return SQL

    def _submit(self, statements: Sequence[str], *, properties: Mapping[str, str]) -> str:
        assert statements == (*SQL.setup, SQL.insert)
        name = properties["pipeline.name"]
        self.jobs.append({"jid": "c1", "name": name, "state": "RUNNING", "start-time": 1})
        return "c1"

    def _cancelled(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self.jobs.clear()


@pytest.fixture
def failures() -> list[tuple[int, Any]]:
    """What Flink says of its failures: there were none."""
    return [(200, {})]


@pytest.fixture
def job(settings: Settings, failures: list[tuple[int, Any]]) -> Iterator[Job]:
    """A job that runs."""
    jobs: list[dict[str, Any]] = []
    replies = {**REPLIES, "GET /jobs/overview": [(200, {"jobs": jobs})]}
    replies["GET /jobs/c1/exceptions"] = failures
    with Lake.open(settings) as lake, answering(replies) as (address, _):
        declared(lake, NARROW)
        append_events(lake, NARROW, SENT)
        made = Job(lake, jobs, address)
        made.submit()
        yield made


def test_a_column_that_a_job_reads_is_named_once_it_is_wider(job: Job) -> None:
    declared(job.lake, stream_named("plays", item="int", name="long"))  # it reads no names
    job.check()
    declared(job.lake, stream_named("plays", item="long", name="long"))
    with pytest.raises(FlinkJobUnwellError) as found:
        job.check()
    what = "`item` of `raw.plays` is `long`, and was `int` when its job began"
    assert list(found.value.faults) == [WIDENED]
    assert found.value.faults[WIDENED].startswith(what)
    remedy = found.value.remedy
    assert remedy is not None
    assert remedy.command == ("flink", "handover", VIEW, "--to", "flink")


def test_its_state_is_not_restored_and_another_job_begins_in_its_place(job: Job) -> None:
    declared(job.lake, stream_named("plays", item="long", name="int"))
    running = job.jobs.pop()
    with refused(FollowedTableChangedError, subject=VIEW):
        restore(job)
    job.jobs.append(running)
    assert job.hand_over().epoch == 2
    assert job.cancelled == ["c1"]
    job.check()


def test_it_runs_on_where_no_other_could_write_its_table(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(job.lake, stream_named("plays", item="long", name="int"))
    error = ContractError("features.plays_rows", "no", reason=ColumnReason.NOT_WIDER, column="last")
    monkeypatch.setattr(job, "declared", Mock(side_effect=error))
    with refused(ContractError, table="features.plays_rows"):
        job.hand_over()
    assert job.cancelled == []


def test_a_table_that_was_made_again_is_named_and_another_job_begins(job: Job) -> None:
    job.lake.catalog.drop_table(str(NARROW.table))
    declared(job.lake, NARROW)
    append_events(job.lake, NARROW, SENT)
    with pytest.raises(FlinkJobUnwellError) as found:
        job.check()
    assert list(found.value.faults) == [MADE_AGAIN]
    assert job.hand_over().epoch == 2
    assert job.cancelled == ["c1"]
    job.check()


def test_it_is_released_without_a_savepoint(job: Job) -> None:
    declared(job.lake, stream_named("plays", item="long", name="int"))
    job.release()
    assert job.cancelled == ["c1"]
    assert job.owner == Owner(by=HEADRACE, epoch=2)


def test_one_that_ends_before_it_is_cancelled_is_released_too(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(job.lake, stream_named("plays", item="long", name="int"))

    def ended(_: str) -> None:
        job.jobs.clear()
        raise FlinkRefusedError("PATCH /jobs/c1", "Job cancellation failed: it has ended")

    monkeypatch.setattr(job.manager, "cancel", ended)
    job.release()
    assert job.owner.by == HEADRACE


def test_one_that_fails_again_and_again_is_released_too(job: Job, failures: list[Any]) -> None:
    failures[:] = [(200, {"exceptionHistory": {"entries": [{"timestamp": 1 << 50}] * 3}})]
    job.release()
    assert job.cancelled == ["c1"]
    assert job.owner.by == HEADRACE


def test_samples_read_their_columns_and_the_keys_and_values_of_actions(tmp_path: Path) -> None:
    with Lake.open(settings_in(tmp_path)) as lake:
        sampled = Sampled.make(lake, Cluster(tmp_path / "none"), "things")
        live = live_samples(lake, sampled.sample_set("any"))
        assert live.columns_of(sampled.shown) == {"id", "u", "slot", "flag", "score"}
        assert live.columns_of(sampled.taps) == {"tap_id", "shown_id"}
