"""Every writer of table data, under every property: its files are read by every engine."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.datasets.files import FilePlan
from headrace.definitions.properties import CLUSTER_BY
from headrace.dml.delete import delete_where
from headrace.dml.merge import merge
from headrace.engines.duckdb import DuckDBEngine
from headrace.iceberg.standard_properties import COMPRESSION_CODEC
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.factories import UTC_US
from tests.tables.portable import not_portable

ROWS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("at", UTC_US),
        pa.field("amount", pa.decimal128(20, 3)),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("pair", pa.struct([("x", pa.float32()), ("y", pa.binary(16))])),
    ]
)


def rows(ids: Sequence[int]) -> pa.RecordBatch:
    values = [
        {
            "id": i,
            "text": f"text {i % 3}",
            "at": i,
            "amount": i,
            "tags": [str(i)] * (i % 3),
            "pair": {"x": i / 3, "y": i.to_bytes(16, "big")},
        }
        for i in ids
    ]
    return pa.RecordBatch.from_pylist(values, ROWS)


def put(table: LakeTable, ids: Sequence[int]) -> None:
    operations.append(table, write_batches(table, [rows(ids)]), provenance=Provenance())


def appended(table: LakeTable) -> None:
    put(table, range(100))


def packed(table: LakeTable) -> None:
    for start in range(0, 300, 100):
        put(table, range(start, start + 100))
    assert compact(table).changed


def sorted_anew(table: LakeTable) -> None:
    with table.iceberg().transaction() as change:
        change.set_properties({CLUSTER_BY: json.dumps(["text", "id"])})
    packed(table)


def merged(table: LakeTable) -> None:
    put(table, range(100))
    merge(table, pa.table(rows(range(50, 150))), key=["id"], provenance=Provenance())


def deleted(table: LakeTable) -> None:
    put(table, range(100))
    delete_where(table, "id < 50", provenance=Provenance())


def computed(table: LakeTable) -> None:
    put(table, range(100))
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("events", table.head())
        files = engine.write("select * replace (id + 1000 as id) from events", into=table)
    operations.append(table, files, provenance=Provenance())


@pytest.mark.parametrize("write", [appended, packed, sorted_anew, merged, deleted, computed])
def test_every_engine_reads_what_is_written(lake: Lake, write: Callable[[LakeTable], None]) -> None:
    # the latter property is one that tables of training samples had once
    properties = {COMPRESSION_CODEC: "lz4", "headrace.codec": "lz4"}
    table = lake.create(TableName.parse("raw.events"), ROWS, properties=properties)
    write(table)
    files = [Path(file.path) for file in table.head().files()]
    assert files
    assert {file.name: not_portable(file) for file in files} == {file.name: [] for file in files}


def test_every_engine_reads_the_file_plan_of_a_version(lake: Lake, tmp_path: Path) -> None:
    table = lake.create(TableName.parse("raw.events"), ROWS)
    put(table, range(10))
    FilePlan.of(table.head()).write(tmp_path / "plan.parquet")
    assert not_portable(tmp_path / "plan.parquet") == []


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"compression": "lz4"}, "codec LZ4"),
        ({"compression": "brotli"}, "codec BROTLI"),
        ({"data_page_version": "2.0"}, "data pages of version 2"),
        ({"use_dictionary": False, "use_byte_stream_split": ["x"]}, "encoding BYTE_STREAM_SPLIT"),
    ],
)
def test_a_file_that_some_engine_does_not_read_is_found(
    tmp_path: Path, options: dict[str, object], found: str
) -> None:
    pq.write_table(pa.table({"x": [1.5, 2.5]}), tmp_path / "odd.parquet", **options)
    assert found in not_portable(tmp_path / "odd.parquet")
