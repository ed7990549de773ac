"""Processes of Flink and its catalog end at the worst moments: nothing of a stream is lost or there twice."""

import time
from contextlib import nullcontext

import pytest

from headrace.definitions.load import Declarations
from headrace.errors import (
    FlinkJobLostError,
    FlinkStopError,
    RecordsMissingError,
    StreamOwnedError,
)
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.health import RESTARTS, RESTARTS_MAX
from headrace.flink.recovery import restore
from headrace.flink.session import SESSION
from headrace.standing import jobs
from headrace.standing.facts import Standing
from headrace.standing.findings import findings
from infra.launcher import run
from infra.launcher.cluster import Cluster
from tests.flink.cut_catalog import cut_catalog
from tests.flink.kills import BETWEEN, NEVER, checkpoint, failures, kill_before_a_commit
from tests.flink.servers import kill, paused, start
from tests.flink.streams import Written, until
from tests.raising import refused
from tests.waiting import wait_until

AWAY_S = 5.0

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]


@pytest.mark.parametrize("killed", [("flink_worker",), ("flink",), ("flink", "flink_worker")])
def test_killed_processes_lose_and_double_nothing(
    written: Written, cluster: Cluster, killed: tuple[str, ...]
) -> None:
    to_flink(written.job)
    written.send(350)
    written.note_until(350)
    # no checkpoint can complete; without that a kill may come at any moment of one
    held = len(killed) == 1
    with paused(cluster, "flink") if held else nullcontext():
        written.send(350, first=350)
        for name in killed:
            kill(cluster, name)
    assert not held or written.committed() == 350
    written.send(350, first=700)
    start(cluster, "flink", "flink_worker", "flink_gateway")
    if "flink" in killed:  # it keeps its jobs in memory
        with refused(FlinkJobLostError, stream=written.stream.name):
            written.job.status()
        restore(written.job)
    written.note_until(1050)
    assert written.counts() == (900, 150)
    to_headrace(written.job)
    assert written.counts() == (900, 150)


def test_a_kill_between_a_checkpoint_and_its_commit_loses_and_doubles_nothing(
    written: Written, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SESSION, "execution.checkpointing.interval", BETWEEN)
    to_flink(written.job)
    written.send(70)
    written.note_until(70)
    kill_before_a_commit(written, cluster, first=70, count=350)
    written.note_until(420)
    assert written.counts() == (360, 60)


def test_a_worker_that_hangs_is_given_up_and_doubles_nothing_when_it_goes_on(
    written: Written, cluster: Cluster
) -> None:
    to_flink(written.job)
    written.send(350)
    written.note_until(350)
    manager = written.job.manager
    with paused(cluster, "flink_worker"):
        written.send(350, first=350)
        # after 20 s of silence, by default after 50
        until(lambda: not manager.ask("/taskmanagers")["taskmanagers"])
        assert written.committed() == 350
    written.note_until(700)
    assert written.counts() == (600, 100)


def test_the_status_of_a_lake_names_a_job_that_restarts_for_ever_and_one_that_is_lost(
    written: Written, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_flink(written.job)
    written.send(70)
    written.note_until(70)
    monkeypatch.setattr(jobs, "ANSWER_S_MAX", 60.0)  # nobody waits for this status
    declared = Declarations({written.stream.name: written.stream}, {}, ())
    (well,) = jobs.read_jobs(written.lake, declared).jobs
    assert (well.state, well.trouble, well.committed > 0) == ("RUNNING", "", True)
    job, manager = written.job.owner.jobs[-1], written.job.manager
    run.stop(cluster, run.by_name("postgres"))  # the catalog: each commit fails
    written.send(70, first=70)
    until(lambda: len(failures(manager, job)) >= RESTARTS_MAX)
    start(cluster, "postgres")
    (restarts,) = jobs.read_jobs(written.lake, declared).jobs
    assert f"{RESTARTS}: " in restarts.trouble
    # a catalog that starts says so for a moment
    roots = ("java.net.ConnectException: Connection refused", "PSQLException: FATAL: the database")
    assert any(each in restarts.trouble for each in roots)
    written.note_until(140)
    manager.cancel(job)
    until(lambda: written.job.running(written.job.owner) is None)
    (lost,) = jobs.read_jobs(written.lake, declared).jobs
    (finding,) = findings(Standing(jobs=(lost,)))
    assert finding.command == f"headrace flink restore {written.stream.name}"


def test_a_commit_whose_answer_is_lost_is_not_done_twice(written: Written) -> None:
    with cut_catalog(written.lake.settings) as catalog:
        to_flink(written.job)
        written.send(70)
        written.note_until(70)
        catalog.cut("answer", away_s=0)  # the job asks again at once
        written.send(70, first=70)
        until(lambda: catalog.cuts == 1)
        written.note_until(140)
        catalog.cut("answer", away_s=AWAY_S)  # it is restored as another job
        written.send(70, first=140)
        until(lambda: catalog.cuts == 2)
        until(lambda: written.committed() > 140)
        written.job.manager.cancel(written.job.owner.jobs[-1])
        until(lambda: written.job.running(written.job.owner) is None)
        time.sleep(AWAY_S)
        restore(written.job)
        written.note_until(210)
        written.send(70, first=210)
        written.note_until(280)
    assert written.counts() == (240, 40)


def test_a_savepoint_of_which_a_commit_failed_is_restored_before_a_handover_and_never_after(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two sinks one commits: rows are missing before dead letters that are there."""
    # it is the savepoint's commit that is cut, and not that of a checkpoint shortly before
    monkeypatch.setitem(SESSION, "execution.checkpointing.interval", NEVER)
    with cut_catalog(written.lake.settings) as catalog:
        to_flink(written.job)
        written.send(70)
        until(
            lambda: checkpoint(written) and wait_until(lambda: written.committed() == 70, seconds=5)
        )
        written.note_until(70)
        written.send(70, first=70)
        catalog.cut("request", away_s=AWAY_S)
        with refused(FlinkStopError, stream=written.stream.name) as error:
            to_headrace(written.job)
        assert catalog.cuts == 1
        assert "JobNotFound" not in error.value.detail
    assert written.job.owner.savepoint
    try:
        to_headrace(written.job)
    except RecordsMissingError:
        restore(written.job)
        to_headrace(written.job)
    written.by_headrace()
    assert written.counts() == (120, 20)
    with refused(StreamOwnedError, stream=written.stream.name):
        restore(written.job)
