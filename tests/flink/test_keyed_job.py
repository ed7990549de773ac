"""Flink keeps a row of each key in Paimon, whatever comes when, and headrace takes every change exactly once."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.flink.keyed_job import BATCH, KeyedJob
from headrace.flink.keyed_sql import CATALOG
from headrace.flink.recovery import restore
from headrace.flink.session import SESSION
from headrace.flink.statements import option_list
from headrace.identifiers import quote_text
from headrace.storage.open import folders_of
from infra.launcher.cluster import Cluster
from tests.flink.keyed import RECORDS, Keyed, arrivals, newest, values_of, warehouse_settings
from tests.flink.servers import cancel_all
from tests.flink.streams import until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]
WORLDS = 25


@pytest.fixture
def keyed(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Keyed, Keyed]]:
    """A stream whose newest rows are kept, and one whose newest values are."""
    with Lake.open(warehouse_settings(cluster, tmp_path)) as lake:
        made = Keyed.make(lake, cluster), Keyed.make(lake, cluster, {"merge": "partial-update"})
        yield made
        for job in (each.job for each in made):
            cancel_all(job.manager, job.family())


def test_the_table_is_a_function_of_the_set_of_records_whatever_their_order(
    keyed: tuple[Keyed, Keyed], monkeypatch: pytest.MonkeyPatch
) -> None:
    # three checkpoints are kept, and the oldest is restored
    monkeypatch.setitem(SESSION, "execution.checkpointing.interval", "5 s")
    rows, values = keyed
    commits = arrivals(RECORDS, worlds=WORLDS, commits=6, seed=2)

    def add(first: int, until: int) -> None:
        for each in keyed:
            for commit in commits[first:until]:
                each.add(commit)

    def reach(upto: int) -> None:
        """Wait until both tables are those of all records so far, as are their changes."""
        sent = [row for commit in commits[:upto] for row in commit]
        wanted, partial = newest(sent), newest(sent, partial=True)
        assert wanted != partial
        assert len({key.partition(":")[0] for key in wanted}) == WORLDS
        until(lambda: rows.state() == wanted)
        # the changelog of a row is in the compaction that follows it
        until(lambda: rows.taken() == wanted)
        until(lambda: values_of(values.taken()) == partial)

    add(0, 3)
    for each in keyed:
        each.create(**{"snapshot.time-retained": "1 s", "snapshot.num-retained.min": "1"})
        each.job.submit()
    reach(3)
    rows.table.create_tag("ctr-v1", snapshot_id=rows.table.snapshots()[-1].id)
    tagged = rows.state(tag="ctr-v1")
    add(3, 4)
    sent = newest([row for commit in commits[:4] for row in commit])
    until(lambda: rows.state() == sent)  # as soon as it is committed
    for each in keyed:
        each.job.manager.cancel(each.job.owner.jobs[0])
    for job in (each.job for each in keyed):
        until(lambda job=job: job.running(job.owner) is None)
        restore(job, checkpoint=oldest(job))  # rows that were committed are written again
    add(4, 5)
    reach(5)
    for each in keyed:
        assert (
            each.table.snapshots()[0].id == 1
        )  # its table keeps one second, and its job expires nothing
        taken = each.expire()
        assert 1 < each.table.snapshots()[0].id <= taken
    assert rows.state(tag="ctr-v1") == tagged
    add(5, 6)
    reach(6)
    for each in keyed:
        assert faults_of(each) == {}
    delete_beside(rows)
    assert set(faults_of(rows)) == {BATCH}


def oldest(job: KeyedJob) -> str:
    """Give the oldest checkpoint that is kept of a job that ended: Flink may tell of one that is gone."""
    (ran,) = job.owner.jobs
    folder = f"{job.manager.settings()['execution.checkpointing.dir']}/{ran}"
    store = folders_of(folder, job.table.iceberg().io, table=str(job.table.name))
    names = (each.location.rstrip("/").rpartition("/")[2] for each in store.list(folder))
    found = [f"{folder}/{name}" for name in names if name.startswith("chk-")]
    whole = [each for each in found if store.exists(f"{each}/_metadata")]
    return min(whole, key=lambda each: int(each.rpartition("-")[2]))


def faults_of(keyed: Keyed) -> Mapping[str, str]:
    health = keyed.job.status().health
    assert health is not None
    return health.faults


def delete_beside(rows: Keyed) -> None:
    """Delete a row as another program does, beside the job, which knows nothing of it."""
    job, key = rows.job, min(rows.state())
    name = ".".join(f"`{part}`" for part in (CATALOG, *rows.name.split(".")))
    catalog = f"create catalog {CATALOG} with ({option_list(job.warehouse)})"
    delete = f"delete from {name} where id = {quote_text(key)}"
    job.gateway.submit((catalog, delete), properties={**SESSION, "execution.runtime-mode": "batch"})
    until(lambda: key not in rows.state())
