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
from pyiceberg.types import LongType, NestedField, StringType

from headrace.api import Lake
from headrace.errors import (
    AlterRefusedError,
    InvalidNameError,
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


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (WidenColumn("id", type=pa.int32()), "`id` is long and cannot become int.*int to long"),
        (WidenColumn("id", type=pa.string()), "cannot become string"),
        (WidenColumn("price", type=pa.decimal128(9, 3)), "same scale"),
        (WidenColumn("price", type=pa.decimal128(4, 2)), "more digits"),
        (WidenColumn("place", type=pa.struct([("city", pa.string())])), "cannot become struct"),
        (WidenColumn("labels.key", type=pa.int64()), r"`labels\.key` is the key of a map"),
        (WidenColumn("id", type=pa.timestamp("ns")), "cannot become"),
        (AddColumn("at", type=pa.timestamp("ns")), r"`at` cannot be timestamp\[ns\]"),
        (AddColumn("at", type=pa.null()), "`at` cannot be null"),
        (AddColumn("id", type=pa.int64()), "there is a column `id` already, of type long"),
        (AddColumn("place.zip", type=pa.int64()), r"there is a column `place\.zip` already"),
        (AddColumn("id.part", type=pa.int64()), "`id` is not a struct"),
        (AddColumn("stops.street", type=pa.string()), r"write `stops\.element\.street`"),
        (AddColumn("labels.street", type=pa.string()), r"write `labels\.value\.street`"),
        (AddColumn("plaza.street", type=pa.string()), "did you mean `place`"),
        (DropColumn("plase"), r"no column `plase`; did you mean `place`\? it has `fine`, `id`"),
        (DropColumn("only.one"), "last column of struct `only`"),
        (DropColumn("stops.element"), "is part of the type of `stops` and cannot be dropped"),
        (DropColumn("labels.key"), "the key of a map"),
        (DropColumn("stops.city"), "no column `stops.city`; did you mean `stops.element.city`"),
        (RenameColumn("place", to="id"), "there is a column `id` already"),
        (RenameColumn("place.zip", to="city"), r"there is a column `place\.city` already"),
        (RenameColumn("labels.value", to="text"), "cannot be renamed"),
        (MoveColumn("id", where="after", other="nothing"), "those are `place`, `stops`"),
        (MoveColumn("id", where="after", other="id"), "is not another column"),
        (MoveColumn("place.zip", where="before", other="id"), "those are `city`"),
        (MoveColumn("place.zip", where="before", other="only.one"), "those are `city`"),
        (MakeOptional("nothing"), "no column `nothing`"),
        (Repartition(("day(id)",)), "cannot be partitioned by"),
        (Repartition(("nothing",)), "which is not a column"),
        (Repartition(("id", "id")), "`id` occurs twice"),
        (Repartition(("place",)), "cannot be partitioned by `place`"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_by_name_and_changes_nothing(
    lake: Lake, step: Step, complaint: str
) -> None:
    table = visits_table(lake)
    before = table.iceberg().metadata_location
    with pytest.raises(AlterRefusedError, match=complaint):
        # also when a step before it was fine
        alter.alter(table, AddColumn("fine", type=pa.int64()), step)
    assert table.iceberg().metadata_location == before


def test_the_last_column_stays(lake: Lake) -> None:
    table = lake.create(TableName("raw", "narrow"), pa.schema([("a", pa.int64())]))
    with pytest.raises(AlterRefusedError, match="last column of the table"):
        alter.drop_column(table, "a")


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
    with pytest.raises(UnsupportedTableError, match=r"`place\.country` has a default value"):
        table.head()
    with pytest.raises(UnsupportedTableError, match="format version 3"):
        alter.add_column(table, "note", pa.string())
