"""Simulated traffic in topics: the records and the truth are those of the files."""

import re
from collections import Counter
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.errors import TopicNotEmptyError
from headrace.ingest.run import ingest
from headrace.simulate.plan import SimulationPlan
from headrace.simulate.run import Topics, simulate
from tests.ingest.factories import dead_of, rows_of
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.slow
PLAN = SimulationPlan(impressions=1_000, seed=3, days=1)


def test_topics_hold_what_the_files_would_and_a_second_run_is_refused(tmp_path: Path) -> None:
    with MockKafka() as cluster:
        for stream in ("impressions", "watches", "user_state"):
            cluster.create(stream, 2)  # it makes none when asked through the protocol
        topics = Topics(servers=cluster.servers, partitions=2)
        found = _ingested(tmp_path / "topics", topics, cluster)
        with pytest.raises(TopicNotEmptyError):
            simulate(tmp_path / "again", PLAN, topics=topics)
    assert found == _ingested(tmp_path / "files", None, None)


def _ingested(
    folder: Path, topics: Topics | None, cluster: MockKafka | None
) -> tuple[list[str], Counter[str]]:
    simulate(folder, PLAN, topics=topics)
    env = {} if cluster is None else {"HEADRACE_KAFKA_SERVERS": cluster.servers}
    settings = Settings.load(env=env, path=folder / "lake" / "lake.toml")
    stream = load_streams(settings)["impressions"]
    with Lake.open(settings) as lake:
        ingest(lake, stream)
        ids = rows_of(lake, stream)["impression_id"].to_pylist()
        refused = dead_of(lake, stream)["error_code"].to_pylist()
    return sorted(ids), Counter(re.sub(r"\d+", "", each) for each in refused)
