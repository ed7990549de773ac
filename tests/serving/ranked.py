"""A small ranking model and the views it reads, for tests and benchmarks of the server."""

import datetime as dt
import json
from dataclasses import replace

import pyarrow as pa
import torch

from headrace.datasets.lockfile import Lockfile
from headrace.definitions.sample_set import SampleSet
from headrace.loading import Batch, FeatureSpec
from headrace.samples.resolve import Recipe, ResolvedFeature
from headrace.serving.store import OnlineRow, ViewState

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
LARGE = 2**53 + 1
USERS = ViewState(
    view="features.users",
    entity=("user_id",),
    columns=("clicks", "liked"),
    schema=pa.schema(
        [
            pa.field("user_id", pa.int64()),
            pa.field("clicks", pa.int64()),
            pa.field("liked", pa.list_(pa.int64())),
        ]
    ),
    ttl=dt.timedelta(hours=1),
    delay=dt.timedelta(0),
    snapshot_id=LARGE,
    as_of=START,
    published_at=START,
)
ITEMS = replace(
    USERS,
    view="features.items",
    entity=("item_id",),
    columns=("ctr", "brand"),
    schema=pa.schema(
        [
            pa.field("item_id", pa.int64()),
            pa.field("ctr", pa.float32()),
            pa.field("brand", pa.string()),
        ]
    ),
    ttl=None,
)
SET = SampleSet.model_validate(
    {
        "samples": "feed",
        "table": "samples.feed",
        "exposures": {
            "table": "raw.shown",
            "id": "shown_id",
            "entities": ["user_id", "item_id"],
            "columns": ["position"],
        },
        "features": [
            {"view": USERS.view, "columns": ["clicks", "liked"], "prefix": "user_"},
            {"view": ITEMS.view, "columns": ["ctr", "brand"]},
        ],
    }
)
SPEC = FeatureSpec(
    dense=["user_clicks", "ctr"], sparse=["item_id", "brand", "position"], sequence=["user_liked"]
)
TYPES = pa.schema(
    [
        pa.field("user_clicks", pa.int64()),
        pa.field("ctr", pa.float32()),
        pa.field("item_id", pa.int64()),
        pa.field("brand", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("user_liked", pa.list_(pa.int64())),
    ]
)
AT = START + dt.timedelta(minutes=30)


def resolved(state: ViewState, prefix: str = "") -> ResolvedFeature:
    return ResolvedFeature(
        view=state.view,
        name=state.view,
        entity=state.entity,
        columns=tuple((name, prefix + name) for name in state.columns),
        event_time="event_time",
        known_at="known_at",
        ttl_us=None if state.ttl is None else state.ttl // dt.timedelta(microseconds=1),
        delay_us=0,
        order=(),
    )


RECIPE = Recipe(
    name="feed",
    table="samples.feed",
    exposures="raw.shown",
    id="shown_id",
    at="event_time",
    entities=("user_id", "item_id"),
    columns=("position",),
    features=(resolved(USERS, "user_"), resolved(ITEMS)),
    labels=(),
)


class Model(torch.nn.Module):
    """Reads every role: numbers, ids, a list."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(64, 4)
        self.bag = torch.nn.EmbeddingBag(64, 4, mode="sum", include_last_offset=True)
        self.last = torch.nn.Linear(len(SPEC.dense) + 16, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        liked = batch.sequence["user_liked"]
        ids = [self.table(batch.sparse[name] % 64) for name in SPEC.sparse]
        parts = [batch.dense.log1p(), *ids, self.bag(liked.values % 64, liked.offsets)]
        return self.last(torch.cat(parts, dim=1)).squeeze(1)


def lockfile() -> Lockfile:
    return Lockfile(
        name="feed",
        version=3,
        table="samples.feed",
        snapshot_id=1,
        first_day=START.date(),
        last_day=START.date(),
        filter_labels="mature",
        left_out=(),
        columns={},
        approximate=(),
        code=RECIPE.code,
        definition=json.loads(RECIPE.to_json()),
        watermarks={},
        rows=1,
        labels=(),
        content_hash="1",
        days=(),
        pins=(),
        created_at=START,
        headrace_version="1",
    )


def user(number: int) -> OnlineRow:
    return _row((number,), (number, (number, 7)))


def item(number: int) -> OnlineRow:
    return _row((number,), (number / 64, f"brand {number}"))


def _row(key: tuple[int, ...], values: tuple[object, ...]) -> OnlineRow:
    return OnlineRow(key=key, event_time=START, known_at=START, values=values)  # pyright: ignore[reportArgumentType]
