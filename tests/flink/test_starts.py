"""A job that two commands start at once runs once; an imagined Flink."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partialmethod

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import JobStartsError
from headrace.flink.client import Gateway, JobManager, JobOverview
from headrace.flink.job import FlinkJob
from headrace.flink.job_status import JobStatus
from headrace.flink.recovery import restore
from headrace.flink.statements import JobSql
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import open_tables
from headrace.tables.catalogs.file_locks import FileLocks
from headrace.tables.commits.operations import move_properties
from tests.flink.contracts import contract
from tests.waiting import WAIT_S

SUBJECT = "things"


@dataclass
class Imagined:
    """What runs at Flink, and what happens while a job is submitted."""

    meanwhile: Callable[[], None]
    running: list[JobOverview] = field(default_factory=list[JobOverview])
    cancelled: list[str] = field(default_factory=list[str])


class Submits(Gateway):
    def __init__(self, access: FlinkAccess, flink: Imagined) -> None:
        super().__init__(access)
        self._flink = flink

    def submit(self, statements: Sequence[str], *, properties: Mapping[str, str]) -> str:
        _ = statements
        self._flink.meanwhile()
        job_id = f"c{len(self._flink.running)}"
        name = properties["pipeline.name"]
        self._flink.running.append(JobOverview(id=job_id, name=name, state="RUNNING", started_ms=0))
        return job_id


class Manages(JobManager):
    def __init__(self, access: FlinkAccess, flink: Imagined) -> None:
        super().__init__(access)
        self._flink = flink

    def jobs(self, *, name: str) -> tuple[JobOverview, ...]:
        return tuple(each for each in self._flink.running if each.name.startswith(name))

    def cancel(self, job_id: str) -> None:
        self._flink.cancelled.append(job_id)


class Job(FlinkJob):
    subject, table_name = SUBJECT, TableName.parse("raw.things")

    def __init__(self, lake: Lake, flink: Imagined) -> None:
        access = FlinkAccess(uri="http://127.0.0.1:1", gateway_uri="http://127.0.0.1:1")
        super().__init__(lake, access=access)
        self.gateway, self.manager = Submits(access, flink), Manages(access, flink)

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        return JobSql(setup=(), insert=group, plan="p", session={})

    def status(self) -> JobStatus:
        return self._status(self.owner, "", None)


def test_a_start_that_takes_longer_than_another_command_waits_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lake.open(settings) as lake, lake.locks.hold(f"flink.{SUBJECT}"):
        open_tables(lake, contract())
        monkeypatch.setattr(FileLocks, "hold", partialmethod(FileLocks.hold, wait_s_max=0))
        with ThreadPoolExecutor(1) as pool:  # this thread may take its own lock again
            job = Job(lake, Imagined(lambda: None))
            assert isinstance(pool.submit(job.submit_owned).exception(), JobStartsError)


def submit(job: FlinkJob) -> JobStatus:
    return job.submit_owned()


@pytest.mark.parametrize("start", [submit, restore])
def test_of_two_commands_that_start_a_job_at_once_the_later_one_finds_that_it_runs(
    settings: Settings, start: Callable[[FlinkJob], JobStatus]
) -> None:
    others: list[threading.Thread] = []

    def start_another() -> None:
        with Lake.open(settings) as own:
            start(Job(own, flink))

    def meanwhile() -> None:
        if not others:
            others.append(threading.Thread(target=start_another))
            others[0].start()
            others[0].join(1)  # without turns it has submitted another by then

    flink = Imagined(meanwhile)
    owner = Owner(by=FLINK, epoch=1)
    if start is restore:
        owner = Owner(by=FLINK, epoch=1, jobs=("c",), plan="p", savepoint="s3://c", checkpoint=1)
    with Lake.open(settings) as lake:
        open_tables(lake, contract())
        job = Job(lake, flink)
        move_properties(job.table, lambda _: owner.note(stream=SUBJECT))
        start(job)
        others[0].join(WAIT_S)
        assert [each.id for each in flink.running] == ["c0"]
        assert flink.cancelled == []
        assert job.owner.jobs == (*owner.jobs, "c0")
