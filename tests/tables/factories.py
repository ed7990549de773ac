"""Small tables and rows for tests of the tables room; only the relevant fields are spelled out."""

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa

from headrace.api import Lake
from headrace.definitions.stream import FORMER_COORDINATES
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

UTC_US = pa.timestamp("us", tz="UTC")
START = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
EVENTS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("tags", pa.list_(pa.int64())),
        pa.field("event_time", UTC_US, nullable=False),
    ]
)


def events_table(lake: Lake, name: str = "raw.events") -> LakeTable:
    return lake.create(TableName.parse(name), EVENTS, partition_by=["day(event_time)"])


def events(ids: Sequence[int], *, day: int = 0) -> pa.RecordBatch:
    at = START + dt.timedelta(days=day)
    return pa.record_batch(
        {
            "id": pa.array(ids, pa.int64()),
            "name": [f"event {i}" for i in ids],
            "tags": pa.array([[i, i + 1][: i % 3] for i in ids], pa.list_(pa.int64())),
            "event_time": pa.array([at + dt.timedelta(seconds=i % 86_400) for i in ids], UTC_US),
        }
    )


def day_key(day: int) -> tuple[object, ...]:
    return ((START + dt.timedelta(days=day)).date(),)


def add(table: LakeTable, ids: Sequence[int], *, day: int = 0) -> operations.Commit:
    files = write_batches(table, [events(ids, day=day)])
    return operations.append(table, files, provenance=operations.Provenance())


def ids_of(table: LakeTable) -> list[int]:
    return sorted(table.head().to_arrow(columns=["id"]).column("id").to_pylist())


def name_coordinates_as_before(table: LakeTable) -> dict[str, int]:
    """Give a table's row coordinates their former names; its field ids, by today's names."""
    iceberg = table.iceberg()
    ids = {each.name: each.field_id for each in iceberg.schema().fields}
    with iceberg.update_schema() as update:  # `alter` refuses such names
        for old, new in FORMER_COORDINATES.items():
            update.rename_column(new, old)
    return ids
