"""Events at the very edges of windows, with which jobs are compared, and what the batch build makes of them."""

import datetime as dt
from pathlib import Path

from headrace.api import Lake
from headrace.clock import ONE_US
from infra.launcher.cluster import Cluster
from tests.flink.events import NOON, events
from tests.flink.sample_events import EDGES, Sampled, happened
from tests.samples.factories import settings_in

HOP = dt.timedelta(seconds=10)


def test_an_action_counts_from_its_exposure_to_before_the_end_of_a_window(tmp_path: Path) -> None:
    shown, taps = happened(20, seconds=20, seed=1)
    with Lake.open(settings_in(tmp_path)) as lake:
        sampled = Sampled.make(lake, Cluster(tmp_path / "none"), "things")
        sampled.add(shown, taps)
        sampled.heartbeats(shown[-1], taps[-1])
        built = sampled.built(sampled.sample_set("any")).to_pylist()
    apart = {each["shown_id"]: each["event_time"] for each in taps if "edge" in each["tap_id"]}
    found = {
        apart[each["sample_id"]] - each["event_time"]: (each["tap"], each["taps"])
        for each in built
        if each["sample_id"] in apart
    }
    twenty, thirty = dt.timedelta(seconds=20), dt.timedelta(seconds=30)
    assert found == {each: (int(each < thirty), int(each < twenty)) for each in EDGES}
    assert set(EDGES) >= {twenty - 1000 * ONE_US, twenty, thirty - 1000 * ONE_US, thirty}


def test_events_of_views_lie_at_the_ends_of_tiles_and_a_microsecond_before() -> None:
    sent = events(1500, seconds=600, seed=5)  # as in `test_view_job`
    for time in ("event_time", "known_at"):
        after = {(each[time] - NOON) % HOP for each in sent if each["u"] is not None}
        assert {dt.timedelta(0), ONE_US, HOP - ONE_US} <= after
