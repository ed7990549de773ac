"""A lake on the servers of Flink's tests, and streams of real topics in it."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.flink.jobs import StreamJob
from headrace.flink.note import Noted, take_note
from headrace.flink_access import FlinkAccess
from headrace.ingest import dead_letters
from headrace.ingest.audit import Audit, plan_audit, run_audit
from headrace.ingest.run import ingest
from infra.launcher import flink
from infra.launcher.cluster import Cluster
from infra.launcher.exports import environment
from tests.cluster.kafka_topics import Topic
from tests.flink.contracts import contract
from tests.waiting import WAIT_S

_LAKE = """profile = "cluster"
[profiles.cluster]
state_dir = "state"
engine = "duckdb"
"""


def settings_of(cluster: Cluster, folder: Path) -> Settings:
    """Return the settings of a lake on the servers, whose host keeps its state in a folder."""
    file = folder / "lake" / "lake.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_LAKE)
    return Settings.load(env=environment(cluster), path=file)


@dataclass(frozen=True)
class Written:
    """A stream of a topic of its own, and the lake it goes to."""

    lake: Lake
    topic: Topic
    stream: Stream

    @classmethod
    def make(cls, lake: Lake, cluster: Cluster, *, fields: Mapping[str, Any]) -> "Written":
        topic = Topic(cluster, f"t{uuid.uuid4().hex[:10]}")
        topic.create(partitions=3)
        return cls(lake, topic, contract(topic.name, fields=fields, known_at={"after_event": "0s"}))

    @property
    def job(self) -> StreamJob:
        # a JobManager that starts again may have another port
        cluster = self.topic.cluster
        access = FlinkAccess(
            uri=flink.JobManager().address(cluster), gateway_uri=flink.Gateway().address(cluster)
        )
        return StreamJob(self.lake, self.stream, access=access)

    def send(self, count: int, *, first: int = 0, transactional: bool = False) -> None:
        """Send records to all partitions but the last one, every seventh of them malformed."""
        producer = self.topic.transactional() if transactional else self.topic.producer()
        if transactional:
            producer.begin_transaction()
        for number in range(first, first + count):
            good = b'{"id": "%d", "at": "2026-01-01T%02d:00:00Z"}' % (number, number % 24)
            value = good if number % 7 else b"malformed"
            self.topic.send(producer, [value], partition=number % 2) if number == first else (
                producer.produce(self.topic.name, value, partition=number % 2)
            )
        assert producer.flush(30) == 0
        if transactional:
            producer.commit_transaction(20)

    def by_headrace(self) -> None:
        ingest(self.lake, self.stream)

    def audit(self) -> Audit:
        return run_audit(self.lake, plan_audit(self.lake, self.stream))

    def counts(self) -> tuple[int, int]:
        """Return how many rows and dead letters the last audit found."""
        found = self.audit()
        assert [each for each in found.partitions if each.verdict != "exact"] == []
        return (
            sum(each.rows for each in found.partitions),
            sum(each.dead_letters for each in found.partitions),
        )

    def committed(self) -> int:
        """Count the rows and dead letters that are in the tables, noted or not."""
        return self.rows().num_rows + len(self.letters())

    def note_until(self, records: int, *, seconds: float = WAIT_S) -> Noted:
        """Take note until so many offsets are taken in all."""
        end_s = time.monotonic() + seconds
        while True:
            found = take_note(self.lake, self.stream, complete=False)
            rows, letters = self.counts()
            if rows + letters >= records:
                return found
            assert time.monotonic() < end_s, (rows, letters, records, self.job.status())
            time.sleep(0.2)

    def rows(self) -> pa.Table:
        found = self.lake.table(self.stream.table).head().to_arrow()
        return found.sort_by([("_source_partition", "ascending"), ("_source_offset", "ascending")])

    def letters(self) -> list[dict[str, object]]:
        found = self.lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
        mine = [each for each in found if each["stream"] == self.stream.name]
        return sorted(mine, key=lambda each: (each["_source_partition"], each["_source_offset"]))


def until(condition: Callable[[], bool], *, seconds: float = WAIT_S) -> None:
    """Wait for a condition."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.2)
