"""Flink keeps the newest row of each key in Paimon, and headrace takes every change of it exactly once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.flink.recovery import restore
from headrace.flink.session import SESSION
from infra.launcher.cluster import Cluster
from tests.flink.keyed import Keyed, arrivals, newest, offsets, records, warehouse_settings
from tests.flink.streams import until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]
WORLDS = 25


@pytest.fixture
def keyed(cluster: Cluster, tmp_path: Path) -> Iterator[Keyed]:
    with Lake.open(warehouse_settings(cluster, tmp_path)) as lake:
        made = Keyed.make(lake, cluster)
        yield made
        job = made.job
        for each in job.manager.jobs(name=job.family()):
            if each.is_running:
                job.manager.cancel(each.id)


def test_the_table_is_a_function_of_the_set_of_records_whatever_their_order(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # three checkpoints are kept, and an older one than the newest is restored
    monkeypatch.setitem(SESSION, "execution.checkpointing.interval", "5 s")
    commits = arrivals(records(120, keys=8, seed=1), worlds=WORLDS, commits=5, seed=2)
    for commit in commits[:3]:
        keyed.add(commit)
    job = keyed.job
    job.submit()
    before = newest([row for commit in commits[:3] for row in commit])
    until(lambda: keyed.state() == before, seconds=150)
    # the changelog of a row is in the compaction that follows it
    until(lambda: keyed.taken() == offsets(before), seconds=60)
    (job_id,) = job.owner.jobs
    old = job.manager.ask(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]["external_path"]
    keyed.add(commits[3])
    later = newest([row for commit in commits[:4] for row in commit])
    until(lambda: keyed.state() == later, seconds=100)
    job.manager.cancel(job_id)
    until(lambda: job.running(job.owner) is None)
    restore(job, checkpoint=old)  # rows that were committed are written again
    keyed.add(commits[4])
    wanted = newest([row for commit in commits for row in commit])
    assert len({key.partition(":")[0] for key in wanted}) == WORLDS
    until(lambda: keyed.state() == wanted, seconds=100)
    until(lambda: keyed.taken() == offsets(wanted), seconds=60)
    found = job.check().health
    assert found is not None
    assert not found.faults
