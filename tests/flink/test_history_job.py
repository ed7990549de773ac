"""History by Flink's batch mode: the rows of the lake's engine, in one commit, and none twice."""

import pytest

from headrace.flink.history_job import backfill_by_flink
from headrace.flink.moment_sql import needs_moments
from headrace.ingest.owner import HEADRACE
from tests.flink.events import Followed, events, microseconds

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]


def test_history_by_flink_is_that_of_the_lakes_engine(followed: Followed) -> None:
    rows = events(600, seconds=900, seed=3)
    followed.add(rows[:400])
    first = backfill_by_flink(followed.job)
    assert written_as_wanted(followed, until_us=first.until_us)
    assert backfill_by_flink(followed.job).until_us == first.until_us  # nothing is missing
    followed.add(rows[400:])
    second = backfill_by_flink(followed.job)
    assert second.after_us > 0
    assert written_as_wanted(followed, until_us=second.until_us)
    table = followed.job.table
    assert len(table.iceberg().metadata.snapshots) == 2
    assert followed.job.owner.by == HEADRACE
    finer = followed.with_tiles("2s")
    assert needs_moments(finer.rows)
    assert written_as_wanted(finer, until_us=backfill_by_flink(finer.job).until_us)


def written_as_wanted(followed: Followed, *, until_us: int) -> bool:
    wanted = [each for each in followed.wanted() if microseconds(each["event_time"]) <= until_us]
    assert wanted
    assert followed.written() == wanted
    return True
