"""What goes on beside a running job: compaction, expiry, clean-up and changes of a schema; nothing is lost or doubled."""

import datetime as dt

import pytest

from headrace import clock
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.health import CHANGED
from headrace.ingest import dead_letters
from headrace.ingest.stream_tables import declared
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import expire
from headrace.tables.lake import LakeTable
from tests.flink.contracts import EVERY_TYPE, contract
from tests.flink.events import Followed, events
from tests.flink.streams import Written

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
COUNT = 350  # a seventh of it malformed
# as old as a file of the job may be before it is committed, ten times over
YOUNG_S = 20.0


class Upkeep:
    """What the maintenance of a lake does, all at once and as soon as it may."""

    def __init__(self) -> None:
        self.compacted = self.expired = self.moved = 0

    def of(self, table: LakeTable, *, keep: int = 1) -> None:
        """Compact a table, expire all but some snapshots, and clean up whatever is not young."""
        self.compacted += bool(compact(table).commits)
        self.expired += len(expire(table, keep=keep, before_ms=clock.now_ms()))
        age_s = table.lake.settings.cleanup_age_s
        now = table.lake.now() + dt.timedelta(seconds=age_s - YOUNG_S)
        self.moved += apply_cleanup(table, plan_cleanup(table, now=now), now=now).files


def test_a_stream_is_kept_and_gets_a_field_beside_its_job(written: Written) -> None:
    to_flink(written.job)
    lake, upkeep, sent = written.lake, Upkeep(), 0
    for _ in range(4):
        written.send(COUNT, first=sent)
        sent += COUNT
        upkeep.of(lake.table(written.stream.table))
        upkeep.of(lake.table(dead_letters.TABLE))
        written.note_until(sent)
    assert written.job.check().health is not None
    fields = {**EVERY_TYPE, "added": {"type": "string"}}
    evolved = Written(
        lake,
        written.topic,
        contract(written.topic.name, known_at={"after_event": "0s"}, fields=fields),
    )
    declared(lake, evolved.stream)
    written.send(COUNT, first=sent)
    sent += COUNT
    evolved.note_until(sent)
    health = evolved.job.status().health
    assert health is not None
    assert set(health.faults) == {CHANGED}
    assert evolved.rows().column("added").null_count == sent * 6 // 7
    to_headrace(evolved.job)
    to_flink(evolved.job)
    evolved.topic.send(
        evolved.topic.producer(),
        [b'{"id": "x", "at": "2026-01-01T00:00:00Z", "added": "new"}'],
        partition=0,
    )
    evolved.note_until(sent + 1)
    assert evolved.rows().column("added").drop_null().to_pylist() == ["new"]
    upkeep.of(lake.table(written.stream.table))
    assert evolved.counts() == (sent * 6 // 7 + 1, sent // 7)
    assert upkeep.compacted >= 3
    assert upkeep.expired >= 3


def test_a_view_is_kept_with_its_events_beside_its_job(followed: Followed) -> None:
    sent = events(1000, seconds=600, seed=11)
    followed.add(sent[:300])
    followed.job.submit()
    upkeep = Upkeep()
    for first in range(300, 1000, 100):
        followed.add(sent[first : first + 100])
        for name in (followed.stream.table, followed.rows.table):
            # the job has read what is older, which is how long a lake keeps snapshots
            upkeep.of(followed.lake.table(name), keep=6)
    followed.heartbeat(sent[-1])
    wanted = followed.wanted()
    assert followed.wait_for(wanted) == wanted
    health = followed.job.check().health
    assert health is not None
    assert health.restarts == 0
    assert upkeep.compacted >= 3
