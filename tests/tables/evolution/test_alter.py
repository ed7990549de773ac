"""Altering tables by hand: what changes, and what it must not do to older rows."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.types import IntegerType, LongType, NestedField, StringType

from headrace.api import Lake
from headrace.errors import (
    AlterRefusedError,
    ColumnReason,
    InvalidNameError,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.iceberg import schema
from headrace.identifiers import TableName
from headrace.tables import alter
from headrace.tables.alter import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    Repartition,
    Step,
    WidenColumn,
)
from headrace.tables.evolution.schema_edit import edit
from headrace.tables.refs import refs
from tests.amounts import examples
from tests.golden.golden import Golden
from tests.raising import refused, said
from tests.tables import evolved
from tests.tables.visits import BONN, put, rows_of, visits_table


def metadata_with(now: Schema, *, last_column_id: int) -> TableMetadata:
    """A table's metadata that keeps the ids of `now`; a new table would number them anew."""
    metadata = new_table_metadata(
        now, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "file:///nowhere"
    )
    changed = {"schemas": [now], "current_schema_id": now.schema_id}
    return metadata.model_copy(update=changed | {"last_column_id": last_column_id})


@hypothesis_settings(max_examples=examples(150, few=40), deadline=None)
@given(data=st.data())
def test_every_edit_gives_the_schema_that_pyiceberg_makes_of_it(data: st.DataObject) -> None:
    columns = data.draw(evolved.structs(evolved.types()))
    row = NestedField(0, "row", LongType(), required=True)
    now = assign_fresh_schema_ids(Schema(row, *columns.fields))
    last_column_id = now.highest_field_id
    for _ in range(data.draw(st.integers(1, 4))):
        step = evolved.a_step(data.draw, now)
        metadata = metadata_with(now, last_column_id=last_column_id)
        table = Table(("t",), metadata, "", load_file_io(), catalog=None)  # nothing is committed
        update = UpdateSchema(table.transaction())
        evolved.take_with_pyiceberg(step, update)
        expected = update._apply()
        now = edit(now, step, last_column_id=last_column_id, table="t")
        last_column_id = max(last_column_id, now.highest_field_id)
        assert now == expected
        assert schema.to_arrow(now, field_ids=True).equals(
            schema.to_arrow(expected, field_ids=True), check_metadata=True
        )


@pytest.mark.parametrize("path", ["place.zip", "stops.element.zip", "labels.value.zip", "price"])
def test_a_column_dropped_and_added_again_never_shows_the_old_values(lake: Lake, path: str) -> None:
    table = visits_table(lake)
    row = {
        "id": 1,
        "place": BONN,
        "stops": [BONN, None],
        "labels": [("home", BONN)],
        "only": {"one": 1},
        "price": None,
    }
    put(table, row)
    refs.tag(table, "before", snapshot_id=table.head().snapshot_id or 0)
    kind = pa.decimal128(5, 2) if path == "price" else pa.int32()
    alter.drop_column(table, path)
    alter.add_column(table, path, kind)
    (read,) = rows_of(table)
    expected = {**row, path: None} if path == "price" else row | _without_zip(path)
    assert read == expected
    (tagged,) = table.at(tag="before").to_arrow().to_pylist()
    assert tagged == expected
    (then,) = table.at(tag="before").in_schema_at_commit().to_arrow().to_pylist()
    assert then == row


def _without_zip(path: str) -> dict[str, Any]:
    blank = {"city": "Bonn", "zip": None}
    nested = {"place": blank, "stops": [blank, None], "labels": [("home", blank)]}
    column = path.partition(".")[0]
    return {column: nested[column]}


def test_one_plan_takes_steps_in_order_and_lands_in_one_change_of_the_table(lake: Lake) -> None:
    table = visits_table(lake)
    put(table, {"id": 1, "place": BONN, "price": None})
    before = table.iceberg().metadata
    plan = alter.plan(
        table,
        DropColumn("labels"),
        RenameColumn("place", to="labels"),
        AddColumn("labels.country", type=pa.string()),
        AddColumn("notes", type=pa.list_(pa.string())),
        MoveColumn("labels.country", where="before", other="city"),
        MoveColumn("price", where="after", other="id"),
        WidenColumn("price", type=pa.decimal128(9, 2)),
        MakeOptional("id"),
    )
    assert plan
    assert "rename `place` to `labels`" in str(plan)
    assert table.iceberg().metadata == before  # a plan changes nothing
    alter.apply_alter(table, plan)
    assert len(table.iceberg().metadata.schemas) == len(before.schemas) + 1
    head = table.head()
    assert head.schema.names == ["id", "price", "labels", "stops", "only", "notes"]
    assert head.schema.field("id").nullable
    assert head.schema.field("price").type == pa.decimal128(9, 2)
    (row,) = rows_of(table)
    assert row["labels"] == {"country": None, "city": "Bonn", "zip": 53111}


def test_steps_that_are_true_already_make_an_empty_plan(lake: Lake) -> None:
    table = visits_table(lake)
    before = table.iceberg().metadata_location
    plan = alter.alter(
        table,
        WidenColumn("place.zip", type=pa.int32()),
        MakeOptional("place"),
        MoveColumn("id", where="first"),
        Repartition(()),
    )
    assert not plan
    assert "nothing to change" in str(plan)
    assert table.iceberg().metadata_location == before


REFUSED: tuple[tuple[Step, ColumnReason], ...] = (
    (WidenColumn("id", type=pa.int32()), ColumnReason.NOT_WIDER),
    (WidenColumn("id", type=pa.string()), ColumnReason.NOT_WIDER),
    (WidenColumn("price", type=pa.decimal128(9, 3)), ColumnReason.NOT_WIDER),
    (WidenColumn("price", type=pa.decimal128(4, 2)), ColumnReason.NOT_WIDER),
    (WidenColumn("place", type=pa.struct([("city", pa.string())])), ColumnReason.NOT_WIDER),
    (WidenColumn("labels.key", type=pa.int64()), ColumnReason.MAP_KEY),
    (WidenColumn("id", type=pa.timestamp("ns")), ColumnReason.UNSUPPORTED_TYPE),
    (AddColumn("at", type=pa.timestamp("ns")), ColumnReason.UNSUPPORTED_TYPE),
    (AddColumn("at", type=pa.null()), ColumnReason.UNSUPPORTED_TYPE),
    (AddColumn("id", type=pa.int64()), ColumnReason.NAME_TAKEN),
    (AddColumn("place.zip", type=pa.int64()), ColumnReason.NAME_TAKEN),
    (AddColumn("id.part", type=pa.int64()), ColumnReason.NOT_A_STRUCT),
    (AddColumn("stops.street", type=pa.string()), ColumnReason.NOT_A_STRUCT),
    (AddColumn("labels.street", type=pa.string()), ColumnReason.NOT_A_STRUCT),
    (AddColumn("plaza.street", type=pa.string()), ColumnReason.UNKNOWN_COLUMN),
    (DropColumn("plase"), ColumnReason.UNKNOWN_COLUMN),
    (DropColumn("only.one"), ColumnReason.LAST_COLUMN),
    (DropColumn("stops.element"), ColumnReason.PART_OF_A_TYPE),
    (DropColumn("labels.key"), ColumnReason.MAP_KEY),
    (DropColumn("stops.city"), ColumnReason.UNKNOWN_COLUMN),
    (RenameColumn("place", to="id"), ColumnReason.NAME_TAKEN),
    (RenameColumn("place.zip", to="city"), ColumnReason.NAME_TAKEN),
    (RenameColumn("labels.value", to="text"), ColumnReason.PART_OF_A_TYPE),
    (MoveColumn("id", where="after", other="nothing"), ColumnReason.NOT_A_SIBLING),
    (MoveColumn("id", where="after", other="id"), ColumnReason.NOT_A_SIBLING),
    (MoveColumn("place.zip", where="before", other="id"), ColumnReason.NOT_A_SIBLING),
    (MoveColumn("place.zip", where="before", other="only.one"), ColumnReason.NOT_A_SIBLING),
    (MakeOptional("nothing"), ColumnReason.UNKNOWN_COLUMN),
    (Repartition(("day(id)",)), ColumnReason.PARTITION_TRANSFORM),
    (Repartition(("nothing",)), ColumnReason.UNKNOWN_COLUMN),
    (Repartition(("id", "id")), ColumnReason.PARTITION_TERM_TWICE),
    (Repartition(("place",)), ColumnReason.PARTITION_TRANSFORM),
)


@pytest.mark.parametrize(("step", "reason"), REFUSED, ids=str)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    lake: Lake, step: Step, reason: ColumnReason
) -> None:
    table = visits_table(lake)
    before = table.iceberg().metadata_location
    with refused(AlterRefusedError, reason=reason):
        # also when a step before it was fine
        alter.alter(table, AddColumn("fine", type=pa.int64()), step)
    assert table.iceberg().metadata_location == before


def test_what_is_said_of_steps_that_cannot_be_done(lake: Lake, golden: Golden) -> None:
    table = visits_table(lake)
    told = (
        f"{step}\n  {said(AlterRefusedError, lambda step=step: alter.plan(table, step))}\n"
        for step, _ in REFUSED
    )
    golden.check("refused-alters.txt", "\n".join(told))


def test_the_last_column_stays(lake: Lake) -> None:
    table = lake.create(TableName("raw", "narrow"), pa.schema([("a", pa.int64())]))
    with refused(AlterRefusedError, reason=ColumnReason.LAST_COLUMN, column="a"):
        alter.drop_column(table, "a")


def test_a_column_that_is_called_key_is_altered_as_others(lake: Lake) -> None:
    table = lake.create(
        TableName("raw", "keyed"), pa.schema([("key", pa.int32()), ("a", pa.int64())])
    )
    alter.widen_column(table, "key", pa.int64())
    alter.rename_column(table, "key", to="id")
    assert table.head().schema.names == ["id", "a"]


@pytest.mark.parametrize("name", ["a.b", "a.key"])
def test_a_column_whose_name_has_a_dot_is_altered_as_others(name: str) -> None:
    before = Schema(NestedField(1, name, IntegerType(), required=True))
    wider = edit(before, WidenColumn(name, type=pa.int64()), last_column_id=1, table="raw.odd")
    found = edit(wider, MakeOptional(name), last_column_id=1, table="raw.odd")
    assert found.fields == (NestedField(1, name, LongType(), required=False),)


@pytest.mark.parametrize("name", ["Bad", "two words", "a;b", ""])
def test_new_names_are_plain(lake: Lake, name: str) -> None:
    table = visits_table(lake)
    for step in (AddColumn(name, type=pa.int64()), RenameColumn("place", to=name)):
        with pytest.raises(InvalidNameError):
            alter.alter(table, step)


def test_default_values_are_refused_because_they_would_read_as_null(lake: Lake) -> None:
    table = visits_table(lake)
    with table.iceberg().update_schema() as update:
        update.add_column(("place", "country"), StringType(), default_value="DE")
    reason = UnsupportedReason.DEFAULT_VALUE
    with refused(UnsupportedTableError, reason=reason, column="place.country"):
        table.head()
    with refused(UnsupportedTableError, reason=reason):
        alter.add_column(table, "note", pa.string())
