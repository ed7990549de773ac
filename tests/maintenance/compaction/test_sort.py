"""Sorting compaction: the order of the keys, remembered, in bounded memory, settled."""

import datetime as dt
import decimal
import json
import math
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.properties import CLUSTER_BY
from headrace.engines.base import SortBy
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import (
    CorruptFileError,
    StorageFullError,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.iceberg.standard_properties import ROW_GROUP_ROWS
from headrace.identifiers import TableName
from headrace.maintenance.compaction.bins import CompactionPolicy, Strategy
from headrace.maintenance.compaction.clustering import (
    ClusteringDepth,
    SortKey,
    clustering_depth,
    declared_keys,
)
from headrace.maintenance.compaction.compact import apply_compaction, compact
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.disks import room_for
from tests.maintenance.compaction.test_compact import MIB, stray_files
from tests.raising import refused
from tests.tables.factories import UTC_US, add, events_table

pytestmark = pytest.mark.slow

COLUMNS = pa.schema(
    [pa.field("a", pa.int64()), pa.field("b", pa.string()), pa.field("n", pa.int64())]
)


def clustered(lake: Lake, *keys: str, name: str = "raw.clustered") -> LakeTable:
    properties = {CLUSTER_BY: json.dumps(keys)} if keys else {}
    return lake.create(TableName.parse(name), COLUMNS, properties=properties)


def put(table: LakeTable, rows: list[tuple[Any, Any, Any]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    batch = pa.record_batch(columns, schema=COLUMNS)
    operations.append(table, write_batches(table, [batch]), provenance=operations.Provenance())


def rows_by_file(table: LakeTable) -> list[list[tuple[Any, ...]]]:
    return [
        [tuple(row.values()) for row in pq.ParquetFile(file.path).read().to_pylist()]
        for file in table.head().files()
    ]


def by_keys(row: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    a, b, _ = row
    return (a is not None, a or 0), (b is not None, (b or "").encode())


@hypothesis_settings(
    deadline=None,
    max_examples=examples(12, few=6),
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has its own table
)
@given(
    files=st.lists(
        st.lists(
            st.tuples(
                st.one_of(st.none(), st.integers(-3, 3)),
                st.one_of(st.none(), st.sampled_from(["", "a", "B", "ä", "z" * 40])),
                st.integers(0, 9),
            ),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_rows_come_out_in_the_order_of_the_keys_and_equal_ones_as_they_came(
    lake: Lake, files: list[list[tuple[Any, Any, Any]]]
) -> None:
    table = clustered(lake, "a", "b", name=f"raw.t{uuid.uuid4().hex}")
    for rows in files:
        put(table, rows)
    arrived = [row for rows in files for row in rows]
    compact(table)
    assert rows_by_file(table) == [sorted(arrived, key=by_keys)]
    assert not compact(table).changed


def test_sorted_files_are_known_by_the_tables_sort_order_and_left_alone(lake: Lake) -> None:
    table = clustered(lake, "a")
    put(table, [(3, "x", 0), (1, "y", 1)])
    compact(table)
    order = table.iceberg().metadata.sort_order()
    assert [field.source_id for field in order.fields] == [1]
    (file,) = table.head().files()
    assert file.data_file.sort_order_id == order.order_id
    assert not plan_compaction(table.head(), target_bytes=128 * MIB)
    put(table, [(2, "z", 2)])
    done = compact(table)
    assert (done.files_before, done.files_after) == (2, 1)
    assert rows_by_file(table) == [[(1, "y", 1), (2, "z", 2), (3, "x", 0)]]


def test_other_keys_make_a_table_unsorted_again(lake: Lake) -> None:
    table = clustered(lake, "a")
    put(table, [(1, "y", 0), (2, "x", 1)])
    compact(table)
    assert not compact(table).changed
    clustered(lake, "b")
    compact(table)
    assert rows_by_file(table) == [[(2, "x", 1), (1, "y", 0)]]
    assert not compact(table).changed
    assert len(table.iceberg().metadata.sort_orders) == 3  # unsorted, by a, by b


def test_columns_named_by_the_caller_sort_without_becoming_the_tables_order(lake: Lake) -> None:
    table = clustered(lake)
    put(table, [(1, "b", 0), (2, "a", 1)])
    policy = CompactionPolicy(sort_by=("b",))
    compact(table, policy=policy)
    assert rows_by_file(table) == [[(2, "a", 1), (1, "b", 0)]]
    assert table.iceberg().metadata.default_sort_order_id == 0
    assert not compact(table, policy=policy).changed


def test_packing_can_be_asked_for_though_keys_are_declared(lake: Lake) -> None:
    table = clustered(lake, "a")
    put(table, [(2, "x", 0)])
    put(table, [(1, "x", 1)])
    compact(table, policy=CompactionPolicy(strategy=Strategy.PACK))
    assert rows_by_file(table) == [[(2, "x", 0), (1, "x", 1)]]
    (file,) = table.head().files()
    assert file.data_file.sort_order_id is None


def test_a_large_sorted_file_is_not_rewritten_for_a_small_new_one_unless_asked(lake: Lake) -> None:
    table = clustered(lake, "a")
    put(table, [(number * 7 % 1000, str(number), number) for number in range(5_000)])
    target = 4_000  # bytes: what is there is large, what comes is small
    compact(table, target_bytes=target)
    (large,) = table.head().files()
    put(table, [(500, "new", 0)])
    put(table, [(5, "new", 1)])
    done = compact(table, target_bytes=target)
    assert (done.files_before, done.files_after) == (2, 1)
    assert large.path in {file.path for file in table.head().files()}
    assert not compact(table, target_bytes=target).changed
    fully = CompactionPolicy(runs_max=1)
    compact(table, target_bytes=target, policy=fully)
    (rows,) = rows_by_file(table)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert len(rows) == 5_002
    assert not compact(table, target_bytes=target, policy=fully).changed


def test_a_partition_larger_than_a_file_becomes_files_that_follow_each_other(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # row groups of the real size would make this test slow
    monkeypatch.setattr("headrace.engines.sort.BATCH_ROWS", 500)
    table = clustered(lake, "a")
    with table.iceberg().transaction() as change:
        change.set_properties({ROW_GROUP_ROWS: "1000"})
    for start in range(0, 12_000, 3_000):
        rows = range(start, start + 3_000)
        put(table, [(number * 7919 % 12_007, str(number), number) for number in rows])
    done = compact(table, target_bytes=20_000)
    files = rows_by_file(table)
    assert done.files_after == len(files) >= 3
    assert all(file.bytes >= 20_000 for file in table.head().files()[:-1])
    flat = [row for rows in files for row in rows]
    assert [row[0] for row in flat] == sorted(number * 7919 % 12_007 for number in range(12_000))
    key = SortKey(column="a", field_id=1)
    depth = clustering_depth(table.head().files(), key, schema=table.iceberg().schema())
    assert depth == ClusteringDepth(mean=1.0, max=1, files=len(files))
    assert not compact(table, target_bytes=20_000).changed
    assert not compact(table, target_bytes=20_000, policy=CompactionPolicy(runs_max=1)).changed


def test_what_every_type_holds_survives_being_sorted(lake: Lake) -> None:
    kinds = pa.schema(
        [
            pa.field("k", pa.int32(), nullable=False),
            pa.field("flag", pa.bool_()),
            pa.field("small", pa.int32()),
            pa.field("real", pa.float32()),
            pa.field("double", pa.float64()),
            pa.field("amount", pa.decimal128(38, 10)),
            pa.field("day", pa.date32()),
            pa.field("clock", pa.time64("us")),
            pa.field("naive", pa.timestamp("us")),
            pa.field("zoned", UTC_US),
            pa.field("text", pa.string()),
            pa.field("raw", pa.binary()),
            pa.field("fixed", pa.binary(4)),
            pa.field("uid", pa.uuid()),
            pa.field("list", pa.list_(pa.struct([("x", pa.int64()), ("y", pa.string())]))),
            pa.field("map", pa.map_(pa.string(), pa.float64())),
            pa.field("struct", pa.struct([("inner", pa.list_(pa.int32()))])),
        ]
    )
    table = lake.create(
        TableName("raw", "types"), kinds, properties={CLUSTER_BY: json.dumps(["k"])}
    )
    at = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    values = {
        "flag": True,
        "small": -(2**31),
        "real": 0.1,
        "double": float("inf"),
        "amount": decimal.Decimal("-1234567890123456789012345678.0123456789"),
        "day": dt.date(1, 1, 1),
        "clock": dt.time(23, 59, 59, 999_999),
        "naive": at.replace(tzinfo=None),
        "zoned": at,
        "text": "ä\0b",
        "raw": b"\xff\0",
        "fixed": b"abcd",
        "uid": uuid.UUID(int=5).bytes,
        "list": [{"x": 1, "y": None}, None],
        "map": [("a", 1.5), ("b", None)],
        "struct": {"inner": [1, None]},
    }
    nothing: dict[str, Any] = dict.fromkeys(values)
    arrived = [{"k": 2, **values}, {"k": 1, **nothing}, {"k": 1, **values}]
    for row in arrived:
        batch = pa.RecordBatch.from_pylist([row], kinds)
        operations.append(table, write_batches(table, [batch]), provenance=operations.Provenance())
    before = table.head().to_arrow().to_pylist()
    compact(table)
    after = table.head().to_arrow().to_pylist()
    assert [row["k"] for row in after] == [1, 1, 2]
    assert sorted(map(str, after)) == sorted(map(str, before))


def test_a_damaged_file_stops_the_sort_by_its_name_and_changes_nothing(lake: Lake) -> None:
    table = clustered(lake, "a")
    put(table, [(number, str(number), number) for number in range(2_000)])
    put(table, [(1, "x", 0)])
    before = table.head()
    largest = max(before.files(), key=lambda file: file.bytes)
    content = bytearray(Path(largest.path).read_bytes())
    content[200] ^= 0xFF
    Path(largest.path).write_bytes(content)
    with pytest.raises(CorruptFileError) as found:
        compact(table)
    assert found.value.path == largest.path
    assert table.head().snapshot_id == before.snapshot_id
    assert stray_files(table) == []


def test_a_sort_without_room_for_any_part_of_its_file_says_so(settings: Settings) -> None:
    schema = pa.schema([pa.field("n", pa.int64())])
    batch = pa.record_batch([list(range(1_000))], schema=schema)
    with DuckDBEngine.open(settings) as engine:
        refused = 0
        for bytes_max in range(0, 40_000, 400):  # the footer is the last few hundred
            try:
                with room_for(bytes_max):
                    found = engine.sort([batch], schema=schema, by=[SortBy(column=0)])
                    rows = sum(each.num_rows for each in found)
            except StorageFullError:
                refused += 1
            else:
                assert rows == 1_000
                break
        assert 10 < refused < 100


def test_a_sort_that_runs_out_of_room_says_so(settings: Settings) -> None:
    few = Settings(**{**settings.__dict__, "memory_limit_mib": 64, "threads": 1})
    schema = pa.schema([pa.field("n", pa.int64()), pa.field("text", pa.string())])
    rows = 4_000
    batches = (
        pa.record_batch(
            [
                [(start + i) * 7919 % 100_003 for i in range(rows)],
                [f"{i:0500d}" for i in range(rows)],
            ],
            schema=schema,
        )
        for start in range(0, 60 * rows, rows)
    )
    with DuckDBEngine.open(few) as engine:
        engine.connection.execute("set max_temp_directory_size = '1MiB'")
        with pytest.raises(StorageFullError):
            list(engine.sort(batches, schema=schema, by=[SortBy(column=0)]))


def test_a_sort_key_is_compared_and_not_changed(lake: Lake) -> None:
    # 0.0 and -0.0 compare equal, so they stay as they came; NaN is above all others
    columns = pa.schema([("f", pa.float32()), ("d", pa.float64()), ("n", pa.int64())])
    properties = {CLUSTER_BY: json.dumps(["f", "d"])}
    table = lake.create(TableName("raw", "zeros"), columns, properties=properties)
    values = [0.0, -0.0, math.nan, None, -1.0, -0.0, 0.0]
    batch = pa.record_batch([[0.0] * 7, values, list(range(7))], schema=columns)
    operations.append(table, write_batches(table, [batch]), provenance=operations.Provenance())
    turned = pa.record_batch([[-0.0], [-2.0], [7]], schema=columns)
    operations.append(table, write_batches(table, [turned]), provenance=operations.Provenance())
    assert compact(table).changed
    found = table.head().to_arrow().to_pylist()
    assert [row["n"] for row in found] == [3, 7, 4, 0, 1, 5, 6, 2]
    assert [str(row["d"]) for row in found] == [
        *("None", "-2.0", "-1.0", "0.0", "-0.0", "-0.0", "0.0", "nan")
    ]
    assert [str(row["f"]) for row in found] == ["0.0", "-0.0", *["0.0"] * 6]


def test_names_that_differ_only_in_case_are_sorted_apart(lake: Lake) -> None:
    twins = pa.struct([("a", pa.int64()), ("A", pa.string())])
    columns = pa.schema(
        [
            pa.field("item", pa.int64()),
            pa.field("Item", pa.string()),
            pa.field("twins", twins),
            pa.field("listed", pa.list_(twins)),
            pa.field("mapped", pa.map_(pa.string(), twins)),
            pa.field("uid", pa.struct([("u", pa.uuid()), ("U", pa.binary(2))])),
        ]
    )
    properties = {CLUSTER_BY: json.dumps(["Item"])}
    table = lake.create(TableName("raw", "twins"), columns, properties=properties)
    uids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"u" * 16] * 3, pa.binary(16)))
    fixed = pa.array([b"ab", None, b"cd"], pa.binary(2))
    pairs: list[Any] = [{"a": 1, "A": "x"}, None, {"a": None, "A": "y"}]
    batch = pa.record_batch(
        [
            pa.array([1, 2, 3], pa.int64()),
            pa.array(["c", "b", "a"]),
            pa.array(pairs, twins),
            pa.array([[each] for each in pairs], pa.list_(twins)),
            pa.array([[("k", each)] for each in pairs], pa.map_(pa.string(), twins)),
            pa.StructArray.from_arrays([uids, fixed], fields=list(columns.field("uid").type)),
        ],
        schema=columns,
    )
    for at in range(3):
        files = write_batches(table, [batch.slice(at, 1)])
        operations.append(table, files, provenance=operations.Provenance())
    before = table.head().to_arrow().to_pylist()
    assert compact(table).changed
    key = "Item"
    assert table.head().to_arrow().to_pylist() == sorted(before, key=lambda row: row[key])


def test_keys_come_from_the_declaration_then_from_the_tables_own_order(
    lake: Lake, tmp_path: Path
) -> None:
    declared = clustered(lake, "b", "a").iceberg().metadata
    assert [key.column for key in declared_keys(declared, table="t")] == ["b", "a"]
    assert declared_keys(events_table(lake).iceberg().metadata, table="t") == ()
    catalog = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    catalog.create_namespace("n")
    schema = Schema(NestedField(1, "x", LongType()), NestedField(2, "y", LongType()))
    by = SortOrder(
        SortField(2, IdentityTransform(), SortDirection.DESC, NullOrder.NULLS_LAST),
        SortField(1, IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_LAST),
    )
    own = catalog.create_table("n.own", schema, sort_order=by).metadata
    assert declared_keys(own, table="t") == (
        SortKey(column="y", field_id=2, descending=True, nulls_first=False),
        SortKey(column="x", field_id=1, nulls_first=False),
    )
    hashed = SortOrder(SortField(1, BucketTransform(4), SortDirection.ASC, NullOrder.NULLS_FIRST))
    assert (
        declared_keys(catalog.create_table("n.hash", schema, sort_order=hashed).metadata, table="t")
        == ()
    )
    catalog.close()


def test_a_descending_order_with_nulls_last_is_kept(lake: Lake) -> None:
    table = clustered(lake)
    with table.iceberg().update_sort_order() as update:
        update.desc("a", IdentityTransform(), NullOrder.NULLS_LAST)
    put(table, [(1, "x", 0), (None, "x", 1)])
    put(table, [(3, "x", 2), (1, "x", 3)])
    compact(table)
    (rows,) = rows_by_file(table)
    assert rows == [(3, "x", 2), (1, "x", 0), (1, "x", 3), (None, "x", 1)]


@pytest.mark.parametrize("key", ["nothing", "tags"])
def test_a_key_that_cannot_be_sorted_by_is_refused_by_name(lake: Lake, key: str) -> None:
    table = events_table(lake)
    add(table, [1])
    with refused(UnsupportedTableError, reason=UnsupportedReason.SORT_COLUMN, column=key):
        plan_compaction(table.head(), target_bytes=1, policy=CompactionPolicy(sort_by=(key,)))


def bounded(name: str, low: int | None, high: int | None, *, partition: int = 0) -> FileEntry:
    def as_bytes(value: int | None) -> dict[int, bytes]:
        return {} if value is None else {1: value.to_bytes(8, "little", signed=True)}

    file = DataFile.from_args(
        file_path=name, lower_bounds=as_bytes(low), upper_bounds=as_bytes(high)
    )
    file.spec_id = 0
    return FileEntry(path=name, rows=1, bytes=1, partition=(partition,), sequence=1, data_file=file)


@given(
    ranges=st.lists(
        st.one_of(
            st.tuples(st.integers(-5, 5), st.integers(0, 4)).map(lambda at: (at[0], sum(at))),
            st.just((None, None)),
        ),
        max_size=12,
    )
)
def test_depth_is_the_number_of_files_that_may_hold_a_files_first_value(
    ranges: list[tuple[int | None, int | None]],
) -> None:
    files = [bounded(str(number), low, high) for number, (low, high) in enumerate(ranges)]
    key = SortKey(column="x", field_id=1)
    schema = Schema(NestedField(1, "x", LongType()))
    counted = [
        len(ranges)
        if low is None
        else sum(a is None or b is None or a <= low <= b for a, b in ranges)
        for low, _ in ranges
    ]
    found = clustering_depth(files, key, schema=schema)
    assert found.files == len(ranges)
    assert found.max == max(counted, default=0)
    assert found.mean == pytest.approx(sum(counted) / len(counted) if counted else 0)


def test_depth_takes_partitions_apart() -> None:
    files = [bounded(str(number), 0, 9, partition=number) for number in range(3)]
    schema = Schema(NestedField(1, "x", LongType()))
    depth = clustering_depth(files, SortKey(column="x", field_id=1), schema=schema)
    assert (depth.mean, depth.max) == (1.0, 1)


def test_two_sorting_compactions_at_once_leave_one_order(lake: Lake, settings: Settings) -> None:
    table = clustered(lake, "a")
    for number in range(4):
        put(table, [(9 - number, "x", number)])
    plan = plan_compaction(table.head(), target_bytes=128 * MIB)
    with Lake.open(settings) as other:
        compact(other.table("raw.clustered"))
    done = apply_compaction(table, plan)
    assert not done.changed
    assert len(table.iceberg().metadata.sort_orders) == 2
    assert [row[0] for row in rows_by_file(table)[0]] == [6, 7, 8, 9]
