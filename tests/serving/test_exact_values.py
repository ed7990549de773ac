"""Values and ties that are lost easily: floats of 32 bits, and rows that only their arrival tells apart."""

import datetime as dt
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.serving.publish import publish_view
from headrace.serving.skew import measure_skew
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.values import plain
from headrace.serving.vectors import lookup_vectors
from headrace.tables.lake import LakeTable
from tests.amounts import examples, seed_of_today
from tests.samples.factories import sample_set, settings_in
from tests.serving.conftest import SCHEMA, UTC_US, add, row
from tests.serving.test_skew import Served, ago

pytestmark = pytest.mark.slow
SMALL = pa.schema(
    [
        pa.field("item", pa.int64()),
        pa.field("event_time", UTC_US, nullable=False),
        pa.field("known_at", UTC_US, nullable=False),
        pa.field("rate", pa.float32()),
    ]
)
ARRIVAL = [
    pa.field("_source", pa.string(), nullable=False),
    pa.field("_source_partition", pa.int32(), nullable=False),
    pa.field("_source_offset", pa.int64(), nullable=False),
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    settings = settings_in(tmp_path)
    with Lake.open(settings) as lake, SQLiteOnlineStore(settings.online_store) as store:
        yield Served(lake, store)


def test_floats_of_32_bits_are_served_and_logged_as_they_are(served: Served) -> None:
    count, draw = examples(10_000, few=2_000), random.Random(seed_of_today())
    view = FeatureView(view=TableName("shop", "small"), entity=("item",))
    table = served.lake.create(
        view.view, SMALL, properties={"headrace.feature_view": view.to_property()}
    )
    moment = ago(30)
    rates = [float(np.float32(draw.uniform(-10, 10))) for _ in range(count)]
    add(
        table,
        [
            {"item": item, "event_time": moment, "known_at": moment, "rate": rate}
            for item, rate in enumerate(rates)
        ],
    )
    publish_view(served.lake, served.store, table.head())
    said = sample_set(labels=[], features=[{"view": "shop.small", "columns": ["rate"]}])
    entities = [{"item": item} for item in range(count)]
    found = lookup_vectors(served.store, said.features, entities)
    answer = json.loads(json.dumps([plain(value) for value in found.columns()["rate"]]))
    assert answer == rates
    served.log.note(said.name, entities, found)
    report = measure_skew(served.lake, said, served.logged())
    assert (report.rows, report.mismatches) == (count, 0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (3, 0, 2, 1)])
def test_of_rows_with_equal_times_the_last_to_arrive_counts_in_any_order_of_commits(
    lake: Lake, view: Callable[..., LakeTable], settings: Settings, order: tuple[int, ...]
) -> None:
    us = dt.timedelta(microseconds=1)
    place = {"_source": "a", "_source_partition": 0}
    first = row(1, at=1, ctr=0.0)
    rows = [
        {**first, **place, "_source_offset": 9},
        # older by a microsecond, though it arrived last
        {**first, **place, "_source_offset": 10, "event_time": first["event_time"] - us},
        {**first, **place, "_source_offset": 7, "known_at": first["known_at"] + us, "ctr": 0.25},
        {**first, **place, "_source_offset": 8, "known_at": first["known_at"] + us, "ctr": 0.5},
    ]
    table = view(schema=pa.schema([*SCHEMA, *ARRIVAL]))
    with SQLiteOnlineStore(settings.online_store) as store:
        for number in order:
            add(table, [rows[number]])
            publish_view(lake, store, table.head())
        (found,) = store.get(str(table.name), [("all", 1)])
    assert found is not None
    assert found.values[0] == 0.5
