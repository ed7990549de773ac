"""Creating tables, bringing them in line with a schema, refs and changes."""

import pyarrow as pa
import pytest
import sqlalchemy as sa

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    ColumnReason,
    ContractError,
    InvalidNameError,
    RefExistsError,
    SnapshotNotFoundError,
    TableNotFoundError,
)
from headrace.identifiers import TableName
from headrace.registry import Registry
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.raising import refused
from tests.tables.factories import EVENTS, add, day_key, events, events_table, ids_of


@pytest.mark.parametrize("name", ["../evil.t", "a.b.c", "A.t", "a", "a.b'", "a." + "x" * 64])
def test_names_that_could_leave_the_warehouse_are_refused(lake: Lake, name: str) -> None:
    with pytest.raises(InvalidNameError):
        lake.table(name)


def test_an_unknown_table_lists_the_known_ones(lake: Lake) -> None:
    events_table(lake)
    with refused(TableNotFoundError, name="raw.evens", known=("raw.events",)):
        lake.table("raw.evens")


def test_creating_the_same_table_again_changes_nothing(lake: Lake) -> None:
    table = events_table(lake)
    before = table.iceberg().metadata_location
    events_table(lake)
    assert table.iceberg().metadata_location == before


def test_new_optional_and_wider_columns_apply_and_old_rows_still_read(lake: Lake) -> None:
    name = TableName("raw", "wide")
    old = pa.schema([pa.field("id", pa.int32(), nullable=False)])
    table = lake.create(name, old)
    batch = pa.record_batch({"id": pa.array([1], pa.int32())})
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    new = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("note", pa.string())])
    lake.create(name, new)
    assert table.head().to_arrow().to_pylist() == [{"id": 1, "note": None}]


@pytest.mark.parametrize(
    ("position", "field", "reason"),
    [
        (0, pa.field("id", pa.int32(), nullable=False), ColumnReason.NOT_WIDER),
        (1, pa.field("name", pa.int64()), ColumnReason.NOT_WIDER),
        (1, pa.field("name", pa.string(), nullable=False), ColumnReason.OPTIONAL_TO_REQUIRED),
        (None, pa.field("extra", pa.int64(), nullable=False), ColumnReason.NO_VALUE_IN_OLDER_ROWS),
    ],
)
def test_other_changes_of_a_schema_are_refused(
    lake: Lake, position: int | None, field: pa.Field, reason: ColumnReason
) -> None:
    wanted = EVENTS.append(field) if position is None else EVENTS.set(position, field)
    table = events_table(lake)
    before = table.iceberg().metadata_location
    with refused(ContractError, reason=reason, column=field.name):
        lake.create(table.name, wanted, partition_by=["day(event_time)"])
    assert table.iceberg().metadata_location == before


@pytest.mark.parametrize(
    "kind",
    [pa.int16(), pa.uint8(), pa.large_string(), pa.large_list(pa.int16()), pa.float16()]
    + [pa.timestamp("ms", tz="UTC"), pa.timestamp("us", tz="Etc/UTC")]
    + [pa.struct([("small", pa.int8())])],
    ids=str,
)
def test_a_type_that_tables_keep_as_another_is_declared_again_without_a_change(
    lake: Lake, kind: pa.DataType
) -> None:
    wanted = pa.schema([("value", kind)])
    table = lake.create(TableName("raw", "kinds"), wanted)
    before = table.iceberg().metadata_location
    lake.create(table.name, wanted)
    assert table.iceberg().metadata_location == before


def test_a_type_that_no_table_can_keep_is_refused_by_name(lake: Lake) -> None:
    for kind in (pa.duration("s"), pa.timestamp("ns"), pa.null()):
        with refused(ContractError, table="raw.kinds"):
            lake.create(TableName("raw", "kinds"), pa.schema([("value", kind)]))
    assert lake.names() == []


def _evolve_often(settings: Settings, mine: str) -> None:
    with Lake.open(settings) as lake:
        for i in range(4):
            extra = [pa.field(name, pa.int64()) for name in (f"shared_{i}", f"{mine}_{i}")]
            wanted = pa.schema([*EVENTS, *extra])
            lake.create(TableName("raw", "events"), wanted, partition_by=["day(event_time)"])


def test_processes_that_evolve_a_table_beside_an_appender_all_succeed(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        workers = [
            CONTEXT.Process(target=_evolve_often, args=(settings, name)) for name in ("a", "b")
        ]
        for worker in workers:
            worker.start()
        rows = 0
        while any(worker.is_alive() for worker in workers):
            add(table, [rows])
            rows += 1
        assert [worker.exitcode for worker in workers] == [0, 0]
        names = table.head().schema.names
        assert sorted(names) == sorted(
            [*EVENTS.names, *(f"{who}_{i}" for who in ("shared", "a", "b") for i in range(4))]
        )
        assert ids_of(table) == list(range(rows))


def test_tables_of_other_programs_with_foreign_names_hide_no_table(lake: Lake) -> None:
    events_table(lake)
    lake.catalog.create_table("raw.BadName", pa.schema([("a", pa.int32())]))
    assert [str(name) for name in lake.names()] == ["raw.events"]
    with refused(TableNotFoundError, name="raw.nothing", known=("raw.events",)):
        lake.table("raw.nothing")


def test_another_partitioning_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    with refused(ContractError, reason=ColumnReason.PARTITIONED_OTHERWISE):
        lake.create(table.name, EVENTS, partition_by=["id"])


def test_a_tag_keeps_its_snapshot_and_never_moves(lake: Lake) -> None:
    table = events_table(lake)
    first, second = add(table, [1]), add(table, [2])
    refs.tag(table, "events-v1", snapshot_id=first.snapshot_id)
    refs.tag(table, "events-v1", snapshot_id=first.snapshot_id)
    with refused(RefExistsError, table=str(table.name)):
        refs.tag(table, "events-v1", snapshot_id=second.snapshot_id)
    assert refs.tags(table) == {"events-v1": first.snapshot_id}


def test_a_tag_cannot_take_the_name_of_a_branch(lake: Lake) -> None:
    table = events_table(lake)
    first = add(table, [1])
    with refused(RefExistsError, table=str(table.name)):
        refs.tag(table, "main", snapshot_id=first.snapshot_id)


def test_unknown_snapshots_and_tags_are_named(lake: Lake) -> None:
    table = events_table(lake)
    with refused(SnapshotNotFoundError, wanted="snapshot 42"):
        table.at(snapshot_id=42)
    with refused(SnapshotNotFoundError, wanted="tag `nope`"):
        table.at(tag="nope")


def test_changes_names_touched_partitions_and_is_blind_to_compaction(lake: Lake) -> None:
    table = events_table(lake)
    first = add(table, [1], day=0)
    add(table, [2], day=0)
    add(table, [3], day=2)
    files = [f.data_file for f in table.head().files(partitions=[day_key(0)])]
    merged = write_batches(table, [events([1, 2], day=0)])
    swap = operations.replace_files(table, removed=files, added=merged, provenance=Provenance())
    assert not changes(table, since=swap.parent_id)
    seen = changes(table, since=first.snapshot_id)
    assert seen.partitions == {day_key(0), day_key(2)}
    assert seen.operations == ("append", "append")
    assert ids_of(table) == [1, 2, 3]


def test_changes_from_an_unknown_start_is_an_error(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    with pytest.raises(SnapshotNotFoundError):
        changes(table, since=42)


def test_changes_from_a_beginning_that_was_lost_are_an_error_and_never_a_part(
    settings: Settings,
) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 3})
    with Lake.open(few) as lake:
        table = events_table(lake)
        for day in range(8):
            add(table, [day], day=day)
        assert changes(table, since=None).partitions == {day_key(day) for day in range(8)}
    for path in few.state_dir.glob("registry.db*"):
        path.unlink()
    Registry(few.registry_uri).close()
    with Lake.open(few) as lake:
        table = events_table(lake)
        oldest = min(table.iceberg().snapshots(), key=lambda each: each.sequence_number or 0)
        with refused(SnapshotNotFoundError, wanted=f"snapshot before {oldest.snapshot_id}"):
            changes(table, since=None)
        head = table.head().snapshot_id
        assert not changes(table, since=head)


def test_changes_pass_a_hole_in_the_log_by_way_of_the_snapshots(settings: Settings) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 3})
    with Lake.open(few) as lake:
        table = events_table(lake)
        for day in range(8):
            add(table, [day], day=day)
        alive = sorted(table.iceberg().metadata.snapshots, key=lambda s: s.sequence_number or 0)
        with lake.registry.engine.begin() as connection:
            lost = {"id": alive[-2].snapshot_id}
            connection.execute(sa.text("delete from commits where snapshot_id = :id"), lost)
        assert changes(table, since=None).partitions == {day_key(day) for day in range(8)}
        assert changes(table, since=alive[-3].snapshot_id).partitions == {day_key(6), day_key(7)}


def test_changes_of_many_partitions_are_found_without_a_summary(lake: Lake) -> None:
    table = events_table(lake)
    batches = [events([day], day=day) for day in range(70)]
    operations.append(table, write_batches(table, batches), provenance=Provenance())
    assert changes(table, since=None).partitions == {day_key(day) for day in range(70)}
