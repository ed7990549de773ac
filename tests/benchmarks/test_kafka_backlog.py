"""What the benchmark of a backlog says comes from the reports of the service, from its first commit on."""

import pytest

from benchmarks.kafka_backlog import Followed, Look


def test_the_figures_of_a_backlog_are_of_the_time_between_two_commits() -> None:
    looks = [
        Look(at_s=0.0, lag=1_000, taken=100, committed_s=10.0, cpu_s=1.0),
        Look(at_s=1.0, lag=900, taken=100, committed_s=10.0, cpu_s=1.5),
        Look(at_s=2.0, lag=900, taken=300, committed_s=12.0, cpu_s=2.0),
        Look(at_s=5.0, lag=600, taken=700, committed_s=14.0, cpu_s=3.0),
    ]
    found = Followed(looks=looks, commits_s=[0.1, 0.2], peak_rss_mib=500.0)
    assert found.rate == (700 - 100) / (14 - 10)
    assert found.cpu_us == pytest.approx((3 - 1) / (1_000 - 600) * 1e6)
    assert found.still_s == 5 - 1  # the lag stood still, then fell
