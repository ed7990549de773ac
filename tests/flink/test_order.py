"""A job that falls back to its newest checkpoint reads its tables in the order of their snapshots again."""

import pytest

from infra.launcher.cluster import Cluster
from tests.flink.events import Followed, events
from tests.flink.servers import kill, start
from tests.flink.streams import until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]


def test_a_worker_that_is_killed_while_snapshots_wait_changes_no_row(
    followed: Followed, cluster: Cluster
) -> None:
    """The first snapshot is given to a task that dies; others have been found by then."""
    sent = events(20_000, seconds=900, seed=9)
    followed.add(sent[:15_000])
    followed.job.begin_again()
    for first in range(15_000, 20_000, 1000):  # its tasks are still being deployed
        followed.add(sent[first : first + 1000])
    followed.heartbeat(sent[-1])
    job = followed.job
    until(lambda: _all_run(followed))
    kill(cluster, "flink_worker")
    start(cluster, "flink_worker")
    wanted = followed.wanted()
    assert followed.wait_for(wanted) == wanted
    found = job.check().health
    assert found is not None
    assert not found.faults


def _all_run(followed: Followed) -> bool:
    job = followed.job
    said = job.manager.ask(f"/jobs/{job.owner.jobs[-1]}")
    return all(each["status"] in ("RUNNING", "FINISHED") for each in said["vertices"])
