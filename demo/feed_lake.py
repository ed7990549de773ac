"""The lake of the demo's second act: a simulated feed, its declarations, tables and dataset version."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.publish import publish
from headrace.datasets.versions import Dataset, load_dataset
from headrace.definitions.load import load_sample_sets, load_streams
from headrace.definitions.sample_set import SampleSet
from headrace.ingest.run import ingest
from headrace.samples.build import build
from headrace.simulate.plan import SimulationPlan
from headrace.simulate.run import simulate

IMPRESSIONS, DAYS, SEED = 240_000, 6, 16
FILES_PER_STREAM = 12
SAMPLE_SET, LOG = "feed", "served"

_SAMPLES = """\
# Will this person click this item here? Read from the streams themselves, without what came twice.
samples: feed
table: samples.feed
exposures:
  table: raw.impressions
  id: impression_id
  entities: [user_id, campaign, item_id]
  columns: [position, affinity_items]
features:
  - {view: raw.user_state, columns: [sessions_7d, watch_seconds_7d], prefix: user_}
  - {view: features.item_shown, columns: [shown_1d, shown_3d], prefix: item_}
  - {view: features.item_clicked, columns: [clicks_1d, clicks_3d], prefix: item_}
labels:
  - {name: click, stream: raw.clicks, window: 30m, value: exists}
partition_by: day
"""
_SHOWN = """\
view: features.item_shown
events: raw.impressions
entity: [campaign, item_id]
hop: 1h
stale_after: 1d
aggregates:
  - {name: shown, take: count, windows: [1d, 3d]}
"""
_CLICKED = """\
view: features.item_clicked
events: raw.clicks
entity: [campaign, item_id]
hop: 1h
stale_after: 1d
aggregates:
  - {name: clicks, take: count, windows: [1d, 3d]}
"""
_LOG = """\
# What the server answered, ingested as any stream: `headrace skew feed served` replays it.
stream: served
table: raw.served
source: {files: "served/*.jsonl", complete_files: true}
format: json
event_time: served_at
fields:
  request_id: {type: string, required: true}
  row:        {type: int, required: true}
  served_at:  {type: timestamptz, required: true}
  at:         {type: timestamptz, required: true}
  sample_set: {type: string, required: true}
  user_id:    {type: long}
  campaign:   {type: string}
  item_id:    {type: long}
  score:      {type: double}
  model:      {type: string}
  took_ms:    {type: double}
  values:     {type: string, required: true}
  views:      {type: string, required: true}
"""
_DECLARED = {
    "samples/feed.yaml": _SAMPLES,
    "windows/item_shown.yaml": _SHOWN,
    "windows/item_clicked.yaml": _CLICKED,
    "streams/served.yaml": _LOG,
}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A feed of the simulator, and the settings of its lake."""

    folder: Path
    settings: Settings

    @property
    def truth(self) -> Path:
        """The file that has the probability of each click."""
        return self.folder / "truth" / "impressions.parquet"

    @property
    def sample_set(self) -> SampleSet:
        """The declaration that the model is trained on."""
        return load_sample_sets(self.settings)[SAMPLE_SET]


def simulated(folder: Path, *, impressions: int) -> Feed:
    """Write the feed, once; it appears whole."""
    if not folder.exists():
        draft = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(draft, ignore_errors=True)
        plan = SimulationPlan(
            impressions=impressions, seed=SEED, days=DAYS, files_per_stream=FILES_PER_STREAM
        )
        simulate(draft, plan)
        lake = draft / "lake"
        (lake / "samples" / "watch.yaml").unlink()  # its features are models of dbt
        for name, text in _DECLARED.items():
            (lake / name).parent.mkdir(exist_ok=True)
            (lake / name).write_text(text)
        draft.rename(folder)
    return Feed(folder=folder, settings=Settings.load(env={}, path=folder / "lake" / "lake.toml"))


def take_in(lake: Lake, feed: Feed) -> int:
    """Take all records of all streams into their tables; return how many there are."""
    streams = [each for name, each in load_streams(feed.settings).items() if name != LOG]
    for stream in streams:
        ingest(lake, stream)
    return sum(lake.table(stream.table).head().row_count for stream in streams)


def join(lake: Lake, feed: Feed) -> Dataset:
    """Build the samples of each day, and publish those whose labels are final."""
    build(lake, feed.sample_set)
    done = publish(lake, feed.sample_set)
    return load_dataset(lake, SAMPLE_SET, done.lock.version)
