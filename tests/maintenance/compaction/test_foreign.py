"""Compaction of tables that stock PyIceberg made and writes, in its own catalogs."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable, Table
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import (
    BucketTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
)
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

import headrace as hr
from headrace.errors import (
    InvalidNameError,
    UnfitFileError,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.maintenance.compaction.bins import CompactionPolicy
from tests.raising import refused
from tests.tables.catalogs.test_foreign import sql_catalog

pytestmark = pytest.mark.slow

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "Name With Spaces", StringType()),
    NestedField(3, "at", TimestamptzType()),
)
ARROW = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("Name With Spaces", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(params=["sql", "memory"])
def catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Catalog]:
    """An empty catalog of stock pyiceberg."""
    made = (
        sql_catalog(tmp_path)
        if request.param == "sql"
        else InMemoryCatalog("theirs", warehouse=f"file://{tmp_path}/wh")
    )
    made.create_namespace("mydb")
    yield made
    made.close()


def rows(ids: range | list[int]) -> pa.Table:
    at = [dt.datetime(2024, 1 + i % 3, 5, tzinfo=dt.UTC) for i in ids]
    names = [None if i % 7 == 3 else f"name {i % 4}" for i in ids]
    return pa.table([list(ids), names, at], schema=ARROW)


def partitioned(
    catalog: Catalog, transform: Transform[object, object] | None = None, source_id: int = 1
) -> Table:
    spec = (
        PartitionSpec()
        if transform is None
        else PartitionSpec(PartitionField(source_id, 1000, transform, "part"))
    )
    return catalog.create_table("mydb.events", SCHEMA, partition_spec=spec)


def read(table: Table) -> list[dict[str, object]]:
    return table.refresh().scan().to_arrow().sort_by("id").to_pylist()


def files(table: Table) -> list[str]:
    return table.refresh().inspect.files()["file_path"].to_pylist()


@pytest.mark.parametrize(
    ("transform", "source_id", "partitions"),
    [
        (None, 1, 1),
        (BucketTransform(3), 1, 3),
        (MonthTransform(), 3, 3),
        (IdentityTransform(), 2, 5),
    ],
)
def test_rows_of_a_stock_table_read_the_same_from_a_file_per_partition(
    catalog: Catalog,
    transform: Transform[object, object] | None,
    source_id: int,
    partitions: int,
) -> None:
    table = partitioned(catalog, transform, source_id)
    for start in range(0, 60, 20):
        table.append(rows(range(start, start + 20)))
    before, snapshots = read(table), len(table.metadata.snapshots)
    plan = hr.compact(catalog.load_table("mydb.events"), target_bytes=512 * hr.MIB)
    assert str(plan).startswith(f"mydb.events at snapshot {table.metadata.current_snapshot_id}")
    assert read(table) == before
    done = plan.apply()
    assert (done.files_before, done.files_after) == (3 * partitions, partitions)
    assert read(table) == before
    assert len(files(table)) == partitions
    assert len(table.metadata.snapshots) == snapshots + 1
    found = table.scan(row_filter=EqualTo("id", 42)).to_arrow()["id"].to_pylist()
    assert found == [42]
    assert not hr.compact(table)
    table.append(rows([100]))
    assert len(read(table)) == 61


def test_what_stock_writers_add_between_plan_and_apply_is_kept(catalog: Catalog) -> None:
    table = partitioned(catalog)
    for start in (0, 10):
        table.append(rows(range(start, start + 10)))
    plan = hr.compact(table)
    table.append(rows([50]))
    table.delete(EqualTo("id", 3))  # rewrites a file that was planned
    done = plan.apply()
    assert [row["id"] for row in read(table)] == [i for i in range(20) if i != 3] + [50]
    assert done.partitions_lost == 0


def test_the_size_a_table_declares_is_aimed_at(catalog: Catalog) -> None:
    table = partitioned(catalog)
    with table.transaction() as transaction:
        transaction.set_properties({"write.target-file-size-bytes": "1"})
    table.append(rows([1]))
    table.append(rows([2]))
    assert not hr.compact(table)
    assert hr.compact(table, target_bytes=hr.MIB)


def test_a_declared_sort_order_is_kept_and_stays_the_tables_own(catalog: Catalog) -> None:
    by = SortOrder(
        SortField(2, IdentityTransform(), SortDirection.DESC, NullOrder.NULLS_LAST),
        SortField(1, IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_FIRST),
    )
    table = catalog.create_table("mydb.events", SCHEMA, sort_order=by)
    order_id = table.metadata.default_sort_order_id
    for start in (10, 0):
        table.append(rows(range(start, start + 10)))
    hr.compact(table).apply()
    (path,) = files(table)
    found = pq.read_table(path.removeprefix("file://")).to_pylist()
    named = [row for row in found if row["Name With Spaces"] is not None]
    assert found == named + [row for row in found if row["Name With Spaces"] is None]
    assert [row["Name With Spaces"] for row in named] == sorted(
        (row["Name With Spaces"] for row in named), reverse=True
    )
    assert table.metadata.default_sort_order_id == order_id
    assert len(table.metadata.sort_orders) == 1
    assert not hr.compact(table)


def test_keys_of_the_caller_do_not_become_the_tables_order(catalog: Catalog) -> None:
    table = partitioned(catalog)
    table.append(rows([3, 1, 2]))
    policy = CompactionPolicy(sort_by=("id",))
    hr.compact(table, policy=policy).apply()
    assert table.refresh().scan().to_arrow()["id"].to_pylist() == [1, 2, 3]
    assert table.metadata.default_sort_order_id == 0
    assert not hr.compact(table, policy=policy)
    assert not hr.compact(table)


def test_files_without_field_ids_are_read_through_the_name_mapping(
    catalog: Catalog, tmp_path: Path
) -> None:
    table = partitioned(catalog)
    for number in range(3):
        path = tmp_path / f"old-{number}.parquet"
        pq.write_table(rows([number, number + 10]), path)
        table.add_files([f"file://{path}"])
    before = read(table)
    done = hr.compact(table).apply()
    assert (done.files_before, done.files_after) == (3, 1)
    assert read(table) == before
    with table.update_schema() as update:
        update.rename_column("Name With Spaces", "label")
    assert [row["label"] for row in read(table)] == [row["Name With Spaces"] for row in before]


def test_files_that_nobody_can_tell_the_columns_of_are_refused_by_name(
    catalog: Catalog, tmp_path: Path
) -> None:
    table = partitioned(catalog)
    for number in range(2):
        path = tmp_path / f"old-{number}.parquet"
        pq.write_table(rows([number]), path)
        table.add_files([f"file://{path}"])
    with table.transaction() as transaction:
        transaction.remove_properties("schema.name-mapping.default")
    before = table.metadata.current_snapshot_id
    with pytest.raises(UnfitFileError) as refusal:
        hr.compact(table).apply()
    assert refusal.value.path == str(tmp_path / "old-0.parquet")
    assert table.refresh().metadata.current_snapshot_id == before


@pytest.mark.parametrize(
    ("place", "kind", "reason"),
    [
        ("here", FileFormat.ORC, UnsupportedReason.FILE_FORMAT),
        ("gs://bucket", FileFormat.PARQUET, UnsupportedReason.OTHER_STORE),
    ],
)
def test_files_that_cannot_be_rewritten_here_are_refused_before_anything_is_changed(
    catalog: Catalog, tmp_path: Path, place: str, kind: FileFormat, reason: UnsupportedReason
) -> None:
    table = partitioned(catalog)
    table.append(rows([1]))
    (tmp_path / "x").touch()
    foreign = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"{tmp_path if place == 'here' else place}/x",
        file_format=kind,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=10,
    )
    foreign.spec_id = 0
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as update:
        update.append_data_file(foreign)  # as another program does, which looks at no file
    with refused(UnsupportedTableError, reason=reason, path=foreign.file_path):
        hr.compact(catalog.load_table("mydb.events"))


def test_tables_that_are_none_of_a_catalog_or_of_another_version_are_refused(
    catalog: Catalog,
) -> None:
    table = partitioned(catalog)
    table.append(rows([1]))
    with refused(UnsupportedTableError, reason=UnsupportedReason.NO_CATALOG):
        hr.compact(StaticTable.from_metadata(table.metadata_location))
    old = catalog.create_table("mydb.old", SCHEMA, properties={"format-version": "1"})
    with refused(UnsupportedTableError, reason=UnsupportedReason.FORMAT_VERSION):
        hr.compact(old)
    catalog.create_namespace("My Db")
    odd = catalog.create_table(("My Db", "events"), SCHEMA)
    with pytest.raises(InvalidNameError) as refusal:
        hr.compact(odd)
    assert refusal.value.name == "My Db"
