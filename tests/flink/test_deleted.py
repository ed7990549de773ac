"""Records that a topic deleted before a note of them was taken: there, never there, or accepted as lost."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from headrace.api import Lake
from headrace.definitions.properties import (
    ABSENT_PREFIX,
    GAPS_PREFIX,
    OFFSETS_PREFIX,
)
from headrace.definitions.stream import Stream
from headrace.errors import OffsetGapError
from headrace.flink import handover, note, starts
from headrace.flink.deleted import without_written
from headrace.flink.jobs import StreamJob
from headrace.flink.note import take_note
from headrace.flink.starts import starts_of
from headrace.flink_access import FlinkAccess
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.owner import HEADRACE
from headrace.ingest.sources.base import Position, Records, Source, SourcePartition
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind
from headrace.ingest.sources.kafka import KafkaSource
from headrace.tables.commits.operations import move_properties
from tests.flink.contracts import contract
from tests.flink.notes import value, written_by_another
from tests.mock_kafka import MockKafka
from tests.raising import refused

pytestmark = pytest.mark.slow


@pytest.fixture
def stream() -> Stream:
    return contract(known_at={"after_event": "0s"})


@pytest.mark.parametrize("early", [0, 4])
def test_records_that_a_topic_deleted_before_its_first_note_are_no_missing_ones(
    lake: Lake, stream: Stream, early: int
) -> None:
    with MockKafka() as cluster:
        cluster.create("things", 2)
        cluster.produce("things", [value(each) for each in range(20)], partition=0)
        cluster.delete_records("things", 0, 10 - early)
        source = KafkaSource("things", {"bootstrap.servers": cluster.servers})
        said = written_by_another(lake, stream, source)
        cluster.delete_records("things", 0, 10)
        assert take_note(lake, stream, complete=True, source=source).records == 10 + early
    now = lake.table(stream.table).head().properties
    assert now[ABSENT_PREFIX + stream.name] == said[ABSENT_PREFIX + stream.name]
    (audited,) = run_audit(lake, plan_audit(lake, stream)).partitions
    assert (audited.verdict, audited.consumed, audited.absent) == ("exact", 20, 10 - early)


@pytest.mark.parametrize("written", [12, 10, 8])
def test_records_that_a_topic_deleted_before_the_next_note_are_proven_by_the_table(
    lake: Lake, stream: Stream, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    with MockKafka() as cluster:
        cluster.create("things", 1)
        cluster.produce("things", [value(each) for each in range(written)], partition=0)

        def opened(*_: object, accepted: Sequence[AcceptedGap] = ()) -> Source:
            return KafkaSource("things", {"bootstrap.servers": cluster.servers}, accepted=accepted)

        for each in (note, starts):
            monkeypatch.setattr(each, "open_source", opened)
        written_by_another(lake, stream, opened())
        noted = {OFFSETS_PREFIX + stream.name: json.dumps({"things": 5})}
        move_properties(lake.table(stream.table), lambda _: dict(noted))
        cluster.produce("things", [value(each) for each in range(written, 20)], partition=0)
        cluster.delete_records("things", 0, 10)
        if written < 10:
            with refused(OffsetGapError, partition=0, first=8, end=10) as raised:
                take_note(lake, stream, complete=False)
            command = ("flink", "stop", stream.name, "--accept-gap", "0:8-10")
            assert raised.value.remedy is not None
            assert raised.value.remedy.command == command
            with refused(OffsetGapError, partition=0, first=5, end=10) as raised:
                starts_of(lake, stream, has_state=False)
            assert raised.value.remedy is not None
            assert raised.value.remedy.command == ("flink", "note", stream.name)
            assert starts_of(lake, stream, has_state=True).offsets == {
                SourcePartition("things", 0): 10
            }
            accept_gap(lake, stream, AcceptedGap(0, 8, 10), monkeypatch)
            cluster.delete_records("things", 0, 15)
            with refused(OffsetGapError, first=10, end=15) as raised:  # of a stream of headrace
                starts_of(lake, stream, has_state=False)
            assert raised.value.remedy is not None
            command = ("ingest", "run", stream.name, "--accept-gap", "0:10-15")
            assert raised.value.remedy.command == command
            return
        found = take_note(lake, stream, complete=True)
        assert (found.records, found.ends) == (written - 5, {SourcePartition("things", 0): written})
    assert ABSENT_PREFIX + stream.name not in lake.table(stream.table).head().properties


def accept_gap(
    lake: Lake, stream: Stream, gap: AcceptedGap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hand a stream without a running job to headrace, without the records of a gap; see what is told of it."""
    monkeypatch.setattr(StreamJob, "running", lambda *_: None)
    job = StreamJob(lake, stream, access=FlinkAccess(uri="http://no", gateway_uri="http://no"))
    with refused(OffsetGapError, first=gap.first, end=gap.end):
        handover.to_headrace(job)
    found = handover.to_headrace(job, accepted=[gap])
    assert found.owner == HEADRACE
    (audited,) = found.audit.partitions
    assert (audited.verdict, audited.consumed) == ("exact", gap.end)
    assert audited.absent == gap.end - gap.first
    said = lake.table(stream.table).head().properties
    assert list(json.loads(said[GAPS_PREFIX + stream.name])) == [f"things:{gap.first}-{gap.end}"]
    assert "lost" in said[ABSENT_PREFIX + stream.name]


def test_a_marker_of_a_transaction_that_was_deleted_is_named_and_accepted_as_a_record_is() -> None:
    written = np.array([5, 6, 7, 8, 10, 11])
    records = Records(
        partition=SourcePartition("things", 0),
        offsets=np.array([12]),
        end=Position(13),
        times=datetime(2026, 1, 1, tzinfo=UTC),
        lines=[b"{}"],
        holes=(Hole(5, 12, HoleKind.LOST),),
    )
    with refused(OffsetGapError, partition=0, first=9, end=12):
        without_written(records, written)
    kept = without_written(records, written, [AcceptedGap(0, 9, 12)])
    assert kept == (Hole(9, 10, HoleKind.LOST),)


def test_records_that_another_writer_passed_over_and_the_topic_deleted_are_named(
    lake: Lake, stream: Stream
) -> None:
    with MockKafka() as cluster:
        cluster.create("things", 1)
        cluster.produce("things", [value(each) for each in range(5)], partition=0)
        source = KafkaSource("things", {"bootstrap.servers": cluster.servers})
        written_by_another(lake, stream, source)
        cluster.produce("things", [value(each) for each in range(5, 20)], partition=0)
        cluster.delete_records("things", 0, 10)
        with refused(OffsetGapError, partition=0, first=5, end=10):
            take_note(lake, stream, complete=False, source=source)
        with refused(OffsetGapError, partition=0, first=5, end=10):
            take_note(lake, stream, complete=False, source=source, accepted=[AcceptedGap(0, 5, 9)])
        take_note(lake, stream, complete=False, source=source, accepted=[AcceptedGap(0, 5, 10)])
    (audited,) = run_audit(lake, plan_audit(lake, stream)).partitions
    assert (audited.verdict, audited.consumed, audited.absent) == ("exact", 10, 5)
