"""A job that was lost before it was known may have written dead letters alone: they are not written again."""

from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.errors import FlinkJobLostError, TwoOwnersError
from headrace.flink import note
from headrace.flink.client import Gateway, JobOverview
from headrace.flink.committed import CHECKPOINT, JOB, sequence_of, writers_in
from headrace.flink.handover import to_flink
from headrace.flink.health import NO_COMMIT
from headrace.flink.jobs import StreamJob
from headrace.flink.letter_writers import letter_writers
from headrace.flink.recovery import restore
from headrace.flink_access import FlinkAccess
from headrace.ingest import dead_letters
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.run import ingest
from headrace.tables.commits.operations import Provenance, append, expire
from headrace.tables.lake import LakeTable
from headrace.tables.refs.refs import tag
from headrace.tables.writer import write_batches
from tests.flink.contracts import contract
from tests.flink.replies import answering
from tests.ingest.log_source import Entry, Log, LogSource
from tests.raising import refused

STREAM = contract(known_at={"after_event": "0s"})


def by_job(table: LakeTable, job: str, *, checkpoint: int = 1, stream: str = "") -> int:
    """Commit as a job of Flink does, letters of a stream or nothing; return the snapshot."""
    letters = [each for each in table.head().to_arrow().to_pylist() if stream][:1]
    made = [each | {"stream": stream, "_source_offset": 1} for each in letters]
    rows = pa.Table.from_pylist(made, table.head().schema)
    notes = Provenance(notes={JOB: job, CHECKPOINT: str(checkpoint)})
    return append(table, write_batches(table, rows.to_batches()), provenance=notes).snapshot_id


@pytest.fixture
def letters(lake: Lake) -> LakeTable:
    """The dead letters of a lake that has one."""
    topic = LogSource({0: Log(entries=[Entry(0, b"not JSON")], end=1)})
    ingest(lake, STREAM, source=topic)
    return lake.table(dead_letters.TABLE)


def test_letters_of_a_lost_job_are_not_written_again(
    lake: Lake, letters: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [Entry(each, b"not JSON") for each in range(2)]
    topic = LogSource({0: Log(entries=entries, end=2)})
    monkeypatch.setattr(note, "open_source", lambda *_, **__: topic)
    monkeypatch.setattr(StreamJob, "sql", lambda *_, **__: None)
    monkeypatch.setattr(StreamJob, "submit", lambda _: None)
    monkeypatch.setattr(Gateway, "check", lambda _: None)
    by_job(letters, "c7", stream=STREAM.name)  # of an earlier epoch
    with answering({"GET /jobs/overview": [(200, {"jobs": []})]}) as (address, asked):
        job = StreamJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        to_flink(job)
        before = job.owner
        owner = before.started("c0")
        job.set_owner(before, owner)
        by_job(letters, "c0", stream=STREAM.name)
        by_job(letters, "c8")
        by_job(letters, "c8", stream="others")
        by_job(letters, "c9")
        assert letter_writers(lake, stream=STREAM.name, known=owner.jobs) == ()
        by_job(letters, "c9", stream=STREAM.name)
        assert letter_writers(lake, stream=STREAM.name, known=owner.jobs) == ("c9",)
        with refused(TwoOwnersError, others=("c9",)):
            restore(job)
        job.set_owner(owner, before)  # nothing is known of any job
        with refused(FlinkJobLostError, stream=STREAM.name):
            job.submit_owned()
        assert {path for path, _ in asked} == {"GET /jobs/overview"}


def test_a_job_is_judged_by_the_table_to_which_it_commits_least(
    lake: Lake, letters: LakeTable
) -> None:
    """The sink of rows commits, and that of dead letters waits for ever, as after a change of parallelism."""
    completed = {"latest": {"completed": {"id": 90}}}
    replies: dict[str, list[tuple[int, Any]]] = {
        "GET /jobs/c0/exceptions": [(200, {})],
        "GET /jobs/c0/checkpoints": [(200, completed)],
    }
    runs = JobOverview(id="c0", name="a job", state="RUNNING", started_ms=0)
    with answering(replies) as (address, _):
        job = StreamJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        owner = Owner(by=FLINK, epoch=1, jobs=("c0",))
        by_job(job.table, "c0", checkpoint=90)
        assert job.health_of(runs, owner).faults == {}
        by_job(letters, "c0", checkpoint=68)
        assert job.health_of(runs, owner).faults == {}
        owner = Owner(by=FLINK, epoch=1, jobs=("c0", "c1"))
        by_job(job.table, "c1", checkpoint=91)
        completed["latest"]["completed"]["id"] = 91
        faults = job.health_of(runs, owner).faults
        assert set(faults) == {NO_COMMIT}
        assert "newest in `dead_letters.records` is 68" in faults[NO_COMMIT]


def test_what_a_tag_keeps_of_an_earlier_epoch_is_of_no_other_owner(
    lake: Lake, letters: LakeTable
) -> None:
    """The snapshot with which an epoch began expires, and one before it may not."""
    tag(letters, "kept", snapshot_id=by_job(letters, "c0"))
    by_job(letters, "c0")
    metadata = letters.iceberg().metadata
    now = Owner(by=FLINK, epoch=2, since_sequence=sequence_of(metadata))
    by_job(letters, "c1")
    by_job(letters, "c1")
    assert metadata.current_snapshot_id in expire(letters, keep=1, before_ms=1 << 50)
    assert writers_in(letters.iceberg().metadata, now) == ("c1",)
    former = Owner(by=FLINK, epoch=2, since_snapshot_id=letters.head().snapshot_id)
    assert writers_in(letters.iceberg().metadata, former) == ()
