"""Flink writes a stream: the same rows and dead letters as headrace, handed over, restored, never twice."""

import math
import time

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.errors import (
    JobRunsError,
    OldCheckpointError,
    ResetUnfinishedError,
    StreamOwnedError,
    TopicReplacedError,
    TwoOwnersError,
)
from headrace.flink.checkpoints import newest_checkpoint
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.recovery import restore, stop
from headrace.flink.session import SESSION
from headrace.flink.unnoted import to_headrace_unnoted
from headrace.ingest.owner import FLINK, HEADRACE
from headrace.ingest.reset import apply_reset
from headrace.ingest.stream_tables import declared
from tests.flink.contracts import EVERY_TYPE, contract
from tests.flink.records import BAD, FLOATS, GOOD, NEGATIVE_ZEROS
from tests.flink.servers import paused
from tests.flink.streams import Written, until
from tests.raising import refused

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]


@pytest.mark.parametrize("written", [EVERY_TYPE], indirect=True)
def test_rows_and_dead_letters_are_those_of_headrace(flink_lake: Lake, written: Written) -> None:
    producer = written.topic.producer()
    written.topic.send(producer, [*GOOD, *FLOATS, *BAD], key=b"k")
    producer.produce(written.topic.name, None, key=b"gone", headers=[("h", b"1")], partition=1)
    producer.flush(30)
    done = to_flink(written.job)
    assert (done.owner, done.epoch) == (FLINK, 1)
    written.note_until(len(GOOD) + len(FLOATS) + len(BAD) + 1)
    assert parses(written) == 2
    by_headrace = Written(
        flink_lake,
        written.topic,
        contract(
            f"p_{written.stream.name}",
            source={"kafka": {"topic": written.topic.name}},
            known_at={"after_event": "0s"},
        ),
    )
    by_headrace.by_headrace()
    rows = written.rows()
    assert rows.num_rows == len(GOOD) + len(FLOATS)
    assert rows.to_pylist() == by_headrace.rows().to_pylist()
    zeros = slice(rows.num_rows - len(NEGATIVE_ZEROS), None)
    for column in ("single", "double"):  # what Flink's functions of JSON take for decimal numbers
        assert signs(rows[column][zeros]) == {1.0}
        assert signs(by_headrace.rows()[column][zeros]) == {-1.0}
    assert len(written.letters()) == len(BAD) + 1
    apart = ("stream", "recorded_at", "reason")
    for found, wanted in zip(written.letters(), by_headrace.letters(), strict=True):
        assert {key: found[key] for key in found if key not in apart} == {
            key: wanted[key] for key in wanted if key not in apart
        }


def signs(zeros: pa.ChunkedArray) -> set[float]:
    return {math.copysign(1, each) for each in zeros.to_pylist()}


def parses(written: Written) -> int:
    """Return how often the job parses a whole record: in a list and in an object, for rows and dead letters."""
    plan = written.job.manager.ask(f"/jobs/{written.job.owner.jobs[-1]}")["plan"]
    said = " ".join(str(each["description"]) for each in plan["nodes"]).upper()
    return said.count("TRY_PARSE_JSON")


def test_a_stream_goes_to_flink_and_back_beside_transactions(written: Written) -> None:
    written.send(70)
    written.by_headrace()
    sent = 70
    for epoch in (1, 3):
        assert to_flink(written.job).epoch == epoch
        assert written.job.submit().job_id == written.job.submit().job_id  # it runs already
        with refused(StreamOwnedError, owner=FLINK, epoch=epoch, wanted=HEADRACE):
            written.by_headrace()
        written.send(140, first=sent, transactional=True)
        sent += 140
        written.note_until(sent)
        assert written.job.check().health is not None
        assert to_headrace(written.job).epoch == epoch + 1
        written.send(35, first=sent)
        sent += 35
        written.by_headrace()
        rows, letters = written.counts()
        assert (rows + letters, letters) == (sent, sent // 7)


def test_a_job_that_was_stopped_is_restored_from_its_savepoint_only(written: Written) -> None:
    to_flink(written.job)
    written.send(70)
    written.note_until(70)
    owner, _ = stop(written.job)
    assert owner.savepoint
    status = written.job.status()
    assert status.health is not None
    assert status.health.state == "STOPPED"
    written.send(70, first=70)
    restore(written.job)
    written.note_until(140)
    assert written.counts() == (120, 20)


def test_a_stream_whose_topic_was_created_again_comes_back_without_a_note(written: Written) -> None:
    job, topic = written.job, written.topic
    to_flink(job)
    written.send(70)
    written.note_until(70)
    topic.delete()
    topic.create(partitions=3)
    written.send(35)
    with refused(JobRunsError, stream=written.stream.name):
        to_headrace_unnoted(job)
    job.manager.cancel(job.owner.jobs[-1])
    until(lambda: job.running(job.owner) is None)
    assert isinstance(to_headrace_unnoted(job), TopicReplacedError)
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, 2)
    assert written.rows().num_rows >= 60  # nothing was removed
    with refused(ResetUnfinishedError):
        written.by_headrace()
    apply_reset(written.lake, written.stream)
    written.by_headrace()
    assert written.counts() == (30, 5)


def test_a_checkpoint_older_than_the_table_is_refused(written: Written) -> None:
    to_flink(written.job)
    written.send(70)
    written.note_until(70)
    job = written.job
    owner = job.owner
    folder = "s3://lake/flink/checkpoints"
    old = newest_checkpoint(job.table, folder, jobs=owner.jobs)
    assert old is not None
    until(lambda: job.committed(owner) >= old.number)
    written.send(70, first=70)
    written.note_until(140)
    until(lambda: job.committed(owner) > old.number)
    job.manager.cancel(owner.jobs[-1])
    until(lambda: job.running(owner) is None)
    committed = job.committed(owner)
    with refused(OldCheckpointError, checkpoint=old.number):
        restore(job, checkpoint=old.location)
    assert job.committed(owner) == committed
    restore(job)
    written.send(70, first=140)
    written.note_until(210)
    assert written.counts() == (180, 30)


def test_a_job_beside_the_owner_is_named(written: Written) -> None:
    to_flink(written.job)
    job = written.job
    sql = job.sql(group="another")
    name = f"{job.family()}9"
    other = job.gateway.submit((*sql.setup, sql.insert), properties={"pipeline.name": name})
    with pytest.raises(TwoOwnersError) as caught:
        job.status()
    assert caught.value.others == (f"{name} ({other})",)
    job.manager.cancel(other)
    until(lambda: not any(each.is_running for each in job.manager.jobs(name=name)))
    assert job.status().epoch == 1


def test_a_job_whose_table_was_made_again_is_named_once_it_writes_the_new_one(
    written: Written,
) -> None:
    to_flink(written.job)
    written.send(70)
    written.note_until(70)
    (former,) = written.job.owner.jobs
    written.lake.catalog.drop_table(str(written.stream.table))
    declared(written.lake, written.stream)
    assert written.job.status().owner == HEADRACE
    written.send(70, first=70)
    until(lambda: written.rows().num_rows > 0)
    with pytest.raises(TwoOwnersError) as found:
        written.job.status()
    (other,) = found.value.others
    assert former in other


def test_checkpoints_that_take_as_long_as_they_are_apart_hold_up_no_record(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SESSION, "execution.checkpointing.interval", "10 ms")
    written.send(2800)
    job = to_flink(written.job).job
    assert job is not None
    manager = written.job.manager
    tasks = [each["name"] for each in manager.ask(f"/jobs/{job.job_id}")["vertices"]]
    committing = [each for each in tasks if "Committer" in each]
    assert committing
    assert not [each for each in committing if "Source" in each]
    said = manager.ask(f"/jobs/{job.job_id}/checkpoints/config")
    # else files on the way to who commits would be dropped
    assert (said["mode"], said["unaligned_checkpoints"]) == ("exactly_once", False)
    assert (said["min_pause"], said["max_concurrent"]) == (1000, 1)
    written.note_until(2800)
    assert written.counts() == (2400, 400)


def test_checkpoints_fail_while_their_store_is_away_and_the_job_goes_on(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SESSION, "execution.checkpointing.timeout", "4 s")
    written.send(70)
    job = to_flink(written.job).job
    assert job is not None
    written.note_until(70)
    manager = written.job.manager

    def failed(since_ms: int) -> int:
        history = manager.ask(f"/jobs/{job.job_id}/checkpoints")["history"]
        begun_ms = [each["trigger_timestamp"] for each in history if each["status"] == "FAILED"]
        return sum(each >= since_ms for each in begun_ms)

    with paused(written.topic.cluster, "s3"):
        since_ms = round(time.time() * 1000)
        written.send(70, first=70)
        until(lambda: failed(since_ms) >= 2)
    written.send(70, first=140)
    written.note_until(210)
    assert written.counts() == (180, 30)
    assert manager.ask(f"/jobs/{job.job_id}/exceptions")["exceptionHistory"]["entries"] == []
