"""The stages of the river as contenders: each does once, on one lake, what a deployment does.

The lake's state is in its folder, or where `env` says, as the variables that `make cluster-env` prints.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Rounds

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.loading import FeatureSpec

SAMPLE_SET = "watch"
BATCH_SIZE = 4_096


def settings_of(lake: str, env: Mapping[str, str] | None = None) -> "Settings":
    """Read the settings of a simulated lake, whatever the environment of this process says."""
    from headrace.config import Settings

    return Settings.load(env=env or {}, path=Path(lake) / "lake" / "lake.toml")


def spec() -> "FeatureSpec":
    """Say what a click model would read of the samples: 8 numbers, 6 ids, a list, two labels."""
    from headrace.loading import FeatureSpec

    return FeatureSpec(
        dense=[
            "sessions_7d",
            "watch_seconds_7d",
            "item_impressions_1d",
            "item_clicks_1d",
            "item_ctr_1d",
            "item_ctr_7d",
            "segment_impressions_1d",
            "segment_clicks_1d",
        ],
        sparse=["user_id", "campaign", "item_id", "user_segment", "policy", "position"],
        sequence=["affinity_items"],
        label=["click", "long_watch"],
        weight="keep_rate",
    )


def ingest(*, lake: str, folder: str, env: Mapping[str, str] | None = None) -> Rounds:
    """Take every file of every stream."""
    from headrace.api import Lake
    from headrace.definitions.load import load_streams
    from headrace.ingest.run import ingest as take

    _ = folder
    settings = settings_of(lake, env)
    with Lake.open(settings) as opened:
        streams = load_streams(settings).values()
        yield {}
        done = [take(opened, stream) for stream in streams]
        yield {
            "rows": sum(one.rows for one in done),
            "commits": sum(one.commits for one in done),
            "dead_letters": sum(one.dead_letters for one in done),
        }


def features(*, lake: str, folder: str, env: Mapping[str, str] | None = None) -> Rounds:
    """Run dbt from scratch: staging and features, with the tests of both."""
    from headrace.integrations.dbt_build import build_features

    _ = folder
    settings = settings_of(lake, env)
    yield {}
    built = build_features(settings)
    yield {"rows": sum(model.rows for model in built.models), "commits": len(built.models)}


def compaction(*, lake: str, folder: str, env: Mapping[str, str] | None = None) -> Rounds:
    """Put the small files of every table together."""
    from headrace.api import Lake
    from headrace.maintenance.compaction.compact import compact

    _ = folder
    with Lake.open(settings_of(lake, env)) as opened:
        names = opened.names()
        yield {}
        done = [compact(opened.table(name)) for name in names]
        yield {
            "rows": sum(one.rows for one in done),
            "files_before": sum(one.files_before for one in done),
            "files_after": sum(one.files_after for one in done),
        }


def samples(*, lake: str, folder: str, env: Mapping[str, str] | None = None) -> Rounds:
    """Build every day of the sample set: three feature views, two labels."""
    from headrace.api import Lake
    from headrace.definitions.load import load_sample_sets
    from headrace.samples.build import build

    _ = folder
    settings = settings_of(lake, env)
    with Lake.open(settings) as opened:
        sample_set = load_sample_sets(settings)[SAMPLE_SET]
        yield {}
        built = build(opened, sample_set)
        yield {"rows": built.rows, "commits": len(built.built)}


def publish(*, lake: str, folder: str, env: Mapping[str, str] | None = None) -> Rounds:
    """Publish all days as a dataset version, those with pending labels too."""
    from headrace.api import Lake
    from headrace.datasets.publish import publish as make
    from headrace.definitions.load import load_sample_sets

    _ = folder
    settings = settings_of(lake, env)
    with Lake.open(settings) as opened:
        sample_set = load_sample_sets(settings)[SAMPLE_SET]
        yield {}
        yield {"rows": make(opened, sample_set, allow_pending=True).lock.rows}


def epoch(*, lake: str, folder: str, env: Mapping[str, str] | None = None) -> Rounds:
    """Load one shuffled epoch as tensors."""
    from headrace.api import Lake
    from headrace.datasets.versions import load_dataset
    from headrace.loading import SampleLoader, Shuffle

    _ = folder
    with Lake.open(settings_of(lake, env)) as opened:
        dataset = load_dataset(opened, SAMPLE_SET)
        with SampleLoader(dataset, spec=spec(), batch_size=BATCH_SIZE, shuffle=Shuffle()) as loader:
            yield {}
            yield {"rows": sum(len(batch) for batch in loader)}
