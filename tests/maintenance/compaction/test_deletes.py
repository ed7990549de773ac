"""Compaction of tables with delete files: applied, dropped with their last data file, never too early."""

import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.dml.copy_on_write import wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import CorruptFileError, UnsupportedReason, UnsupportedTableError
from headrace.identifiers import TableName
from headrace.maintenance.compaction.bins import CompactionPolicy, Reason
from headrace.maintenance.compaction.compact import apply_compaction, compact
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.maintenance.compaction.test_compact import MIB, stray_files
from tests.raising import refused
from tests.tables.delete_files import delete_positions, delete_values
from tests.tables.factories import EVENTS, add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow


def engine_rows(engine: DuckDBEngine, table: LakeTable) -> list[tuple[object, ...]]:
    """Read all rows with DuckDB, which applies delete files on its own."""
    engine.bind("t", table.head())
    read = engine.query("select * from t").read_all().to_pylist()
    return sorted(tuple(map(str, row.values())) for row in read)


def rows_before(engine: DuckDBEngine, table: LakeTable) -> list[tuple[object, ...]]:
    """Read all rows with DuckDB, or where that is refused file by file."""
    try:
        return engine_rows(engine, table)
    except UnsupportedTableError:
        version = table.head()
        wanted = wanted_columns(version)
        batches = [b for file in version.files() for b in live_rows(version, file, wanted)]
        read = [row for batch in batches for row in batch.to_pylist()]
        return sorted(tuple(map(str, row.values())) for row in read)


def test_a_delete_by_value_in_one_partition_is_refused_to_duckdb_which_spreads_it(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    add(table, [11], day=1)
    first, _ = by_age(table)
    delete_values(table, these(id=[1, 11]), partition=first.data_file.partition)
    with refused(UnsupportedTableError, reason=UnsupportedReason.EQUALITY_DELETES_IN_ONE_PARTITION):
        engine.bind("t", table.head())
    compact(table)
    assert [row[0] for row in engine_rows(engine, table)] == ["11", "2"]


def plain_rows(table: LakeTable) -> list[tuple[object, ...]]:
    return sorted(tuple(map(str, row.values())) for row in table.head().to_arrow().to_pylist())


def by_age(table: LakeTable) -> list[FileEntry]:
    return sorted(table.head().files(), key=lambda file: (file.sequence, file.path))


def these(**columns: list[object]) -> pa.Table:
    fields = [EVENTS.field(name) for name in columns]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def rewrite_without_the_deletes(table: LakeTable, file: FileEntry, ids: list[int]) -> None:
    """Replace a data file as other programs do: its delete files stay behind."""
    operations.rewrite_files(
        table,
        removed=[file.data_file],
        added=write_batches(table, [events(ids)]),
        base_snapshot_id=table.head().snapshot_id,
        provenance=Provenance(),
    )
    assert len(table.head().delete_files()) == 1


@pytest.mark.parametrize("bounded", [True, False])
def test_rows_deleted_by_position_go_with_their_delete_file(
    lake: Lake, engine: DuckDBEngine, *, bounded: bool
) -> None:
    table = events_table(lake)
    add(table, range(10))
    (file,) = table.head().files()
    delete_positions(table, {file: [0, 3, 9]}, bounded=bounded)
    plan = plan_compaction(table.head(), target_bytes=1)  # the file is large
    assert [each.reasons for each in plan.bins] == [{Reason.DELETES: 1}]
    assert plan.deletes_in == 1
    before = engine_rows(engine, table)
    done = apply_compaction(table, plan)
    assert (done.rows, done.rows_deleted, done.deletes_dropped) == (10, 3, 1)
    assert engine_rows(engine, table) == before == plain_rows(table)
    assert table.head().delete_files() == ()
    assert table.head().row_count == 7
    assert [f.rows for f in table.head().plain_files()] == [7]
    assert not compact(table, target_bytes=1).changed


def test_rows_deleted_by_value_go_with_their_delete_file_and_keep_their_order(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = lake.create(TableName("raw", "plain"), EVENTS)
    add(table, [5, 3, 8])
    add(table, [9, 1, 4])
    delete_values(table, these(id=[3, 9]))
    add(table, [3])  # came after the delete
    before = engine_rows(engine, table)
    done = compact(table)
    assert (done.rows_deleted, done.deletes_dropped) == (2, 1)
    assert engine_rows(engine, table) == before == plain_rows(table)
    assert table.head().to_arrow()["id"].to_pylist() == [5, 8, 1, 4, 3]
    assert not compact(table).changed


def test_nulls_and_several_columns_delete_by_value_as_the_format_says(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = lake.create(TableName("raw", "plain"), EVENTS)
    batch = events([1, 2, 3])
    names = pa.array([None, "event 2", None])
    batch = batch.set_column(1, "name", names)
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    delete_values(table, these(id=[1, 2, 3], name=[None, None, "event 3"]))
    compact(table)
    assert ids_of(table) == [2, 3]
    assert engine_rows(engine, table) == plain_rows(table)


def test_a_file_whose_rows_are_all_deleted_disappears(lake: Lake, engine: DuckDBEngine) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    add(table, [3], day=1)
    (gone,) = table.head().files(partitions=[day_key(0)])
    delete_positions(table, {gone: [0, 1]})
    done = compact(table)
    assert (done.files_before, done.files_after, done.rows_deleted) == (1, 0, 2)
    assert ids_of(table) == [3]
    assert engine_rows(engine, table) == plain_rows(table)
    assert not compact(table).changed


def test_a_delete_file_stays_while_it_applies_to_a_file_that_stays(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = events_table(lake)
    for ids in ([1, 2, 3], [4, 5], [6]):
        add(table, ids)
    first, second, _ = by_age(table)
    delete_positions(table, {first: [0], second: [1]}, bounded=False)
    before = engine_rows(engine, table)
    plan = plan_compaction(table.head(), target_bytes=1)
    assert len(plan.bins) == 1
    alone = plan_compaction(
        table.head(), target_bytes=1, concerns=lambda file: file.path == first.path
    )
    done = apply_compaction(table, alone)
    assert (done.rows_deleted, done.deletes_dropped) == (1, 0)
    assert len(table.head().delete_files()) == 1
    assert engine_rows(engine, table) == before == plain_rows(table)
    done = compact(table, target_bytes=1)
    assert done.deletes_dropped == 1
    assert engine_rows(engine, table) == before == plain_rows(table)
    assert table.head().delete_files() == ()


def test_a_delete_file_goes_with_the_last_of_several_commits(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = events_table(lake)
    for ids in ([1, 2, 3], [4, 5]):
        add(table, ids)
    first, second = by_age(table)
    delete_positions(table, {first: [0], second: [1]}, bounded=False)
    before = engine_rows(engine, table)
    policy = CompactionPolicy(group_bytes=1)
    done = compact(table, target_bytes=1, policy=policy)
    assert (done.commits, done.deletes_dropped, done.rows_deleted) == (2, 1, 2)
    assert engine_rows(engine, table) == before == plain_rows(table)
    assert table.head().row_count == 3


def test_delete_files_that_apply_to_nothing_are_dropped_though_no_file_is_rewritten(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = events_table(lake)
    add(table, [1, 2], day=0)
    add(table, [3], day=1)
    (file,) = table.head().files(partitions=[day_key(0)])
    delete_positions(table, {file: [0]})
    rewrite_without_the_deletes(table, file, [7])
    done = compact(table)
    assert (done.files_before, done.deletes_dropped) == (0, 1)
    assert done.changed
    assert table.head().delete_files() == ()
    assert ids_of(table) == [3, 7]
    assert engine_rows(engine, table) == plain_rows(table)
    assert not compact(table).changed


def test_a_dangling_delete_file_does_not_hide_the_rows_that_are_there(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    (file,) = table.head().files()
    delete_positions(table, {file: [0, 1]})
    rewrite_without_the_deletes(table, file, [7, 8])
    assert len(engine_rows(engine, table)) == 2


def test_deletes_that_land_while_files_are_rewritten_are_not_lost(
    lake: Lake, engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for ids in ([1, 2], [3, 4]):
        add(table, ids)
    first, second = by_age(table)
    landed: list[int] = []

    # the delete has to land at exactly this moment: after the rows were read, before the commit
    def replace_files(*arguments: object, **named: object) -> object:
        if not landed:
            landed.append(delete_positions(table, {first: [1]}))
        return original(*arguments, **named)

    original = operations.replace_files
    monkeypatch.setattr("headrace.maintenance.compaction.compact.replace_files", replace_files)
    done = compact(table)
    assert done.changed
    assert ids_of(table) == [1, 3, 4]
    assert engine_rows(engine, table) == plain_rows(table)
    assert table.head().delete_files() == ()
    assert stray_files(table) == []
    assert second.path not in {file.path for file in table.head().files()}


def test_a_damaged_delete_file_is_named_and_nothing_changes(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    (file,) = table.head().files()
    delete_positions(table, {file: [0]})
    (deletes,) = table.head().delete_files()
    before = table.head().snapshot_id
    path = Path(local_path(deletes.file_path))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFileError) as found:
        compact(table)
    assert found.value.path == str(path)
    assert table.head().snapshot_id == before


actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("positions"), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.just("values"), st.integers(0, 12), st.booleans()),
        st.tuples(st.just("partly"), st.integers(0, 1), st.none()),
    ),
    min_size=2,
    max_size=8,
)


@hypothesis_settings(
    deadline=None,
    max_examples=examples(10, few=5),
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has its own table
)
@given(steps=actions, partition_by=st.sampled_from([(), ("day(event_time)",), ("void(id)",)]))
def test_whatever_was_deleted_rows_read_the_same_before_and_after(
    lake: Lake,
    engine: DuckDBEngine,
    steps: list[tuple[str, int, object]],
    partition_by: tuple[str, ...],
) -> None:
    name = TableName("raw", f"t{uuid.uuid4().hex}")
    table = lake.create(name, EVENTS, partition_by=partition_by)
    add(table, [0, 1, 2])
    for number, (kind, first, second) in enumerate(steps):
        files = by_age(table)
        if kind == "add":
            add(table, range(first * 7 + number, first * 7 + number + int(str(second))), day=first)
        elif kind == "positions" and files:
            file = files[first % len(files)]
            where = [int(str(second)) % file.rows]
            delete_positions(table, {file: where}, bounded=number % 2 == 0)
        elif kind == "values":
            place = files[0].data_file.partition if partition_by and files else None
            if place is not None or not partition_by:
                delete_values(table, these(id=[first, first + 2]), partition=place)
        elif kind == "partly":
            days = {file.partition for file in files}
            plan = plan_compaction(table.head(), target_bytes=MIB, partitions=sorted(days)[:1])
            apply_compaction(table, plan)
    before = rows_before(engine, table)
    compact(table)
    assert engine_rows(engine, table) == before == plain_rows(table)
    assert table.head().delete_files() == ()
    assert not compact(table).changed
