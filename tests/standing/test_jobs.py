"""Jobs of Flink that status asks for; Flink's answers are recorded ones."""

import dataclasses
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace import clock
from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.broken import BrokenFile
from headrace.definitions.load import Declarations
from headrace.flink.committed import CHECKPOINT, JOB
from headrace.flink.jobs import StreamJob
from headrace.flink.statements import JobSql
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.stream_tables import open_tables
from headrace.standing.jobs import JobsRead, read_jobs
from headrace.tables.commits.operations import Provenance, append, move_properties
from tests.flink.contracts import contract
from tests.flink.replies import answering

OWNER = Owner(by=FLINK, epoch=1, jobs=("c1",), plan="p1")
Replies = Mapping[str, list[tuple[int, Any]]]
NONE_RUNS: Replies = {"GET /jobs/overview": [(200, {"jobs": []})]}
SQL = JobSql(setup=(), insert="insert", plan="p1")


@contextmanager
def reading(
    settings: Settings,
    replies: Replies,
    *,
    streams: tuple[str, ...] = ("things",),
    owner: Owner = OWNER,
    known: Declarations | None = None,
) -> Generator[tuple[JobsRead, list[str]]]:
    """Read the jobs of streams that Flink owns, at a Flink that answers so; and what it was asked.

    `known` are the declarations by now, if they are others.
    """
    declared = {name: contract(name) for name in streams}
    with answering(replies) as (address, asked):
        flink = FlinkAccess(uri=address, gateway_uri=address)
        with Lake.open(dataclasses.replace(settings, flink=flink)) as lake:
            for stream in declared.values():
                open_tables(lake, stream)
                note = owner.note(stream=stream.name)
                move_properties(lake.table(stream.table), lambda _, note=note: dict(note))
            found = read_jobs(lake, known or Declarations(declared, {}, ()))
        yield found, [key for key, _ in asked]


def job_names(settings: Settings) -> str:
    """Return the name of the job of `things`, in a lake that has its table."""
    with Lake.open(settings) as lake:
        open_tables(lake, contract())
        table = lake.table("raw.things")
        return f"headrace things {str(table.iceberg().metadata.table_uuid)[:8]} epoch 1"


def running(settings: Settings) -> Replies:
    """Return what a Flink says that runs the job of `things`."""
    job = {"jid": "c1", "name": job_names(settings), "state": "RUNNING", "start-time": 0}
    return {"GET /jobs/overview": [(200, {"jobs": [job]})]}


def test_a_job_that_restarts_again_and_again_is_named_with_its_root_exception(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a catalog that Flink can reach is on PostgreSQL
    monkeypatch.setattr(StreamJob, "sql", lambda *_, **__: SQL)
    job = {"jid": "c1", "name": job_names(settings), "state": "RESTARTING", "start-time": 0}
    failure = {
        "timestamp": clock.now_ms() - 10_000,
        "stacktrace": "job failed\nCaused by: no such topic\n",
    }
    replies: Replies = {
        "GET /jobs/overview": [(200, {"jobs": [job]})],
        "GET /jobs/c1/exceptions": [(200, {"exceptionHistory": {"entries": [failure] * 3}})],
        "GET /jobs/c1/checkpoints": [(200, {"latest": {"completed": {"id": 4}}})],
    }
    with reading(settings, replies) as (found, _):
        (only,) = found.jobs
    assert (only.subject, only.table, only.state) == ("things", "raw.things", "RESTARTING")
    assert (only.job_id, only.checkpoint, only.committed) == ("c1", 4, 0)
    assert "no such topic" in only.trouble
    assert only.remedy is not None
    assert only.remedy.line == "headrace flink handover things --to headrace"


def test_a_job_that_waits_for_a_worker_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamJob, "sql", lambda *_, **__: SQL)
    job = {"jid": "c1", "name": job_names(settings), "state": "CREATED", "start-time": 0}
    workers = {"taskmanagers": 0, "slots-total": 0, "slots-available": 0}
    replies: Replies = {
        "GET /jobs/overview": [(200, {"jobs": [job]})],
        "GET /jobs/c1/exceptions": [(200, {})],
        "GET /jobs/c1/checkpoints": [(200, {})],
        "GET /overview": [(200, workers)],
    }
    with reading(settings, replies) as (found, _):
        (only,) = found.jobs
    assert only.state == "CREATED"
    assert "no-slots: it waits for a slot" in only.trouble


def test_a_job_that_flink_does_not_know_is_lost(settings: Settings) -> None:
    with reading(settings, {"GET /jobs/overview": [(200, {"jobs": []})]}) as (found, _):
        (only,) = found.jobs
    assert "does not run" in only.trouble
    assert only.remedy is not None
    assert only.remedy.line == "headrace flink restore things"
    assert found.unreadable == ()


def test_a_job_that_runs_though_headrace_is_the_owner_is_named(settings: Settings) -> None:
    gone = Owner(by=HEADRACE, epoch=2)
    with reading(settings, running(settings), owner=gone) as (found, _):
        (only,) = found.jobs
    assert "wrote it too" in only.trouble
    assert found.tables == frozenset()
    with reading(settings, NONE_RUNS, owner=gone) as (found, _):
        assert found == JobsRead(jobs=(), unreadable=())


def test_a_job_of_a_former_table_that_writes_its_name_is_named(settings: Settings) -> None:
    """Its name has the uuid of that table, as has that of a job of another lake, which writes another table."""
    names = {each: f"headrace things 0a1b2c3d epoch {each[1:]}" for each in ("c4", "c5")}
    listed = [
        {"jid": each, "name": name, "state": "RUNNING", "start-time": 0}
        for each, name in names.items()
    ]
    replies: Replies = {"GET /jobs/overview": [(200, {"jobs": listed})]}
    with reading(settings, replies, owner=Owner()) as (found, asked):
        assert (found.jobs, asked) == ((), [])
    with Lake.open(settings) as lake:
        notes = {JOB: "c4", CHECKPOINT: "1"}
        append(lake.table("raw.things"), [], provenance=Provenance(notes=notes))
    with reading(settings, replies, owner=Owner()) as (found, _):
        (only,) = found.jobs
    assert f"and `{names['c4']} (c4)` wrote it too" in only.trouble


def test_a_job_that_runs_though_nothing_declares_it_is_named(settings: Settings) -> None:
    nothing = Declarations({}, {}, ())
    with reading(settings, running(settings), known=nothing) as (found, _):
        (only,) = found.jobs
    assert (only.subject, only.table) == ("things", "raw.things")
    assert "nothing declares stream `things`" in only.trouble
    assert "epoch 1 (c1)` runs" in only.trouble
    assert found.tables == frozenset()
    with reading(settings, NONE_RUNS, known=nothing) as (found, _):
        assert found == JobsRead(jobs=(), unreadable=())


def test_the_job_of_a_keyed_table_is_named_and_that_of_a_former_one_too(settings: Settings) -> None:
    warehouse = dataclasses.replace(settings, paimon_warehouse="paimon")
    now, former = (contract(keyed={"paimon": f"shop.{name}"}) for name in ("now", "former"))
    with Lake.open(settings) as lake:
        open_tables(lake, now)
        uuid = str(lake.table("raw.things").iceberg().metadata.table_uuid)[:8]
        for stream in (now, former):
            note = OWNER.note(stream=f"paimon:{stream.keyed_table}")
            move_properties(lake.table("raw.things"), lambda _, note=note: dict(note))
    jobs = [
        {
            "jid": "c1",
            "name": f"headrace {name} {uuid} epoch 1",
            "state": "RUNNING",
            "start-time": 0,
        }
        for name in ("things", "paimon:shop.former")
    ]
    replies: Replies = {"GET /jobs/overview": [(200, {"jobs": jobs})]}
    with reading(warehouse, replies, known=Declarations({"things": now}, {}, ())) as (found, _):
        by_subject = {each.subject: each for each in found.jobs}
    keyed, gone = by_subject["paimon:shop.now"], by_subject["paimon:shop.former"]
    assert (keyed.table, keyed.reads) == ("paimon:shop.now", ("raw.things",))
    assert "does not run" in keyed.trouble
    assert "nothing declares `paimon:shop.former`" in gone.trouble
    assert found.tables == {"raw.things", "paimon:shop.now"}


def test_no_job_is_called_undeclared_while_a_declaration_cannot_be_read(settings: Settings) -> None:
    broken = BrokenFile(path=Path("things.yaml"), kind="a stream", table=None, found=())
    with reading(settings, running(settings), known=Declarations({}, {}, (broken,))) as (found, _):
        assert found.jobs == ()


def test_a_flink_that_does_not_answer_hides_no_job(settings: Settings) -> None:
    with reading(settings, {"GET /jobs/overview": [(200, {"jobs": []})]}):
        pass  # the table says that Flink owns it
    silent = FlinkAccess(uri="http://127.0.0.1:9", gateway_uri="http://127.0.0.1:9")
    with Lake.open(dataclasses.replace(settings, flink=silent)) as lake:
        found = read_jobs(lake, Declarations({"things": contract()}, {}, ()))
    assert [(each.subject, each.state, each.trouble) for each in found.jobs] == [("things", "", "")]
    (only,) = found.unreadable
    assert (only.name, only.code) == ("Flink", "flink-unavailable")
    assert "127.0.0.1:9" in only.text


def test_a_table_that_cannot_be_read_hides_no_job_of_another(settings: Settings) -> None:
    streams = ("others", "things")
    with reading(settings, {"GET /jobs/overview": [(200, {"jobs": []})]}, streams=streams):
        pass
    with Lake.open(settings) as lake:
        location = lake.table("raw.others").head().metadata_location
    Path(location.removeprefix("file://")).write_text("{")
    with Lake.open(settings) as lake:
        (only,) = read_jobs(
            lake, Declarations({each: contract(each) for each in streams}, {}, ())
        ).jobs
    assert only.subject == "things"


def test_a_flink_that_answers_something_else_is_asked_once_for_all_jobs(settings: Settings) -> None:
    replies: Replies = {"GET /jobs/overview": [(200, b"<html>")]}
    with reading(settings, replies, streams=("others", "things")) as (found, asked):
        assert [(each.subject, each.state, each.trouble) for each in found.jobs] == [
            ("others", "", ""),
            ("things", "", ""),
        ]
    assert [each.code for each in found.unreadable] == ["flink-unavailable"]
    assert asked == ["GET /jobs/overview"]


def test_a_profile_that_does_not_say_where_flink_is_has_trouble_and_goes_on(
    settings: Settings,
) -> None:
    with reading(settings, {"GET /jobs/overview": [(200, {"jobs": []})]}):
        pass
    with Lake.open(settings) as lake:
        (only,) = read_jobs(lake, Declarations({"things": contract()}, {}, ())).jobs
    assert "does not say where Flink is" in only.trouble


def test_snapshots_that_a_stopped_job_keeps_are_counted_once_they_are_more_than_a_lake_keeps(
    settings: Settings,
) -> None:
    few = dataclasses.replace(settings, snapshots_kept=3)
    stopped = dataclasses.replace(OWNER, savepoint="s3://lake/savepoint-1", checkpoint=7)

    def kept(owner: Owner) -> tuple[int, bool]:
        with reading(few, {}, owner=owner) as (found, _):  # this Flink refuses all questions
            (only,) = found.jobs
        return only.kept, only.kept_since is not None

    with Lake.open(few) as lake:
        open_tables(lake, contract())
        table = lake.table("raw.things")
        append(table, [], provenance=Provenance(notes={JOB: "c0", CHECKPOINT: "6"}))
        append(table, [], provenance=Provenance(notes={JOB: "c1", CHECKPOINT: "7"}))
        append(table, [], provenance=Provenance())
    assert kept(stopped) == (0, False)
    with Lake.open(few) as lake:
        for _ in range(2):
            append(lake.table("raw.things"), [], provenance=Provenance())
    assert kept(stopped) == (4, True)
    assert kept(OWNER) == (0, False)  # it runs, or is lost
    assert kept(dataclasses.replace(stopped, jobs=("c9",))) == (0, False)
