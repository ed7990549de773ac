"""What altering a table leaves alone: columns that streams, partitions or deletes live on."""

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import AlterRefusedError, ColumnReason, CommitConflictError
from headrace.identifiers import TableName
from headrace.ingest.stream_tables import table_properties
from headrace.tables import alter
from headrace.tables.alter import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    Step,
    WidenColumn,
)
from headrace.tables.evolution.steps import SchemaStep
from headrace.tables.lake import LakeTable
from tests.golden.golden import Golden
from tests.raising import refused, said
from tests.tables.delete_files import delete_values
from tests.tables.factories import add, events_table
from tests.tables.visits import put, rows_of


def stream_table(lake: Lake) -> LakeTable:
    """A table as ingesting a stream makes it, with all that its contract may say."""
    stream = Stream.model_validate(
        {
            "stream": "clicks",
            "table": "raw.clicks",
            "source": {"files": "clicks/*.jsonl"},
            "format": "json",
            "fields": {
                "user_id": {"type": "long", "required": True},
                "item": {"type": "int"},
                "session": {"type": "string"},
                "at": {"type": "timestamptz", "required": True},
            },
            "event_time": "at",
            "cluster_by": ["session"],
            "feature_view": {"entity": ["user_id"]},
        }
    )
    return lake.create(
        stream.table,
        stream.table_schema(),
        partition_by=stream.partition_by,
        properties=table_properties(stream),
    )


_IN_USE: tuple[SchemaStep, ...] = (
    DropColumn("event_time"),
    RenameColumn("event_time", to="happened_at"),
    MakeOptional("known_at"),
    DropColumn("known_at"),
    DropColumn("_source"),
    RenameColumn("_source_offset", to="at"),
    WidenColumn("_source_partition", type=pa.int64()),
    DropColumn("session"),
    RenameColumn("session", to="visit"),
    DropColumn("user_id"),
    MakeOptional("user_id"),
)


@pytest.mark.parametrize("step", _IN_USE, ids=str)
def test_columns_that_a_stream_or_view_lives_on_are_left_alone(
    lake: Lake, step: SchemaStep
) -> None:
    table = stream_table(lake)
    with refused(AlterRefusedError, table=str(table.name), column=step.path):
        alter.alter(table, step)


def test_columns_that_are_left_alone_say_who_lives_on_them(lake: Lake, golden: Golden) -> None:
    table = stream_table(lake)
    told = (
        f"{step}\n  {said(AlterRefusedError, lambda step=step: alter.alter(table, step))}\n"
        for step in _IN_USE
    )
    golden.check("columns-in-use.txt", "\n".join(told))


def test_other_columns_of_a_stream_change_and_the_plan_says_what_its_contract_needs(
    lake: Lake,
) -> None:
    table = stream_table(lake)
    plan = alter.widen_column(table, "item", pa.int64())
    assert plan.notes
    assert "the contract of stream `clicks` must say the same" in str(plan)
    assert not alter.add_column(table, "note", pa.string()).notes
    alter.move_column(table, "_source", where="first")
    assert table.head().schema.names[0] == "_source"


def test_partition_sort_and_identity_columns_of_any_program_stay(lake: Lake) -> None:
    fields = [
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "place", StringType(), required=False),
        NestedField(3, "city", StringType(), required=False),
        NestedField(4, "rest", StringType(), required=False),
    ]
    lake.catalog.create_namespace("raw")
    lake.catalog.create_table(
        "raw.foreign",
        Schema(*fields, identifier_field_ids=[1]),
        sort_order=SortOrder(SortField(source_id=2, transform=IdentityTransform())),
    )
    table = lake.table("raw.foreign")
    alter.repartition(table, partition_by=["city"])
    for step, complaint in [
        (DropColumn("id"), "row identity"),
        (MakeOptional("id"), "row identity"),
        (DropColumn("place"), "sort order"),
        (DropColumn("city"), "partitions it"),
    ]:
        with refused(AlterRefusedError, column=step.path) as found:
            alter.alter(table, step)
        assert complaint in found.value.detail
    alter.alter(table, RenameColumn("place", to="town"), RenameColumn("id", to="key"))
    assert table.iceberg().schema().identifier_field_names() == {"key"}
    alter.repartition(table, partition_by=[])
    with refused(AlterRefusedError, column="city"):
        alter.drop_column(table, "city")


def test_a_column_cannot_take_the_name_of_a_partition_field(lake: Lake) -> None:
    table = events_table(lake)
    with refused(AlterRefusedError, column="event_time_day"):
        alter.add_column(table, "event_time_day", pa.int64())
    alter.repartition(table, partition_by=["name"])
    alter.rename_column(table, "name", to="title")
    with refused(AlterRefusedError, column="name"):
        alter.add_column(table, "name", pa.string())


def test_a_plan_lands_after_other_rows_but_not_after_other_columns(lake: Lake) -> None:
    table = events_table(lake)
    plan = alter.plan(table, AddColumn("note", type=pa.string()))
    add(table, [1])
    alter.apply_alter(table, plan)
    assert rows_of(table)[0]["note"] is None
    stale = alter.plan(table, DropColumn("note"))
    alter.alter(table, DropColumn("note"), AddColumn("note", type=pa.int64()))
    before = table.iceberg().metadata_location
    with refused(CommitConflictError, table=str(table.name), path=None, ref=None):
        alter.apply_alter(table, stale)
    assert table.iceberg().metadata_location == before


@pytest.mark.parametrize("step", [DropColumn("name"), WidenColumn("place", type=pa.int64())])
def test_a_column_that_tells_which_rows_are_deleted_stays_as_it_is(lake: Lake, step: Step) -> None:
    # DuckDB 1.5 ends its process where it is gone, and compares nothing where it is wider
    fields = [("id", pa.int64()), ("name", pa.string()), ("place", pa.int32())]
    table = lake.create(TableName("raw", "deleted"), pa.schema(fields))
    put(table, {"id": 1, "name": "a", "place": 1}, {"id": 2, "name": "b", "place": 2})
    planned = alter.plan(table, step)
    delete_values(table, pa.table({"name": ["a"], "place": pa.array([1], pa.int32())}))
    before = table.iceberg().metadata_location
    for act in (lambda: alter.alter(table, step), lambda: alter.apply_alter(table, planned)):
        with refused(AlterRefusedError, reason=ColumnReason.IN_USE, column=step.path):
            act()
    assert table.iceberg().metadata_location == before
    alter.alter(table, RenameColumn("name", to="title"), MoveColumn("place", where="first"))
    put(table, {"id": 3})
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("head", table.head())
        read = engine.query("select id, title from head order by id").read_all()
    assert read.to_pylist() == [{"id": 2, "title": "b"}, {"id": 3, "title": None}]
