"""Delete files of other engines: applied when reading, carried by commits, never brought back."""

from pathlib import Path

import duckdb
import hypothesis
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pyiceberg.manifest import FileFormat

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.extensions import load_iceberg_extension
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    Remedy,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.raising import refused
from tests.tables.delete_files import delete_positions, delete_values
from tests.tables.factories import EVENTS, add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow


def plain_table(lake: Lake) -> LakeTable:
    return lake.create(TableName("raw", "plain"), EVENTS)


def engine_ids(table: LakeTable) -> list[int]:
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("t", table.head())
        return sorted(engine.query("select id from t").read_all()["id"].to_pylist())


def stock_ids(table: LakeTable) -> list[int]:
    return sorted(table.iceberg().scan().to_arrow()["id"].to_pylist())


@pytest.mark.parametrize("bounded", [True, False])
def test_rows_deleted_by_position_are_not_read(lake: Lake, *, bounded: bool) -> None:
    table = events_table(lake)
    add(table, range(10))
    add(table, range(10, 20))
    first, second = sorted(table.head().files(), key=lambda file: file.sequence)
    delete_positions(table, {first: [0, 3, 9]}, bounded=bounded)
    delete_positions(table, {second: [5]}, bounded=bounded)
    wanted = [i for i in range(20) if i not in {0, 3, 9, 15}]
    assert ids_of(table) == wanted == engine_ids(table) == stock_ids(table)
    assert table.head().row_count == 16


def test_deletes_never_reach_rows_that_came_after_them(lake: Lake) -> None:
    table = plain_table(lake)
    add(table, [1, 2])
    (file,) = table.head().files()
    delete_values(table, pa.table({"id": pa.array([2, 7], pa.int64())}))
    add(table, [7])
    assert engine_ids(table) == [1, 7]
    delete_positions(table, {file: [0]}, bounded=False)
    assert engine_ids(table) == [7]


def test_rows_deleted_by_value_are_left_out_by_every_reader(lake: Lake) -> None:
    table = plain_table(lake)
    add(table, range(4), day=0)
    add(table, range(4, 8), day=1)
    (first, _) = table.head().files()
    delete_values(table, pa.table({"id": pa.array([1, 6], pa.int64())}))
    delete_positions(table, {first: [0]}, bounded=False)
    add(table, [6], day=2)
    with refused(UnsupportedTableError, remedy=Remedy.compact(str(table.name))):
        table.head().plain_files()
    assert engine_ids(table) == ids_of(table)
    assert len(ids_of(table)) == 6
    names = table.head().to_arrow(columns=["name"]).column("name").to_pylist()
    assert sorted(names) == sorted(f"event {at}" for at in ids_of(table))


def test_a_delete_by_value_of_one_partition_leaves_the_others(lake: Lake) -> None:
    table = lake.create(TableName("raw", "parts"), EVENTS, partition_by=["id"])
    add(table, [1])
    add(table, [2])
    one = next(file for file in table.head().files() if file.partition == (1,))
    both = pa.table({"id": [1], "name": ["event 1"]})
    delete_values(table, both, partition=one.data_file.partition)
    deleted = {file.partition: len(file.deletes) for file in table.head().files()}
    assert deleted == {(1,): 1, (2,): 0}
    assert engine_ids(table) == ids_of(table) == [2]


def test_commits_carry_delete_files_and_their_counts(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(10))
    (file,) = table.head().files()
    delete_positions(table, {file: [4, 5]})
    for i in range(10, 30):  # manifests merge several times
        add(table, [i], day=i % 3)
    operations.rewrite_manifests(table, provenance=Provenance())
    wanted = [i for i in range(30) if i not in {4, 5}]
    assert ids_of(table) == wanted == engine_ids(table) == stock_ids(table)
    assert table.head().summary["total-delete-files"] == "1"
    operations.overwrite_partitions(table, [], partitions=[day_key(0)], provenance=Provenance())
    assert ids_of(table) == [i for i in range(10, 30) if i % 3] == engine_ids(table)
    summary = table.head().summary
    assert (summary["total-delete-files"], summary["total-position-deletes"]) == ("0", "0")
    assert not [file for file in table.head().files() if file.deletes]


def test_replacing_a_file_whose_rows_were_deleted_meanwhile_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2, 3])
    base = table.head()
    (file,) = base.files()
    copy = write_batches(table, [events([1, 2, 3])])
    delete_positions(table, {file: [1]})
    with refused(CommitConflictError, reason=ConflictReason.ROWS_DELETED):
        operations.replace_files(
            table,
            removed=[file.data_file],
            added=copy,
            base_snapshot_id=base.snapshot_id,
            provenance=Provenance(),
        )
    assert ids_of(table) == [1, 3]


def test_deletes_of_other_files_are_no_reason_to_refuse(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2, 3], day=0)
    add(table, [4, 5], day=1)
    base = table.head()
    (file,) = base.files(partitions=[day_key(0)])
    (other,) = base.files(partitions=[day_key(1)])
    copy = write_batches(table, [events([1, 2, 3])])
    delete_positions(table, {other: [0]})
    operations.replace_files(
        table,
        removed=[file.data_file],
        added=copy,
        base_snapshot_id=base.snapshot_id,
        provenance=Provenance(),
    )
    assert ids_of(table) == [1, 2, 3, 5] == engine_ids(table)


def test_a_file_replaced_together_with_its_deletes_does_not_bring_rows_back(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2, 3])
    (file,) = table.head().files()
    delete_positions(table, {file: [1]})
    base = table.head()
    (file,) = base.files()
    copy = write_batches(table, [events([1, 3])])
    operations.replace_files(
        table,
        removed=[file.data_file],
        removed_deletes=file.deletes,
        added=copy,
        base_snapshot_id=base.snapshot_id,
        provenance=Provenance(),
    )
    assert ids_of(table) == [1, 3] == engine_ids(table) == stock_ids(table)
    assert table.head().row_count == 2
    (left,) = table.head().files()
    assert left.deletes == ()


def test_deletes_by_value_that_duckdb_reads_wrong_are_refused(lake: Lake) -> None:
    table = plain_table(lake)
    batch = events([1, 2]).set_column(1, "name", pa.array([None, "gone"]))
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    delete_values(table, pa.table({"name": ["gone"]}))
    with refused(UnsupportedTableError, remedy=Remedy.compact(str(table.name))):
        engine_ids(table)


def test_duckdb_takes_nulls_away(lake: Lake, tmp_path: Path) -> None:
    """The fault that `_refuse_lost_nulls` guards against; when this fails, the guard may go."""
    table = plain_table(lake)
    batch = events([1, 2]).set_column(1, "name", pa.array([None, "gone"]))
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    delete_values(table, pa.table({"name": ["gone"]}))
    connection = duckdb.connect()
    load_iceberg_extension(connection)
    location = table.head().metadata_location
    assert connection.execute(f"select id from iceberg_scan('{location}')").fetchall() == []


def test_duckdb_takes_rows_of_other_partitions_away(lake: Lake, tmp_path: Path) -> None:
    """The fault that `_refuse_spread_deletes` guards against; when this fails, the guard may go."""
    table = events_table(lake)
    for day in (0, 1):
        add(table, [1, 2], day=day)
    first = next(file for file in table.head().files() if file.partition == day_key(0))
    delete_values(table, pa.table({"id": [1]}), partition=first.data_file.partition)
    connection = duckdb.connect()
    load_iceberg_extension(connection)
    location = table.head().metadata_location
    found = connection.execute(f"select id from iceberg_scan('{location}')").fetchall()
    assert found == [(2,), (2,)]  # of 1, 2 and 2
    with refused(UnsupportedTableError, remedy=Remedy.compact(str(table.name))):
        engine_ids(table)


def test_deletion_vectors_are_refused_by_name(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    (file,) = table.head().files()
    delete_positions(table, {file: [0]}, file_format=FileFormat.PUFFIN)
    with refused(UnsupportedTableError, reason=UnsupportedReason.FILE_FORMAT):
        table.head().files()


@given(data=st.data())
@hypothesis.settings(
    max_examples=examples(15, few=8),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_mix_of_appends_and_position_deletes_reads_as_every_reader_reads_it(
    lake: Lake, data: st.DataObject
) -> None:
    table = events_table(lake, f"raw.t{len(lake.names())}")
    written: dict[str, list[int]] = {}  # the rows of each file, in order
    gone: set[int] = set()
    for step in range(data.draw(st.integers(1, 8))):
        if written and data.draw(st.booleans()):
            # names are random: only the order of commits is the same each time
            by_age = sorted(table.head().files(), key=lambda file: file.sequence)
            file = data.draw(st.sampled_from(by_age))
            at = data.draw(st.lists(st.integers(0, file.rows - 1), min_size=1, unique=True))
            gone |= {written[file.path][position] for position in at}
            delete_positions(table, {file: at}, bounded=data.draw(st.booleans()))
        else:
            ids = [100 * step + i for i in range(data.draw(st.integers(1, 6)))]
            add(table, ids, day=data.draw(st.integers(0, 1)))
            (path,) = {file.path for file in table.head().files()} - written.keys()
            written[path] = ids
    alive = sorted(i for ids in written.values() for i in ids if i not in gone)
    assert ids_of(table) == alive == stock_ids(table)
    assert table.head().to_arrow().num_rows == len(alive)
