"""A table with nested columns, and its rows as every reader sees them."""

import datetime as dt
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.iceberg import schema
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables import evolved

PLACE = pa.struct([pa.field("city", pa.string()), pa.field("zip", pa.int32())])
VISITS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("place", PLACE),
        pa.field("stops", pa.list_(pa.field("element", PLACE))),
        pa.field("labels", pa.map_(pa.string(), PLACE)),
        pa.field("only", pa.struct([pa.field("one", pa.int64())])),
        pa.field("price", pa.decimal128(5, 2)),
    ]
)
BONN = {"city": "Bonn", "zip": 53111}


def visits_table(lake: Lake, *, partition_by: tuple[str, ...] = ()) -> LakeTable:
    return lake.create(TableName("raw", "visits"), VISITS, partition_by=partition_by)


def put(table: LakeTable, *rows: dict[str, Any]) -> operations.Commit:
    """Append rows, in the table's schema of now."""
    now = schema.to_arrow(table.iceberg().schema())
    files = write_batches(table, [pa.RecordBatch.from_pylist(list(rows), now)])
    return operations.append(table, files, provenance=Provenance())


def rows_of(table: LakeTable) -> list[dict[str, Any]]:
    """The rows, which our reader, DuckDB and stock pyiceberg must agree about."""
    head = table.head()
    ours = in_order(head.to_arrow())
    theirs = in_order(table.iceberg().scan().to_arrow())
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("head", head)
        read = engine.query("select * from head").read_all()
    assert in_order(read) == ours
    kind = table.iceberg().schema().as_struct()
    flat = [evolved.without_null_lists(each, kind) for each in theirs]
    assert flat == [evolved.without_null_lists(each, kind) for each in ours]
    return ours


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: (row["id"], repr(row)))


NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
EVENT_ROWS: list[dict[str, Any]] = [{"id": 1, "name": "one", "tags": [1], "event_time": NOON}]
