"""Declarations after a table was altered by hand: kept or refused, never undone."""

import pyarrow as pa

from headrace.api import Lake
from headrace.errors import ColumnReason, ContractError
from headrace.identifiers import TableName
from headrace.tables import alter
from headrace.tables.alter import (
    AddColumn,
    MoveColumn,
)
from headrace.tables.lake import LakeTable
from tests.raising import refused
from tests.tables.factories import EVENTS, add, events_table
from tests.tables.visits import rows_of


def _events_declared(
    lake: Lake, *, without: str = "", more: tuple[pa.Field, ...] = ()
) -> LakeTable:
    fields = [each for each in EVENTS if each.name != without]
    return lake.create(
        TableName("raw", "events"), pa.schema([*fields, *more]), partition_by=["day(event_time)"]
    )


def test_a_declaration_that_still_has_a_dropped_column_is_refused_and_undoes_nothing(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    alter.drop_column(table, "name")
    before = table.iceberg().metadata_location
    with refused(ContractError, reason=ColumnReason.WAS_DROPPED, column="name"):
        _events_declared(lake)
    assert table.iceberg().metadata_location == before
    _events_declared(lake, without="name", more=(pa.field("note", pa.string()),))
    assert rows_of(table)[0].keys() == {"id", "tags", "event_time", "note"}
    alter.add_column(table, "name", pa.string())
    _events_declared(lake)
    assert rows_of(table)[0]["name"] is None


def test_a_declaration_that_still_has_a_renamed_column_is_refused_and_makes_no_twin(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    alter.rename_column(table, "name", to="label")
    alter.rename_column(table, "label", to="title")
    for old in ("name", "label"):
        with refused(ContractError, reason=ColumnReason.WAS_RENAMED, column=old):
            _events_declared(lake, without="name", more=(pa.field(old, pa.string()),))
    _events_declared(lake, without="name", more=(pa.field("title", pa.string()),))
    assert table.head().schema.names == ["id", "title", "tags", "event_time"]
    alter.rename_column(table, "title", to="name")
    _events_declared(lake)
    assert rows_of(table)[0]["name"] == "event 1"


def test_other_changes_by_hand_are_refused_or_kept_by_the_declaration(lake: Lake) -> None:
    table = events_table(lake)
    alter.alter(table, AddColumn("note", type=pa.string()), MoveColumn("tags", where="first"))
    names = table.head().schema.names
    _events_declared(lake)
    assert table.head().schema.names == names
    alter.make_optional(table, "id")
    with refused(ContractError, reason=ColumnReason.OPTIONAL_TO_REQUIRED, column="id"):
        _events_declared(lake)
    alter.repartition(table, partition_by=["bucket(4, id)"])
    with refused(ContractError, reason=ColumnReason.PARTITIONED_OTHERWISE):
        _events_declared(lake)
