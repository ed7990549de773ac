"""Flink writes samples as they become known: once they are mature, they are those of the batch build."""

import uuid
from collections.abc import Iterator

import pytest

from headrace.api import Lake
from headrace.flink.recovery import restore
from headrace.flink.stopping import stop_with_savepoint
from infra.launcher.cluster import Cluster
from tests.flink.events import NOON
from tests.flink.sample_events import Sampled, content_of, happened
from tests.flink.servers import cancel_all, kill, start
from tests.flink.streams import until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]
WRONG_CLOCK = NOON.replace(year=NOON.year + 100)


@pytest.fixture
def sampled(flink_lake: Lake, cluster: Cluster) -> Iterator[Sampled]:
    """Two streams; jobs of their sample sets are cancelled afterwards."""
    made = Sampled.make(flink_lake, cluster, f"s{uuid.uuid4().hex[:10]}")
    yield made
    cancel_all(made.job(made.sample_set("any")).manager, f"headrace samples.{made.shown.name}")


def test_samples_are_those_of_the_batch_build_also_when_killed_and_restored(
    sampled: Sampled, cluster: Cluster
) -> None:
    shown, taps = happened(400, seconds=300, seed=11)
    thinned = sampled.sample_set("thinned", keep_negatives={"rate": 0.5, "salt": "s"})
    sampled.add(shown[:5], taps[:5])
    sampled.job(thinned).submit()
    sampled.add(shown[5:150], taps[5:150])
    kill(cluster, "flink_worker")
    start(cluster, "flink_worker")
    job = sampled.job(thinned)
    # as where this process, or the JobManager, ends before that is written down
    assert stop_with_savepoint(job.manager, job.owner.jobs[-1]).savepoint
    sampled.add(shown[150:], taps[150:300])
    restore(sampled.job(thinned))
    sampled.add([], taps[300:])
    sampled.heartbeats(shown[-1], taps[-1])
    wanted = sampled.built(thinned)
    assert set(wanted["label_state"].to_pylist()) == {"mature", "corrected"}
    assert set(wanted["tap"].to_pylist()) == {0, 1}
    sampled.wait_for(thinned, wanted)
    assert content_of(sampled.live(thinned)) == content_of(wanted)
    states = {each["label_state"] for each in sampled.revisions(thinned)}
    assert states == {"pending", "mature", "corrected"}
    found = sampled.job(thinned).check().health
    assert found is not None
    assert not found.faults


def test_values_of_actions_are_those_of_the_batch_build_also_after_a_lost_job(
    sampled: Sampled,
) -> None:
    shown, taps = happened(200, seconds=200, seed=12)
    label = {
        "name": "force",
        "stream": str(sampled.taps.table),
        "key": "shown_id",
        "value": "force",
        "window": "30s",
    }
    forces = sampled.sample_set("forces", labels=[label])
    sampled.add(shown[:5], taps[:5])
    job = sampled.job(forces)
    job.submit()
    # it makes no other action late
    sampled.add([], [{**taps[0], "tap_id": "wrong", "shown_id": None, "known_at": WRONG_CLOCK}])
    sampled.add(shown[5:100], taps[5:100])
    job.manager.cancel(job.owner.jobs[-1])
    sampled.add(shown[100:], taps[100:])
    until(lambda: job.running(job.owner) is None)
    assert job.begin_again().epoch == 2
    sampled.heartbeats(shown[-1], taps[-1])
    wanted = sampled.built(forces)
    sampled.wait_for(forces, wanted)
    assert content_of(sampled.live(forces)) == content_of(wanted)
