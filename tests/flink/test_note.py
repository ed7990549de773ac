"""Taking note of rows and letters that another writer committed, proven by the topic."""

import dataclasses

import pytest

from headrace.api import Lake
from headrace.definitions.properties import (
    ABSENT_PREFIX,
    OFFSETS_PREFIX,
    WATERMARK,
)
from headrace.definitions.stream import Stream
from headrace.errors import (
    HandoverError,
    RecordsMissingError,
    StreamOwnedError,
    TopicReplacedError,
)
from headrace.flink import handover, note, starts
from headrace.flink.client import Gateway
from headrace.flink.jobs import StreamJob
from headrace.flink.note import Noted, take_note
from headrace.flink_access import FlinkAccess
from headrace.ingest.audit import Audit, plan_audit, run_audit
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.positions import Positions
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import PositionsOf, SourcePartition
from headrace.ingest.sources.kafka_client import Range
from headrace.ingest.sources.kafka_start import Mark, plan_start
from headrace.tables.commits import attempt
from headrace.tables.commits.operations import move_properties
from tests.flink.contracts import contract
from tests.flink.notes import value, written_by_another
from tests.ingest.log_source import Entry, Log, LogReader, LogSource
from tests.raising import refused

pytestmark = pytest.mark.slow
TOPIC_ID = "first"


def log(offsets: list[int], *, end: int) -> Log:
    return Log(entries=[Entry(each, value(each)) for each in offsets], end=end)


@pytest.fixture
def stream() -> Stream:
    return contract(known_at={"after_event": "0s"})


@pytest.fixture
def topic() -> LogSource:
    """Two partitions with holes, one of them at the end; and an empty one."""
    return LogSource(
        {0: log([0, 1, 2, 5, 6, 8], end=10), 1: log(list(range(7)), end=7), 2: log([], end=0)}
    )


def test_what_is_noted_is_what_headrace_itself_would_have_said(
    lake: Lake, stream: Stream, topic: LogSource
) -> None:
    said = written_by_another(lake, stream, topic)
    assert (
        run_audit(lake, plan_audit(lake, stream)).partitions == ()
    )  # what is not noted is left out
    found = take_note(lake, stream, complete=True, source=topic)
    assert found.records == 13
    now = lake.table(stream.table).head().properties
    for key in (OFFSETS_PREFIX + stream.name, ABSENT_PREFIX + stream.name, WATERMARK):
        assert now[key] == said[key], key
    audited = run_audit(lake, plan_audit(lake, stream))
    assert [each.verdict for each in audited.partitions] == ["exact", "exact"]


@pytest.mark.parametrize(
    "more",
    [
        {1: [0, 5, 10]},  # letters alone
        {1: [0, 7], 2: [3]},
        {1: [], 2: [5]},
    ],
)
def test_a_partition_without_an_event_holds_the_watermark_as_where_headrace_reads(
    lake: Lake, stream: Stream, more: dict[int, list[int]]
) -> None:
    topic = LogSource({0: log([1, 2, 3], end=4)} | dict.fromkeys(more, log([], end=0)))
    for number, values in more.items():
        topic.grow(number, [value(each) for each in values])
    said = written_by_another(lake, stream, topic)
    take_note(lake, stream, complete=True, source=topic)
    now = lake.table(stream.table).head().properties
    assert now.get(WATERMARK) == said.get(WATERMARK)


def test_a_partition_of_which_nothing_is_written_yet_holds_the_watermark(
    lake: Lake, stream: Stream
) -> None:
    topic = LogSource({0: log([1, 2, 3], end=4), 1: log([], end=0)})
    written_by_another(lake, stream, topic)
    topic.grow(1, [value(1)])
    take_note(lake, stream, complete=True, source=topic)
    table = lake.table(stream.table)
    assert WATERMARK not in table.head().properties


def test_a_partition_whose_first_record_is_not_written_yet_holds_the_watermark(
    lake: Lake, stream: Stream
) -> None:
    topic = LogSource({0: log([1, 2], end=3), 1: log([0, 1], end=2)})
    written_by_another(lake, stream, topic)
    topic.logs[0] = log([0, 1, 2], end=3)
    assert take_note(lake, stream, complete=False, source=topic).is_ahead
    assert WATERMARK not in lake.table(stream.table).head().properties


def test_a_second_note_changes_nothing(lake: Lake, stream: Stream, topic: LogSource) -> None:
    written_by_another(lake, stream, topic)
    take_note(lake, stream, complete=True, source=topic)
    before = lake.table(stream.table).head().snapshot_id
    assert take_note(lake, stream, complete=True, source=topic).records == 0
    assert lake.table(stream.table).head().snapshot_id == before


def test_a_record_that_was_left_out_stops_the_note_before_it_and_is_named_when_all_is_written(
    lake: Lake, stream: Stream, topic: LogSource
) -> None:
    written_by_another(lake, stream, topic)
    # offset 3 exists after all, and neither table has it
    topic.logs[0] = log([0, 1, 2, 3, 5, 6, 8], end=10)
    with refused(RecordsMissingError, stream=stream.name, ranges=("things:3",)):
        take_note(lake, stream, complete=True, source=topic)
    found = take_note(lake, stream, complete=False, source=topic)
    assert found.is_ahead
    assert found.ends == {SourcePartition("things", 0): 3, SourcePartition("things", 1): 7}


def test_records_that_are_not_yet_written_are_left_for_the_next_note(
    lake: Lake, stream: Stream, topic: LogSource
) -> None:
    written_by_another(lake, stream, topic)
    topic.grow(1, [value(7), value(8)])
    found = take_note(lake, stream, complete=True, source=topic)
    assert not found.is_ahead
    assert found.ends[SourcePartition("things", 1)] == 7


@pytest.mark.parametrize("grown", [0, 1])
def test_a_partition_is_recognized_also_where_records_are_not_yet_written(
    lake: Lake, stream: Stream, topic: LogSource, grown: int
) -> None:
    written_by_another(lake, stream, topic)
    topic.topic_id = TOPIC_ID
    topic.grow(1, [value(7)] * grown)
    take_note(lake, stream, complete=True, source=topic)
    table = lake.table(stream.table)
    said = table.head().properties
    taken = Positions.read(table, said, stream=stream.name, is_log=True).open
    at = taken[SourcePartition("things", 1)]
    last_ms = int(topic.logs[1].entries[6].time.timestamp()) * 1000
    mark = Mark(topic_id=TOPIC_ID, partition=1, offset=6, time_ms=last_ms)
    assert Mark.of(at.fingerprint) == mark
    held = Range(low=0, high=50)
    with refused(TopicReplacedError, expected=TOPIC_ID, found="another"):
        plan_start("things", 1, at, held, topic_id="another")


def test_a_partition_is_recognized_by_its_topic_where_only_offsets_without_records_are_noted(
    lake: Lake, stream: Stream, topic: LogSource
) -> None:
    written_by_another(lake, stream, topic)
    topic = LogSource(
        {0: log([4, 5], end=6)}, topic_id=TOPIC_ID
    )  # the first record is not written, and none is below it
    take_note(lake, stream, complete=False, source=topic)
    table = lake.table(stream.table)
    said = table.head().properties
    taken = Positions.read(table, said, stream=stream.name, is_log=True).open
    at = taken[SourcePartition("things", 0)]
    assert (at.offset, Mark.of(at.fingerprint)) == (4, Mark(topic_id=TOPIC_ID, partition=0))


def test_a_topic_that_was_created_again_before_the_first_note_is_named(
    lake: Lake, stream: Stream, topic: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_by_another(lake, stream, topic)
    table = lake.table(stream.table)
    began = Owner(by=FLINK, epoch=1, topic_id=TOPIC_ID)
    move_properties(table, lambda _: dict(began.note(stream=stream.name)))
    before = table.head().snapshot_id
    topic.topic_id = "another"
    monkeypatch.setattr(starts, "open_source", lambda *_, **__: topic)
    for act in (
        lambda: take_note(lake, stream, complete=False, source=topic),
        lambda: starts.starts_of(lake, stream, has_state=True),
    ):
        with refused(TopicReplacedError, expected=TOPIC_ID, found="another"):
            act()
    assert table.head().snapshot_id == before
    topic.topic_id = TOPIC_ID
    assert take_note(lake, stream, complete=True, source=topic).records == 13


def test_headrace_writes_nothing_of_a_stream_that_flink_owns(
    lake: Lake, stream: Stream, topic: LogSource
) -> None:
    written_by_another(lake, stream, topic)
    before = lake.table(stream.table).head().snapshot_id
    with refused(StreamOwnedError, owner=FLINK, epoch=1, wanted="headrace"):
        ingest(lake, stream, source=topic)
    assert lake.table(stream.table).head().snapshot_id == before


def test_an_ingester_that_began_before_the_owner_changed_commits_neither_rows_nor_letters(
    lake: Lake, stream: Stream, topic: LogSource
) -> None:
    class Overtaken(LogSource):
        """Its stream is given to Flink once it was opened."""

        def open(
            self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
        ) -> LogReader:
            reader = super().open(positions, rows_per_commit=rows_per_commit, follow=follow)
            owner = Owner(by=FLINK, epoch=1).note(stream=stream.name)
            move_properties(lake.table(stream.table), lambda _: dict(owner))
            return reader

    ingest(lake, stream, source=topic)
    tables = [lake.table(stream.table), lake.table("dead_letters.records")]
    before = [each.head().snapshot_id for each in tables]
    topic.grow(1, [value(7), value(10)])
    with refused(StreamOwnedError, stream=stream.name):
        ingest(lake, stream, source=Overtaken(topic.logs))
    assert [each.head().snapshot_id for each in tables] == before


def test_letters_that_are_being_committed_are_refused_once_flink_owns_the_stream(
    lake: Lake, stream: Stream, topic: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(lake, stream, source=topic)
    dead = lake.table("dead_letters.records")
    before = dead.head().snapshot_id
    job = StreamJob(lake, stream, access=FlinkAccess(uri="http://no", gateway_uri="http://no"))
    monkeypatch.setattr(StreamJob, "sql", lambda *_, **__: None)
    monkeypatch.setattr(StreamJob, "submit", lambda _: None)
    monkeypatch.setattr(Gateway, "check", lambda _: None)
    monkeypatch.setattr(
        handover, "run_audit", lambda *_: Audit(stream=stream.name, snapshot_id=None, partitions=())
    )
    monkeypatch.setattr(handover, "plan_audit", lambda *_: None)
    noted = Noted(records=0, ends={}, is_ahead=False)
    monkeypatch.setattr(handover, "take_note", lambda *_, **__: noted)
    left = [lambda: handover.to_flink(job)]

    def hand_over(point: str) -> None:
        """Give the stream to Flink while a commit is between its look at the owner and its swap."""
        if left and point == "commit.after_manifests":
            left.pop()()

    monkeypatch.setattr(attempt, "crash_point", hand_over)
    topic.grow(1, [value(10)])  # a letter, which is committed first
    with refused(StreamOwnedError, owner=FLINK):
        ingest(lake, stream, source=topic)
    assert left == []
    assert dead.head().snapshot_id == before


def test_letters_before_which_rows_are_missing_keep_a_stream_from_flink(
    lake: Lake, stream: Stream, topic: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(lake, stream, source=topic)
    job = StreamJob(lake, stream, access=FlinkAccess(uri="http://no", gateway_uri="http://no"))
    monkeypatch.setattr(StreamJob, "_sql", lambda *_, **__: None)
    monkeypatch.setattr(StreamJob, "submit", lambda _: None)
    monkeypatch.setattr(StreamJob, "running", lambda *_: None)
    monkeypatch.setattr(Gateway, "check", lambda _: None)
    monkeypatch.setattr(note, "open_source", lambda *_, **__: topic)
    commits: list[str] = []

    def interrupt(point: str) -> None:
        """End an ingester once its letters are committed, and its rows are not."""
        commits.extend([point] if point == "commit.after_manifests" else [])
        if len(commits) > 1:
            raise KeyboardInterrupt

    topic.grow(1, [value(8), value(10)])
    with monkeypatch.context() as patch:
        patch.setattr(attempt, "crash_point", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ingest(lake, stream, source=topic)
    before = job.owner
    with refused(HandoverError, stream=stream.name):
        handover.to_flink(job)
    assert job.owner == dataclasses.replace(before, epoch=before.epoch + 1)
    killed = Owner(by=FLINK, epoch=before.epoch + 2)  # in the middle of another handover
    job.set_owner(job.owner, killed)
    with refused(HandoverError, stream=stream.name):
        handover.to_flink(job)
    assert (job.owner.by, job.owner.epoch) == (HEADRACE, killed.epoch)
    job.set_owner(job.owner, killed)
    handover.to_headrace(job)
    assert job.owner.by == HEADRACE
    ingest(lake, stream, source=topic)  # takes what is left, as the error advises
    handover.to_flink(job)
    assert job.owner.by == FLINK
