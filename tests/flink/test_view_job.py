"""Flink writes the rows of a window view: those of the batch build, from where that ends, also when killed."""

import datetime as dt
import re
from dataclasses import replace

import pytest

from headrace.errors import NothingToFollowError, TwoOwnersError
from headrace.flink import table_job
from headrace.flink.behind import behind
from headrace.flink.health import MADE_AGAIN, WIDENED, Health
from headrace.flink.moment_sql import needs_moments
from headrace.flink.recovery import restore
from headrace.flink.table_job import BEHIND
from headrace.ingest.owner import FLINK, HEADRACE
from headrace.ingest.stream_tables import declared
from infra.launcher.cluster import Cluster
from tests.flink.events import Followed, Row, events, stream_named, view_of
from tests.flink.servers import kill, paused, start
from tests.flink.streams import until
from tests.raising import refused
from tests.waiting import wait_until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]


def test_a_job_goes_on_from_the_batch_and_is_killed_and_restored_without_a_difference(
    followed: Followed, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = events(1500, seconds=600, seed=5)
    followed = followed.with_tiles("2s", delay="40s")  # longer than the stream's disorder
    assert needs_moments(followed.rows)
    followed.add(sent[:300])
    followed.add(sent[300:500])
    followed.job.submit()
    by_batch = len(followed.written())
    assert by_batch > 0
    followed.add([wrong_clock(sent[500])])
    followed.add(sent[500:800])
    kill(cluster, "flink_worker")
    followed.add(sent[800:1000])
    start(cluster, "flink_worker")
    job = followed.job
    assert job.status().health is not None
    owner = job.stop()
    assert owner.savepoint
    followed.add([*sent[1000:1300], wrong_clock(sent[1000])])
    restore(job)
    followed.add(sent[1300:])
    followed.heartbeat(sent[-1])
    wanted = followed.wanted()
    assert len(wanted) > 2 * by_batch
    assert followed.wait_for(wanted) == wanted
    found = job.check().health
    assert found is not None
    assert not found.faults
    assert index_types(cluster, job.owner.jobs[-1]) == {"2"}  # in parts
    monkeypatch.setattr(table_job, "BEHIND_S_MAX", 0.0)
    until(lambda: says_it_has_read(followed))  # Flink asks its tasks every ten seconds
    with paused(cluster, "flink_worker"):
        followed.heartbeat(sent[-1], later=dt.timedelta(hours=1))
        assert set(health_of(followed).faults) == {BEHIND}
    with refused(TwoOwnersError, stream=followed.rows.windows.view, owner=FLINK):
        job.begin_again()
    job.release()
    assert job.owner.by == HEADRACE
    assert followed.written() == wanted


def index_types(cluster: Cluster, job_id: str) -> set[str]:
    """Return how RocksDB keeps the indexes of files of a job's state, as its logs say."""
    logs = (cluster.of("flink") / "tmp").rglob(f"job_{job_id}_*/db/LOG")
    said = "".join(each.read_text(errors="replace") for each in logs)
    return set(re.findall(r"^ +index_type: (\d)", said, re.MULTILINE))


def test_rows_are_added_once_however_often(followed: Followed) -> None:
    sent = events(300, seconds=300, seed=6)
    followed.add(sent[:200])
    followed.job.backfill()
    first = followed.written()
    followed.job.backfill()
    assert followed.written() == first
    followed.add(sent[200:])
    followed.heartbeat(sent[-1])
    wanted = followed.wanted()
    followed.job.backfill()
    followed.job.backfill()
    assert followed.written() == wanted


def test_a_job_that_is_lost_begins_again_at_its_rows(followed: Followed) -> None:
    sent = events(600, seconds=300, seed=7)
    followed.add(sent[:200])
    followed.job.submit()
    job = followed.job
    job.manager.cancel(job.owner.jobs[-1])
    followed.add(sent[200:])
    until(lambda: job.running(job.owner) is None)
    assert job.begin_again().epoch == 2
    followed.heartbeat(sent[-1])
    wanted = followed.wanted()
    assert followed.wait_for(wanted) == wanted


def test_events_later_than_their_stream_allows_are_a_named_fault_and_late_repeats_are_not(
    followed: Followed,
) -> None:
    sent = events(200, seconds=300, seed=8)
    newest = max(each["known_at"] for each in sent)
    late = next(  # its moment is over, and it is not forgotten yet
        each
        for each in sent
        if each["u"] is not None
        and each["known_at"] - each["event_time"] < dt.timedelta(seconds=5)
        and 50 < (newest - each["known_at"]).total_seconds() < 80
    )
    followed.add(sent)
    followed.job.submit()
    followed.add([{**late, "_source_offset": 10**8}])  # once more, as it was
    until(lambda: health_of(followed).late_repeats == 1)
    assert not health_of(followed).faults
    followed.heartbeat(sent[-1])
    wanted = followed.wanted()
    assert followed.wait_for(wanted) == wanted
    followed.add([{**late, "id": "late"}])
    for hours in range(1, 13):  # events go on
        known_at = sent[-1]["known_at"] + dt.timedelta(hours=hours)
        followed.heartbeat({**sent[-1], "known_at": known_at})
        if wait_until(lambda: bool(health_of(followed).faults), seconds=10):
            break
    until(lambda: bool(health_of(followed).faults))
    assert set(health_of(followed).faults) == {"late-events"}


def test_a_job_ends_at_a_column_that_became_wider_or_another_table_and_another_goes_on(
    followed: Followed,
) -> None:
    narrow = of_items(followed, "int")
    sent = [
        {**each, "item": number} for number, each in enumerate(events(300, seconds=300, seed=9))
    ]
    narrow.add(sent[:100])
    narrow.job.submit()
    narrow.add(sent[100:200])
    wide = of_items(followed, "long")
    wide.add([{**each, "item": each["item"] << 40} for each in sent[200:]])
    until(lambda: health_of(wide).restarts > 0)
    assert WIDENED in health_of(wide).faults
    assert wide.job.hand_over().epoch == 2
    wide.heartbeat(sent[-1])
    wanted = wide.wanted()
    assert wide.wait_for(wanted) == wanted
    assert not health_of(wide).faults
    wide.lake.catalog.drop_table(str(wide.stream.table))
    wide = of_items(followed, "long")  # and made again
    wide.add([later(each, hours=1) for each in sent])
    assert set(health_of(wide).faults) >= {MADE_AGAIN}
    assert wide.job.hand_over().epoch == 3
    wide.heartbeat(later(sent[-1], hours=1))
    after = wide.wanted()
    assert len(wide.wait_for([*wanted, *after])) == len(wanted) + len(after)
    assert [each for each in wide.written() if each in after] == after


def later(row: Row, *, hours: int) -> Row:
    moved = {name: row[name] + dt.timedelta(hours=hours) for name in ("event_time", "known_at")}
    return row | moved


def of_items(followed: Followed, kind: str) -> Followed:
    """Return a view of the items of another table, of a type that the table then has."""
    stream = stream_named(f"{followed.stream.name}_n", item=kind)
    declared(followed.lake, stream)
    aggregates = [
        {"name": take, "take": take, "of": "item", "windows": ["30s"]} for take in ("sum", "max")
    ]
    return replace(followed, stream=stream, rows=view_of(stream, aggregates=aggregates))


def wrong_clock(sent: Row) -> Row:
    """Return a row that says it is known in a hundred years: it counts nowhere, and makes no other row late."""
    known_at = sent["known_at"].replace(year=sent["known_at"].year + 100)
    offset = sent["_source_offset"] + 10**9
    return {**sent, "id": f"wrong{offset}", "known_at": known_at, "_source_offset": offset}


def says_it_has_read(followed: Followed) -> bool:
    """Whether the tasks said how far they have read since they started, and that is all of the table."""
    job = followed.job
    (table,) = job.followed()
    never = dt.datetime.max.replace(tzinfo=dt.UTC)
    return bool(behind(job.manager, job.owner.jobs[-1], table, never)) and not (
        health_of(followed).faults
    )


def health_of(followed: Followed) -> Health:
    found = followed.job.status().health
    assert found is not None
    return found


def test_a_table_without_events_is_refused(followed: Followed) -> None:
    with refused(NothingToFollowError, table=str(followed.stream.table)):
        followed.job.submit()
    assert followed.job.owner.by == HEADRACE
