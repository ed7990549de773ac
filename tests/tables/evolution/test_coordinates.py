"""Row coordinates by the names they had once: renamed by field id, read by both names until then."""

import datetime as dt
import itertools
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema

from headrace.api import Lake
from headrace.definitions.stream import COORDINATES
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import AlterRefusedError, ContractError
from headrace.iceberg import partitions, schema
from headrace.iceberg.standard_properties import METRICS_COLUMN, METRICS_DEFAULT
from headrace.identifiers import TableName, is_reserved
from headrace.tables import alter
from headrace.tables.alter import AddColumn, DropColumn, RenameColumn
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.factories import UTC_US

NAME = TableName("raw", "events")
_AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
_FIELDS = (pa.field("id", pa.int64()), pa.field("event_time", UTC_US, nullable=False))
NEW = pa.schema([*_FIELDS, *COORDINATES])
OLD = pa.schema(
    [
        *_FIELDS,
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_partition", pa.int32(), nullable=False),
        pa.field("_offset", pa.int64(), nullable=False),
        pa.field("_source_time", UTC_US, nullable=False),
    ]
)


def old_table(lake: Lake, *, partition_by: tuple[str, ...] = ("day(event_time)",)) -> LakeTable:
    """A table as it was written under the former names, with two rows."""
    wanted = schema.to_iceberg(OLD, table=str(NAME))
    terms = [partitions.Term.parse(each) for each in partition_by]
    lake.catalog.create_namespace_if_not_exists(NAME.namespace)
    lake.catalog.create_table(
        (NAME.namespace, NAME.name),
        wanted,
        partition_spec=partitions.spec_of(terms, wanted, table=str(NAME)),
    )
    table = lake.table(NAME)
    add(table, OLD, [0, 1])
    return table


def add(table: LakeTable, columns: pa.Schema, offsets: list[int]) -> None:
    names = columns.names
    rows = [dict(zip(names, (10 + at, _AT, "f.jsonl", 0, at, _AT), strict=True)) for at in offsets]
    batch = pa.RecordBatch.from_pylist(rows, schema=columns)
    operations.append(table, write_batches(table, [batch]), provenance=operations.Provenance())


def _ids(schema: Schema) -> dict[str, int]:
    return {each.name: each.field_id for each in schema.fields}


@pytest.mark.parametrize("partition_by", [("day(event_time)",), ("_partition",)])
def test_a_declaration_renames_former_coordinates_by_field_id(
    lake: Lake, partition_by: tuple[str, ...]
) -> None:
    table = old_table(lake, partition_by=partition_by)
    before = _ids(table.iceberg().schema())
    wanted_by = [each.replace("_partition", "_source_partition") for each in partition_by]
    lake.create(NAME, NEW, partition_by=wanted_by)
    after = _ids(table.iceberg().schema())
    assert list(after) == NEW.names
    assert after["_source_partition"] == before["_partition"]
    assert after["_source_offset"] == before["_offset"]
    add(table, NEW, [2])
    assert sorted(table.head().to_arrow()["_source_offset"].to_pylist()) == [0, 1, 2]
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("events", table.head())
        found = engine.query("select id from events where _source_offset = 1").read_all()
    assert found.to_pylist() == [{"id": 11}]
    location = table.iceberg().metadata_location
    lake.create(NAME, NEW, partition_by=wanted_by)
    assert table.iceberg().metadata_location == location


def test_a_person_may_rename_them_too_but_neither_drop_nor_widen_them(lake: Lake) -> None:
    table = old_table(lake)
    for step in (DropColumn("_partition"), DropColumn("_offset"), alter.MakeOptional("_offset")):
        with pytest.raises(AlterRefusedError):
            alter.alter(table, step)
    alter.alter(
        table,
        RenameColumn("_partition", to="_source_partition"),
        RenameColumn("_offset", to="_source_offset"),
    )
    lake.create(NAME, NEW, partition_by=["day(event_time)"])  # makes `_source_time` optional
    assert table.iceberg().schema().column_names == NEW.names
    location = table.iceberg().metadata_location
    lake.create(NAME, NEW, partition_by=["day(event_time)"])
    assert table.iceberg().metadata_location == location


@pytest.mark.parametrize("by_a_person", [False, True])
def test_bounds_of_a_renamed_column_stay(lake: Lake, *, by_a_person: bool) -> None:
    table = old_table(lake)
    limited = {METRICS_DEFAULT: "counts", f"{METRICS_COLUMN}_offset": "truncate(16)"}
    operations.move_properties(table, lambda _: limited)
    if by_a_person:
        alter.alter(
            table,
            RenameColumn("_partition", to="_source_partition"),
            RenameColumn("_offset", to="_source_offset"),
        )
    lake.create(NAME, NEW, partition_by=["day(event_time)"])
    add(table, NEW, [7])
    ids = _ids(table.iceberg().schema())
    newest = max(table.head().files(), key=lambda each: each.sequence)
    assert set(newest.data_file.lower_bounds) == {ids["_source_offset"]}
    assert f"{METRICS_COLUMN}_offset" not in table.iceberg().properties


def test_of_two_that_rename_at_once_neither_fails(lake: Lake) -> None:
    old_table(lake)

    def declare() -> None:
        with Lake.open(lake.settings) as mine:
            mine.create(NAME, NEW, partition_by=["day(event_time)"])

    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(declare) for _ in range(2)]:
            each.result()
    assert lake.table(NAME).head().schema.names == NEW.names


RESERVED = (
    "_file", "_pos", "_spec_id", "_deleted", "_partition", "_row_id",
    "_last_updated_sequence_number", "_change_type", "_change_ordinal", "_commit_snapshot_id",
)  # fmt: skip


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_iceberg_keeps_are_no_columns(lake: Lake, name: str) -> None:
    for spelt in (name, name.upper()):
        assert is_reserved(spelt)
        with pytest.raises(ContractError):
            lake.create(NAME, pa.schema([*_FIELDS, pa.field(spelt, pa.int64())]))
    assert not lake.exists(NAME)
    table = lake.create(NAME, pa.schema(_FIELDS))
    for step in (AddColumn(name, type=pa.int64()), RenameColumn("id", to=name)):
        with pytest.raises(AlterRefusedError):
            alter.alter(table, step)


def test_names_like_those_are_columns(lake: Lake) -> None:
    names = ("file", "pos", "partition", "_files", "_partitions", "_source_partition", "_changed")
    assert not any(is_reserved(each) for each in itertools.chain(names, COORDINATES.names))
    lake.create(NAME, pa.schema([pa.field(each, pa.int64()) for each in names]))
