"""Small feature views in each test's own lake."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

UTC_US = pa.timestamp("us", tz="UTC")
START = dt.datetime(2019, 11, 24, tzinfo=dt.UTC)
SCHEMA = pa.schema(
    [
        pa.field("campaign", pa.string(), nullable=False),
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("event_time", UTC_US, nullable=False),
        pa.field("known_at", UTC_US, nullable=False),
        pa.field("ctr", pa.float64()),
        pa.field("seen", pa.int64()),
    ]
)


def hours(count: float) -> dt.datetime:
    return START + dt.timedelta(hours=count)


def row(item: int, *, at: float, known: float | None = None, ctr: float = 0.5) -> dict[str, Any]:
    return {
        "campaign": "all",
        "item_id": item,
        "event_time": hours(at),
        "known_at": hours(at if known is None else known),
        "ctr": ctr,
        "seen": 3,
    }


def add(table: LakeTable, rows: Sequence[dict[str, Any]]) -> int:
    batch = pa.RecordBatch.from_pylist(list(rows), schema=table.head().schema)
    return append(table, write_batches(table, [batch]), provenance=Provenance()).snapshot_id


@pytest.fixture
def view(lake: Lake) -> Callable[..., LakeTable]:
    def make(
        name: str = "features.item_ctr",
        *,
        schema: pa.Schema = SCHEMA,
        ttl_s: int | None = 7 * 86_400,
        delay_s: int = 0,
        partition_by: Sequence[str] = ("day(event_time)",),
    ) -> LakeTable:
        said = {
            "entity": ["campaign", "item_id"],
            "event_time": "event_time",
            "known_at": "known_at",
            "ttl_s": ttl_s,
            "delay_s": delay_s,
        }
        return lake.create(
            TableName.parse(name),
            schema,
            partition_by=partition_by,
            properties={"headrace.feature_view": json.dumps(said)},
        )

    return make
