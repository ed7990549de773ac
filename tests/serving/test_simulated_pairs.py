"""100,000 random pairs of entity and time of the simulator: what is served is what training computes."""

import datetime as dt
import random
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.load import load_streams, load_window_views
from headrace.definitions.sample_set import SampleSet
from headrace.identifiers import TableName
from headrace.ingest.run import ingest
from headrace.samples.build import build
from headrace.serving.publish import publish_view
from headrace.serving.publish_windows import publish_windows
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.values import plain
from headrace.serving.vectors import lookup_vectors
from headrace.simulate.plan import SimulationPlan
from headrace.simulate.run import simulate
from tests.amounts import seed_of_today
from tests.serving.conftest import add

pytestmark = pytest.mark.slow
START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
ASKED = TableName("pairs", "asked")
USER_STATE = TableName("raw", "user_state")
WINDOWS = """\
view: features.item_clicked
events: raw.clicks
entity: [campaign, item_id]
hop: 1h
lateness: 12h
stale_after: 1d
aggregates:
  - {name: clicks, take: count, windows: [6h, 1d]}
  - {name: segments, take: distinct, of: user_segment, windows: [1d]}
  - {name: places, take: last, of: position, keep: 3, windows: [1d]}
"""
SET = {
    "samples": "pairs",
    "table": "samples.pairs",
    "exposures": {
        "table": str(ASKED),
        "id": "pair_id",
        "entities": ["user_id", "campaign", "item_id"],
    },
    "features": [
        {"view": str(USER_STATE), "columns": ["sessions_7d", "watch_seconds_7d"]},
        {
            "view": "features.item_clicked",
            "columns": ["clicks_6h", "clicks_1d", "segments_1d", "places_1d"],
        },
    ],
    "partition_by": "day",
}
SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("known_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("campaign", pa.string(), nullable=False),
        pa.field("item_id", pa.int64(), nullable=False),
    ]
)


def check_pairs(folder: Path, *, impressions: int, moments: int, each: int) -> None:
    """Publish as of random moments in order, ask for random entities, and build the same pairs."""
    draw = random.Random(seed_of_today())
    plan = SimulationPlan(impressions=impressions, seed=9, days=3, files_per_stream=6)
    simulate(folder / "sim", plan)
    declarations = folder / "sim" / "lake"
    (declarations / "windows").mkdir()
    (declarations / "windows" / "item_clicked.yaml").write_text(WINDOWS)
    settings = Settings.load(env={}, path=declarations / "lake.toml")
    use = SampleSet.model_validate(SET)
    times = sorted(
        START + dt.timedelta(microseconds=draw.randrange(2 * 86_400_000_000, 3 * 86_400_000_000))
        for _ in range(moments)
    )
    served: dict[str, dict[str, object]] = {}
    with Lake.open(settings) as lake, SQLiteOnlineStore(folder / "online.db") as store:
        for stream in load_streams(settings).values():
            ingest(lake, stream)
        asked = lake.create(ASKED, SCHEMA, partition_by=["day(event_time)"])
        (windows,) = load_window_views(settings).values()
        for number, now in enumerate(times):
            publish_view(lake, store, lake.table(USER_STATE).head(), as_of=now)
            publish_windows(lake, store, windows, lake.table(windows.events).head(), as_of=now)
            entities = [
                {
                    "user_id": 1_000 + draw.randrange(plan.users + 5),
                    "campaign": draw.choice(("home", "search")),
                    "item_id": draw.randrange(plan.items + 2),
                }
                for _ in range(each)
            ]
            names = [f"{number}/{at}" for at in range(each)]
            found = lookup_vectors(store, use.features, entities, at=now).columns()
            for at, name in enumerate(names):
                served[name] = {column: plain(values[at]) for column, values in found.items()}
            rows = [
                {"pair_id": name, "event_time": now, "known_at": now, **entity}
                for name, entity in zip(names, entities, strict=True)
            ]
            add(asked, rows)
        build(lake, use)
        samples = lake.table(use.table).head().to_arrow().to_pylist()
    assert len(samples) == len(served) == moments * each
    columns = list(next(iter(served.values())))
    wrong = [
        (row["sample_id"], served[row["sample_id"]])
        for row in samples
        if {column: plain(row[column]) for column in columns} != served[row["sample_id"]]
    ]
    assert wrong == []
    for column in columns:  # a comparison of nothing would prove nothing
        assert len({str(values[column]) for values in served.values()}) > 3, column


def test_random_pairs_of_the_simulator_are_served_as_they_are_trained_on(tmp_path: Path) -> None:
    check_pairs(tmp_path, impressions=6_000, moments=3, each=300)


@pytest.mark.proof
def test_a_hundred_thousand_pairs_of_the_simulator_are(tmp_path: Path) -> None:
    check_pairs(tmp_path, impressions=60_000, moments=20, each=5_000)
