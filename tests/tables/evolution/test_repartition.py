"""New partition specs and wider columns: everything stays readable and is found."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import AlterRefusedError, ColumnReason
from headrace.iceberg import partitions
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.tables import alter
from headrace.tables.alter import (
    AddColumn,
    DropColumn,
    MoveColumn,
    RenameColumn,
    WidenColumn,
)
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.tables.factories import add, events_table
from tests.tables.visits import BONN, VISITS, put, rows_of, visits_table

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("by", ["id", "bucket(4, id)", "truncate(2, id)"])
def test_a_widened_column_still_finds_its_rows_and_partitions(lake: Lake, by: str) -> None:
    narrow = pa.schema([pa.field("id", pa.int32()), pa.field("x", pa.float32())])
    table = lake.create(TableName("raw", "narrow"), narrow, partition_by=[by])
    put(table, {"id": 1, "x": 0.5}, {"id": 7, "x": 1.5})
    alter.alter(table, WidenColumn("id", type=pa.int64()), WidenColumn("x", type=pa.float64()))
    put(table, {"id": 2**40, "x": 1e300}, {"id": 7, "x": None})
    assert [row["id"] for row in rows_of(table)] == [1, 7, 7, 2**40]
    # bounds of older files are of the narrow type
    found = table.iceberg().scan(row_filter="id > 6 and x < 2").to_arrow()
    assert found.to_pylist() == [{"id": 7, "x": 1.5}]
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("head", table.head())
        read = engine.query("select * from head where id > 6 and x < 2").read_all()
    assert read.to_pylist() == [{"id": 7, "x": 1.5}]
    of_seven = [key for key in table.head().partitions if key in _partition_of_seven(table)]
    assert table.head().to_arrow(partitions=of_seven).column("id").to_pylist().count(7) == 2


def _partition_of_seven(table: LakeTable) -> set[tuple[object, ...]]:
    files = write_batches(table, [pa.RecordBatch.from_pylist([{"id": 7}])])
    return {partitions.key_of_record(file.partition, table.terms()) for file in files}


def _back_and_forth(table: LakeTable) -> None:
    alter.repartition(table, partition_by=["bucket(4, id)"])
    alter.repartition(table, partition_by=["day(event_time)"])


def test_a_spec_that_was_there_before_is_taken_again_with_its_ids(lake: Lake) -> None:
    table = events_table(lake)
    _back_and_forth(table)
    before = table.iceberg().metadata
    assert (before.default_spec_id, len(before.partition_specs)) == (0, 2)
    _back_and_forth(table)
    assert len(table.iceberg().metadata.partition_specs) == 2
    alter.repartition(table, partition_by=["bucket(8, id)", "day(event_time)"])
    newest = table.iceberg().spec().fields
    (bucket, day) = newest
    assert day == before.spec().fields[0]
    assert bucket.name != before.specs()[1].fields[0].name
    assert bucket.field_id == 1 + max(
        each.field_id for spec in before.specs().values() for each in spec.fields
    )


@pytest.mark.parametrize(
    "by",
    [
        ["bucket(3, id)"],
        ["month(event_time)", "bucket(2, name)"],
        ["truncate(2, name)", "hour(event_time)"],
        ["name"],
        [],
    ],
    ids=str,
)
def test_a_new_partitioning_takes_what_is_written_from_now_on_and_everything_stays_readable(
    lake: Lake, by: list[str]
) -> None:
    table = events_table(lake)
    for day in range(2):
        add(table, [day], day=day)
    refs.tag(table, "before", snapshot_id=table.head().snapshot_id or 0)
    alter.repartition(table, partition_by=by)
    assert table.head().partition_by == tuple(by)
    for day in range(2):
        add(table, [2 + day], day=day)
    assert [row["id"] for row in rows_of(table)] == [0, 1, 2, 3]
    newest = table.iceberg().metadata.default_spec_id
    specs = sorted(file.spec_id for file in table.head().files())
    assert specs == [0, 0, *([newest] * (len(specs) - 2))]
    assert table.at(tag="before").to_arrow().num_rows == 2
    for column, value in (("id", 3), ("name", "event 3")):
        found = table.iceberg().scan(row_filter=f"{column} == {value!r}").to_arrow()
        assert found.column("id").to_pylist() == [3]


def test_altered_tables_compact_and_read_as_before(lake: Lake) -> None:
    table = visits_table(lake)
    for i in range(3):
        put(table, {"id": i, "place": BONN, "stops": [BONN], "labels": [("home", BONN)]})
    alter.alter(
        table,
        RenameColumn("place.zip", to="code"),
        DropColumn("stops.element.zip"),
        AddColumn("stops.element.zip", type=pa.string()),
        WidenColumn("labels.value.zip", type=pa.int64()),
        MoveColumn("stops", where="first"),
    )
    new = {"city": "Ulm", "zip": "89073"}
    put(table, {"id": 3, "stops": [new], "labels": [("work", {"city": "Ulm", "zip": 2**40})]})
    before = rows_of(table)
    assert before[0]["place"] == {"city": "Bonn", "code": 53111}
    assert before[0]["stops"] == [{"city": "Bonn", "zip": None}]
    assert compact(table).changed
    assert len(table.head().files()) == 1
    assert rows_of(table) == before


def test_a_repartitioned_table_compacts_and_keeps_its_rows(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(4):
        add(table, [i], day=i % 2)
    alter.repartition(table, partition_by=["bucket(2, id)"])
    for i in range(4, 8):
        add(table, [i], day=i % 2)
    before = rows_of(table)
    compact(table)
    assert rows_of(table) == before


def test_files_without_ids_still_read_by_name_and_their_names_are_not_given_away(
    lake: Lake,
) -> None:
    table = visits_table(lake)
    path = f"{lake.settings.warehouse}/foreign.parquet"
    rows = [{"id": 1, "place": BONN, "stops": [BONN], "only": {"one": 1}}]
    pq.write_table(pa.Table.from_pylist(rows, VISITS), path)
    table.iceberg().add_files([f"file://{path}"])
    alter.alter(
        table,
        RenameColumn("place.zip", to="code"),
        RenameColumn("place", to="spot"),
        DropColumn("price"),
        AddColumn("spot.street", type=pa.struct([("name", pa.string())])),
        WidenColumn("stops.element.zip", type=pa.int64()),
    )
    (row,) = rows_of(table)
    assert row["spot"] == {"city": "Bonn", "code": 53111, "street": None}
    assert row["stops"] == [BONN]
    # readers would take what those files call so for the new column
    for step in (
        AddColumn("price", type=pa.decimal128(5, 2)),
        AddColumn("spot.zip", type=pa.int32()),
        RenameColumn("stops", to="place"),
    ):
        with refused(AlterRefusedError, reason=ColumnReason.OLDER_COLUMN_NAME):
            alter.alter(table, step)
    alter.rename_column(table, "spot.code", to="zip")
    (row,) = rows_of(table)
    assert row["spot"]["zip"] == 53111
