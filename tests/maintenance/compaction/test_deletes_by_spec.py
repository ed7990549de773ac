"""Which files a delete by value applies to, by the partition spec it was written under."""

import pyarrow as pa
import pytest
from pyiceberg.typedef import Record

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import CommitConflictError, UnsupportedTableError
from headrace.maintenance.compaction.compact import compact
from headrace.tables import alter
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.maintenance.compaction.test_deletes import engine_rows, plain_rows, these
from tests.tables.delete_files import delete_values
from tests.tables.factories import add, events, events_table, ids_of

pytestmark = pytest.mark.slow

NULL = Record(None)


def respecified(table: LakeTable, *partition_by: str) -> LakeTable:
    alter.repartition(table, partition_by=partition_by)
    return table


@pytest.mark.parametrize("void_first", [True, False])
def test_a_delete_under_a_spec_of_void_fields_reaches_the_files_of_every_spec(
    lake: Lake, engine: DuckDBEngine, *, void_first: bool
) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    add(table, [11, 12], day=1)
    if void_first:
        respecified(table, "void(id)", "void(event_time)")
        add(table, [21, 22])
        delete_values(table, these(id=[1, 11, 21]), partition=Record(None, None))
    else:
        delete_values(respecified(table, "void(id)"), these(id=[1, 11]), partition=NULL)
        add(table, [22])
    before = engine_rows(engine, table)
    done = compact(table)
    assert ids_of(table) == [2, 12, 22]
    assert engine_rows(engine, table) == before == plain_rows(table)
    assert done.deletes_dropped == 1
    assert not table.head().delete_files()
    assert not compact(table).changed


def test_such_a_delete_conflicts_with_a_rewrite_of_any_file(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    (file,) = table.head().files()
    base = respecified(table, "void(id)").head().snapshot_id
    added = write_batches(table, [events([1, 2])])
    delete_values(table, these(id=[1]), partition=NULL)
    with pytest.raises(CommitConflictError):
        operations.replace_files(
            table,
            removed=[file.data_file],
            added=added,
            base_snapshot_id=base,
            provenance=Provenance(),
        )


def test_a_void_field_beside_others_does_not_make_a_delete_global(
    lake: Lake, engine: DuckDBEngine
) -> None:
    table = respecified(events_table(lake), "void(name)", "id")
    add(table, [1, 2])
    first = next(file for file in table.head().files() if file.partition == (None, 1))
    both = pa.table({"id": pa.array([1, 2], pa.int64())})
    delete_values(table, both, partition=first.data_file.partition)
    # DuckDB would take row 2 of the other partition too, unless `id` says where each row is
    compact(table)
    assert ids_of(table) == [2]
    assert engine_rows(engine, table) == plain_rows(table)


def test_duckdb_is_refused_a_delete_of_one_spec_beside_files_of_another(
    lake: Lake, engine: DuckDBEngine
) -> None:
    """It names what its own spec partitions by, and yet DuckDB would take rows of the older spec."""
    table = events_table(lake)
    add(table, [1, 2])
    respecified(table, "id")
    add(table, [1, 3])
    newer = next(file for file in table.head().files() if file.partition == (1,))
    delete_values(table, these(id=[1]), partition=newer.data_file.partition)
    with pytest.raises(UnsupportedTableError):
        engine.bind("t", table.head())
    compact(table)
    assert ids_of(table) == [1, 2, 3]
    assert engine_rows(engine, table) == plain_rows(table)
