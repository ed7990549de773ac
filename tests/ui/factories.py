"""A small lake with one of everything a page shows, made by the library itself."""

import datetime as dt
import json
from collections.abc import Mapping

import pyarrow as pa

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.lockfile import LabelCount, LockedDay, Lockfile, Pin
from headrace.datasets.profile import ColumnProfile
from headrace.definitions.load import load_streams
from headrace.definitions.properties import MODEL_COLUMNS
from headrace.identifiers import TableName
from headrace.ingest.run import ingest
from headrace.samples.resolve import Recipe, ResolvedFeature
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow, ViewState
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.refs.refs import tag
from headrace.tables.writer import write_batches

START = dt.datetime(2019, 11, 24, tzinfo=dt.UTC)
UTC_US = pa.timestamp("us", tz="UTC")
FEATURE = pa.schema(
    [
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("event_time", UTC_US, nullable=False),
        pa.field("known_at", UTC_US, nullable=False),
        pa.field("ctr_1d", pa.float64()),
    ]
)

RECIPE = Recipe(
    name="ctr",
    table="samples.ctr",
    exposures="staging.impressions",
    id="impression_id",
    at="event_time",
    entities=("item_id",),
    columns=("recent",),
    features=(
        ResolvedFeature(
            view="features.item_ctr",
            name="item_ctr",
            entity=("item_id",),
            event_time="event_time",
            known_at="known_at",
            columns=(("ctr_1d", "ctr_1d"),),
            order=("ctr_1d",),
            ttl_us=None,
            delay_us=0,
        ),
    ),
    labels=(),
)


def impression(number: int, **changes: object) -> dict[str, object]:
    at = START + dt.timedelta(hours=number)
    return {
        "impression_id": f"bts/all/{number}",
        "shown_at": at.isoformat(),
        "policy": "bts",
        "campaign": "all",
        "item_id": number % 3,
        "position": 1,
        "user_segment": "s1",
        **changes,
    }


def write_impressions(settings: Settings, name: str, *records: object) -> None:
    folder = settings.data_dir / "impressions"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record) for record in records]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def derive(
    lake: Lake,
    name: str,
    *inputs: LakeTable,
    hours: int = 30,
    properties: Mapping[str, str] | None = None,
) -> LakeTable:
    """Commit a table that says it was computed from the heads of `inputs`."""
    table = lake.create(
        TableName.parse(name), FEATURE, partition_by=["day(event_time)"], properties=properties
    )
    times = [START + dt.timedelta(hours=hour) for hour in range(hours)]
    rows = pa.record_batch(
        {
            "item_id": pa.array([hour % 3 for hour in range(hours)], pa.int64()),
            "event_time": pa.array(times, UTC_US),
            "known_at": pa.array(times, UTC_US),
            "ctr_1d": [hour / 100 for hour in range(hours)],
        },
        schema=FEATURE,
    )
    heads = {str(each.name): each.head().snapshot_id or 0 for each in inputs}
    operations.append(
        table,
        write_batches(table, [rows]),
        provenance=operations.Provenance(inputs=heads, code="c0de", run_id="run-1"),
    )
    return table


def fill(lake: Lake, *, dataset_versions: int = 2) -> None:
    """Make streams with dead letters and small files, features, samples, versions, a store.

    The last impressions come after the features were computed, so these are one commit behind.
    """
    settings = lake.settings
    streams = load_streams(settings)
    for hour in range(6):
        write_impressions(
            settings, f"{hour}", impression(hour), impression(hour + 24, item_id="not a number")
        )
        ingest(lake, streams["impressions"], run_id="first")
    raw = lake.table("raw.impressions")
    staging = derive(lake, "staging.impressions", raw)
    traced = {"ctr_1d": [("staging.impressions", "item_id")]}
    recorded = {MODEL_COLUMNS: json.dumps(traced)}
    features = derive(lake, "features.item_ctr", staging, properties=recorded)
    samples = derive(lake, "samples.ctr", staging, features)
    write_impressions(settings, "late", impression(30))
    ingest(lake, streams["impressions"])
    for number in range(1, dataset_versions + 1):
        publish(lake, samples, features, version=number)
    with SQLiteOnlineStore(settings.online_store) as store:
        snapshot_id = features.head().snapshot_id or 0
        store.put(_view_state(snapshot_id), [_online_row(item) for item in range(3)])


def publish(lake: Lake, samples: LakeTable, features: LakeTable, *, version: int) -> None:
    """Record a version; each next one has a day more and another hash of its first day."""
    at, read = samples.head().snapshot_id or 0, features.head().snapshot_id or 0
    name = f"ctr-v{version}"
    tag(samples, name, snapshot_id=at)
    tag(features, name, snapshot_id=read)
    days = tuple(
        LockedDay(
            day=(START + dt.timedelta(days=day)).date(),
            rows=24,
            content_hash=f"{version if day == 0 else 0:08x}",
            inputs={"features.item_ctr": read + (version if day == 0 else 0)},
            watermarks={},
        )
        for day in range(version)
    )
    lock = Lockfile(
        name="ctr",
        version=version,
        table="samples.ctr",
        snapshot_id=at,
        first_day=days[0].day,
        last_day=days[-1].day,
        filter_labels="mature",
        left_out=(),
        columns={"item_id": "int", "ctr_1d": "float", "recent": "list<int>", "click": "int"},
        approximate=(),
        code="c0de",
        definition=json.loads(RECIPE.to_json()),
        watermarks={"staging.clicks": 1_574_000_000_000_000},
        rows=24 * version,
        labels=(
            LabelCount(label="click", state="mature", value="positive", rows=version),
            LabelCount(label="click", state="mature", value="zero", rows=23 * version),
        ),
        content_hash=f"{version:032x}",
        days=days,
        pins=(
            Pin(table="samples.ctr", snapshot_id=at, tag=name),
            Pin(table="features.item_ctr", snapshot_id=read, tag=name),
        ),
        created_at=START,
        headrace_version="0.1.0",
        profiles={
            "ctr_1d": ColumnProfile(
                rows=24 * version,
                nulls=0,
                mean=float(version),
                deviation=0.5,
                buckets={f"{version}": 24 * version},
            ),
            "item_id": ColumnProfile(
                rows=24 * version, nulls=0, mean=1.0, deviation=0.8, buckets={"0": 24 * version}
            ),
        },
    )
    assert lake.registry.claim_dataset("ctr", version, lockfile=lock.to_json())
    lake.registry.settle_dataset("ctr", version, state="published")


def _view_state(snapshot_id: int) -> ViewState:
    return ViewState(
        view="features.item_ctr",
        entity=("item_id",),
        columns=("ctr_1d",),
        schema=pa.schema([("item_id", pa.int64()), ("ctr_1d", pa.float64())]),
        ttl=None,
        delay=dt.timedelta(0),
        snapshot_id=snapshot_id,
        as_of=START,
        published_at=START,
    )


def _online_row(item: int) -> OnlineRow:
    return OnlineRow(key=(item,), event_time=START, known_at=START, values=(0.1,))
