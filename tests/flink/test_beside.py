"""What goes on beside a running job: compaction, expiry, clean-up and changes of a schema; nothing is lost or doubled."""

import datetime as dt
import re
from pathlib import Path

import pytest

from headrace import clock
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.health import CHANGED
from headrace.flink.moment_sql import needs_moments
from headrace.ingest import dead_letters
from headrace.ingest.owner import FLINK
from headrace.ingest.stream_tables import declared
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.compaction.compact import compact
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow
from headrace.tables.commits.operations import expire
from headrace.tables.lake import LakeTable
from tests.flink.contracts import EVERY_TYPE, contract
from tests.flink.events import Followed, Row, events
from tests.flink.streams import Written, until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
COUNT = 350  # a seventh of it malformed
NEVER = dt.datetime.fromtimestamp(0, dt.UTC)


class Upkeep:
    """What the maintenance of a lake does, all at once and as soon as it may."""

    def __init__(self) -> None:
        self.compacted = self.expired = self.moved = 0

    def of(self, table: LakeTable, *, settled: dt.datetime, keep: int = 1) -> None:
        """Compact a table, expire all but some snapshots, and clean up.

        What was written before `settled` is committed, however long a job takes to commit its files.
        """
        self.compacted += bool(compact(table).commits)
        self.expired += len(expire(table, keep=keep, before_ms=clock.now_ms()))
        now = settled + dt.timedelta(seconds=table.lake.settings.cleanup_age_s)
        self.moved += apply_cleanup(table, plan_cleanup(table, now=now), now=now).files


def test_a_stream_is_kept_and_gets_a_field_beside_its_job(written: Written) -> None:
    to_flink(written.job)
    lake, upkeep, sent, settled = written.lake, Upkeep(), 0, NEVER
    for _ in range(4):
        written.send(COUNT, first=sent)
        sent += COUNT
        upkeep.of(lake.table(written.stream.table), settled=settled)
        upkeep.of(lake.table(dead_letters.TABLE), settled=settled)
        written.note_until(sent)
        settled = lake.now()  # the job has nothing to write until more is sent
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
    upkeep.of(lake.table(written.stream.table), settled=settled)
    assert evolved.counts() == (sent * 6 // 7 + 1, sent // 7)
    assert upkeep.compacted >= 3
    assert upkeep.expired >= 3


def test_a_view_is_kept_served_and_declared_anew_beside_its_job(
    followed: Followed, tmp_path: Path
) -> None:
    sent = events(1000, seconds=600, seed=11)
    followed.add(sent[:300])
    followed.job.submit()
    changed = followed.with_tiles("2s", delay="0s")
    assert needs_moments(changed.rows)
    assert not needs_moments(followed.rows)
    upkeep, lake = Upkeep(), followed.lake
    with SQLiteOnlineStore(tmp_path / "online.db") as store:
        assert published(store, followed) == "full"
        for first in range(300, 1000, 100):
            followed.add(sent[first : first + 100])
            # the job has read what expires, which is how long a lake keeps snapshots
            until(lambda read=sent[first - 150]["known_at"]: reached(followed) >= read)
            upkeep.of(lake.table(followed.stream.table), settled=lake.now(), keep=6)
            upkeep.of(lake.table(followed.rows.table), settled=NEVER, keep=6)
            if first == 600:  # it is caught up when its job begins
                changed.job.submit()
                assert len(changed.written()) > 0
        followed.heartbeat(sent[-1])
        for each in (followed, changed):
            wanted = each.wanted()
            assert each.wait_for(wanted) == wanted
            health = each.job.check().health
            assert health is not None
            assert not re.search("NotFound|CommitFailed|snapshot", health.root), health.root
        before = followed.written()
        followed.job.release()
        assert changed.job.status().owner == FLINK
        assert followed.written() == before
        assert published(store, followed) != "unchanged"
        newest = {(row["u"], row["c"]): row for row in before}
        found = store.get(str(followed.rows.table), list(newest))
        assert [served(followed, each) for each in found] == list(newest.values())
    assert upkeep.compacted >= 3


def reached(followed: Followed) -> dt.datetime:
    """Return the moment of the newest row: all that is known up to then was read, in order."""
    head = followed.lake.table(followed.rows.table).head()
    return max(head.to_arrow(columns=["event_time"])["event_time"].to_pylist())


def published(store: SQLiteOnlineStore, followed: Followed) -> str:
    """Publish the newest rows as those of any view."""
    return publish_view(followed.lake, store, followed.lake.table(followed.rows.table).head()).mode


def served(followed: Followed, row: OnlineRow | None) -> Row:
    assert row is not None
    names = (*followed.rows.windows.entity, "event_time", "known_at")
    values = [list(each) if isinstance(each, tuple) else each for each in row.values]
    plain = dict(zip(names, (*row.key, row.event_time, row.known_at), strict=True))
    return plain | dict(zip(followed.rows.windows.schema().names, values, strict=True))
