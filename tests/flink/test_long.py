"""The long forms of kills and handovers of a stream that Flink writes: `make proofs-flink`."""

import random
import time
from contextlib import nullcontext

import pytest

from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.recovery import restore
from headrace.flink.session import SESSION
from infra.launcher.cluster import Cluster
from tests.flink.kills import BETWEEN, kill_before_a_commit
from tests.flink.servers import kill, paused, start
from tests.flink.streams import Written

pytestmark = [pytest.mark.flink, pytest.mark.proof, pytest.mark.timeout(1800)]
KILLS, ROUND_TRIPS = 5, 20
COUNT = 350  # a seventh of it malformed


@pytest.mark.parametrize("killed", [("flink_worker",), ("flink",), ("flink", "flink_worker")])
def test_processes_that_are_killed_again_and_again_lose_and_double_nothing(
    written: Written, cluster: Cluster, killed: tuple[str, ...]
) -> None:
    to_flink(written.job)
    sent = 0
    for number in range(KILLS):
        written.send(COUNT, first=sent)
        sent += COUNT
        if not number:  # a first checkpoint is there to start from
            written.note_until(sent)
        held = number % 2 == 0
        with paused(cluster, "flink") if held else nullcontext():
            written.send(COUNT, first=sent)
            if not held:  # at any moment of a checkpoint and its commit
                time.sleep(random.uniform(0, 5))
            for name in killed:
                kill(cluster, name)
        # what came while no checkpoint could complete is in no table
        assert not held or written.committed() <= sent
        written.send(COUNT, first=sent + COUNT)
        sent += 2 * COUNT
        start(cluster, "flink", "flink_worker", "flink_gateway")
        if "flink" in killed:
            restore(written.job)
        # at times it is killed before it has caught up
    written.note_until(sent, seconds=300)
    assert written.counts() == (sent * 6 // 7, sent // 7)
    to_headrace(written.job)
    assert written.counts() == (sent * 6 // 7, sent // 7)


def test_kills_between_a_checkpoint_and_its_commit_lose_and_double_nothing(
    written: Written, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SESSION, "execution.checkpointing.interval", BETWEEN)
    to_flink(written.job)
    written.send(COUNT)
    written.note_until(COUNT)
    for number in range(1, KILLS + 1):
        kill_before_a_commit(written, cluster, first=number * COUNT, count=COUNT)
        written.note_until((number + 1) * COUNT, seconds=300)
    sent = (KILLS + 1) * COUNT
    to_headrace(written.job)
    assert written.counts() == (sent * 6 // 7, sent // 7)


def test_twenty_round_trips_lose_and_double_nothing(written: Written) -> None:
    sent = 0
    for trip in range(ROUND_TRIPS):
        assert to_flink(written.job).epoch == 2 * trip + 1
        written.send(COUNT, first=sent, transactional=trip % 2 == 1)
        sent += COUNT
        if trip % 4:  # else headrace takes what the job did not
            written.note_until(sent)
        assert to_headrace(written.job).epoch == 2 * trip + 2
        written.send(COUNT, first=sent)
        sent += COUNT
        written.by_headrace()
        assert written.counts() == (sent * 6 // 7, sent // 7)
