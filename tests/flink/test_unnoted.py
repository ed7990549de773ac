"""A stream whose topic was created again comes back from Flink: nothing is removed, and nothing is mixed with it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.errors import (
    FlinkUnavailableError,
    JobRunsError,
    LakeError,
    ResetUnfinishedError,
    StreamOwnedError,
    TopicReplacedError,
    TopicUnreachableError,
)
from headrace.flink import note
from headrace.flink.client import JobOverview
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.jobs import StreamJob
from headrace.flink.unnoted import to_headrace_unnoted
from headrace.flink_access import FlinkAccess
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.reset import apply_reset, plan_reset
from headrace.ingest.run import ingest
from headrace.tables.commits.operations import move_properties
from tests.flink.contracts import contract
from tests.ingest.log_source import Entry, Log, LogSource
from tests.raising import refused

pytestmark = pytest.mark.slow
REPLACED = TopicReplacedError("things", expected="first", found="another")


def topic_of(ids: list[str]) -> LogSource:
    values = (json.dumps({"id": each, "at": "2026-01-01T00:00:00Z"}).encode() for each in ids)
    entries = [Entry(offset, value) for offset, value in enumerate(values)]
    return LogSource({0: Log(entries=entries, end=len(entries))})


def refusing(error: LakeError) -> Callable[..., LogSource]:
    def refuse(*_: Any, **__: Any) -> LogSource:  # noqa: ANN401  (of `open_source`)
        raise error

    return refuse


@pytest.fixture
def stream() -> Stream:
    return contract(known_at={"after_event": "0s"})


@pytest.fixture
def job(lake: Lake, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> StreamJob:
    """The job of a stream with two rows, which Flink has; it does not run."""
    ingest(lake, stream, source=topic_of(["a", "b"]))
    owner = Owner(by=FLINK, epoch=1, jobs=("0a",)).note(stream=stream.name)
    move_properties(lake.table(stream.table), lambda _: dict(owner))
    monkeypatch.setattr(StreamJob, "running", lambda *_: None)
    return StreamJob(lake, stream, access=FlinkAccess(uri="http://no", gateway_uri="http://no"))


def ids_of(lake: Lake, stream: Stream) -> list[str]:
    return sorted(lake.table(stream.table).head().to_arrow()["id"].to_pylist())


def test_a_stream_of_a_topic_that_was_created_again_is_reset_before_anything_is_ingested(
    lake: Lake, stream: Stream, job: StreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(note, "open_source", refusing(REPLACED))
    with refused(TopicReplacedError, found="another"):
        to_headrace(job)
    assert job.owner.by == FLINK
    assert to_headrace_unnoted(job) is REPLACED
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, 2)
    again = topic_of(["c"])
    for act in (lambda: ingest(lake, stream, source=again), lambda: to_flink(job)):
        with refused(ResetUnfinishedError, stream=stream.name):
            act()
    assert isinstance(to_headrace_unnoted(job), ResetUnfinishedError)
    assert (ids_of(lake, stream), plan_reset(lake, stream).rows) == (["a", "b"], 2)
    apply_reset(lake, stream)
    ingest(lake, stream, source=again)
    assert ids_of(lake, stream) == ["c"]
    assert [each.verdict for each in run_audit(lake, plan_audit(lake, stream)).partitions] == [
        "exact"
    ]
    assert to_headrace_unnoted(job) is None


def test_a_stream_of_which_a_note_can_be_taken_is_handed_over_as_any_other(
    lake: Lake, stream: Stream, job: StreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(note, "open_source", lambda *_, **__: topic_of(["a", "b"]))
    assert to_headrace_unnoted(job) is None
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, 2)
    ingest(lake, stream, source=topic_of(["a", "b", "c"]))
    assert ids_of(lake, stream) == ["a", "b", "c"]


def test_a_topic_that_cannot_be_reached_for_now_leaves_the_stream_to_flink(
    lake: Lake, stream: Stream, job: StreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = TopicUnreachableError("things", servers="127.0.0.1:9", detail="no answer")
    monkeypatch.setattr(note, "open_source", refusing(away))
    before = dict(lake.table(stream.table).head().properties)
    with refused(TopicUnreachableError):
        to_headrace_unnoted(job)
    assert lake.table(stream.table).head().properties == before


def test_a_job_that_runs_or_may_run_keeps_its_stream(
    lake: Lake, stream: Stream, job: StreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(note, "open_source", refusing(REPLACED))
    before = dict(lake.table(stream.table).head().properties)
    runs = JobOverview(id="0a", name=job.name(job.owner), state="CANCELLING", started_ms=0)
    monkeypatch.setattr(StreamJob, "running", lambda *_: runs)
    with refused(JobRunsError, stream=stream.name, job_id="0a"):
        to_headrace_unnoted(job)
    monkeypatch.undo()
    with refused(FlinkUnavailableError):
        to_headrace_unnoted(job)
    assert lake.table(stream.table).head().properties == before


def test_a_job_that_is_started_meanwhile_keeps_its_stream(
    lake: Lake, stream: Stream, job: StreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = job.owner

    def start(*_: Any, **__: Any) -> LogSource:  # noqa: ANN401  (of `open_source`)
        job.set_owner(before, before.started("0b"))
        raise REPLACED

    monkeypatch.setattr(note, "open_source", start)
    with refused(StreamOwnedError, stream=stream.name, owner=FLINK):
        to_headrace_unnoted(job)
    assert job.owner == before.started("0b")
    assert ids_of(lake, stream) == ["a", "b"]
