"""The simulator knows what serving knew and how each label ended: the built samples say the same."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.load import load_sample_sets, load_streams
from headrace.definitions.sample_set import SampleSet
from headrace.engines.duckdb import DuckDBEngine
from headrace.identifiers import TableName, quote
from headrace.ingest.run import ingest
from headrace.samples.audit import duplicate_ids, leaks
from headrace.samples.build import build
from headrace.samples.inspect import inspect_sample
from headrace.simulate.plan import SimulationPlan
from headrace.simulate.run import simulate
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of traffic with duplicates, late events and late features."""
    folder = tmp_path_factory.mktemp("river") / "sim"
    plan = SimulationPlan(impressions=12_000, seed=11, days=4, files_per_stream=3)
    simulate(folder, plan)
    return folder


def stage(lake: Lake, stream: str, *, key: str) -> None:
    """Keep the first arrival of each event, as the staging models do."""
    source = lake.table(f"raw.{stream}").head()
    target = lake.create(
        TableName("staging", stream), source.schema, partition_by=["day(event_time)"]
    )
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("source", source)
        sql = (
            f"select * from source qualify row_number() over (partition by {quote(key)} "
            "order by known_at, _source, _source_partition, _source_offset) = 1"
        )
        files = engine.write(sql, into=target)
    inputs = {str(source.name): source.snapshot_id or 0}
    operations.append(target, files, provenance=Provenance(inputs=inputs, code="first arrival"))


def test_built_samples_are_the_simulators_truth_features_and_labels_included(
    simulated: Path,
) -> None:
    settings = Settings.load(env={}, path=simulated / "lake" / "lake.toml")
    with Lake.open(settings) as lake:
        for stream in load_streams(settings).values():
            ingest(lake, stream)
        stage(lake, "impressions", key="impression_id")
        stage(lake, "clicks", key="click_id")
        watch = load_sample_sets(settings)["watch"]
        # the other features come from dbt models, which have their own tests
        features = [use for use in watch.features if str(use.view) == "raw.user_state"]
        sample_set = SampleSet.model_validate({**dict(watch), "features": tuple(features)})
        result = build(lake, sample_set)
        version = lake.table(sample_set.table).head()
        assert leaks(version, settings=settings).count == 0
        assert duplicate_ids(version, settings=settings).count == 0

        truth = pq.read_table(simulated / "truth" / "impressions.parquet").to_pylist()
        only_known = {"impression_id", "known_at", "click_probability"}
        names = [name for name in truth[0] if name not in only_known]
        expected = {row["impression_id"]: {name: row[name] for name in names} for row in truth}
        rows = version.to_arrow().to_pylist()
        found = {row["sample_id"]: {name: row[name] for name in names} for row in rows}
        assert found == expected
        assert result.rows == len(truth)

        states = {row["label_state"] for row in rows}
        assert {"mature", "pending"} <= states
        without_state = [name for name in expected if not expected[name]["user_state__event_time"]]
        assert 0 < len(without_state) < len(truth)  # both cases are there

        shown = inspect_sample(lake, [sample_set.table], rows[-1]["sample_id"])
        assert shown.labels[0].state == "pending"
        assert shown.features[0].snapshot_id == lake.table("raw.user_state").head().snapshot_id
