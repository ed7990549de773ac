"""Keeping metadata small: what is set and dropped, and that what is read stays as it was."""

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table.update import RemovePropertiesUpdate

from headrace.api import Lake
from headrace.iceberg.column_metrics import BOUNDED_MAX
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.maintenance.health.limits import SCHEMAS_FINE, apply_limits, plan_limits
from headrace.tables.commits import operations
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs.refs import tag
from headrace.tables.writer import write_batches

pytestmark = pytest.mark.slow

NAME = TableName("raw", "wide")


def wide(lake: Lake, columns: int) -> LakeTable:
    return lake.create(NAME, pa.schema([pa.field(f"c{at}", pa.int64()) for at in range(columns)]))


def append(table: LakeTable, value: int) -> None:
    names = table.head().schema.names
    batch = pa.record_batch({name: pa.array([value], pa.int64()) for name in names})
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())


def forget(table: LakeTable, *names: str) -> None:
    """Make it a table of a program that sets no such properties."""
    removals = [name for name in table.iceberg().properties if name.startswith(names)]
    commit_updates(
        table,
        lambda current: (
            (RemovePropertiesUpdate(removals=removals),)
            if set(removals) & current.properties.keys()
            else ()
        ),
    )


def test_a_new_table_lacks_nothing(lake: Lake) -> None:
    table = wide(lake, 60)
    assert not plan_limits(table.iceberg().metadata)
    before = table.iceberg().metadata_location
    assert not apply_limits(table)
    assert table.iceberg().metadata_location == before


def test_a_table_of_another_program_gets_what_it_lacks_once(lake: Lake) -> None:
    table = wide(lake, 60)
    forget(table, "write.metadata.")
    done = apply_limits(table)
    assert done.keeps_files
    assert done.bounds_fewer == 60 - BOUNDED_MAX
    assert not apply_limits(table)
    said = table.head().properties
    assert said["write.metadata.delete-after-commit.enabled"] == "true"
    assert said["write.metadata.metrics.default"] == "counts"


def test_what_someone_has_set_stays(lake: Lake) -> None:
    table = lake.create(
        NAME,
        pa.schema([pa.field("id", pa.int64())]),
        properties={"write.metadata.delete-after-commit.enabled": "false"},
    )
    assert not plan_limits(table.iceberg().metadata)


def test_compaction_drops_the_bounds_that_prune_nothing(lake: Lake) -> None:
    table = wide(lake, 60)
    forget(table, "write.metadata.metrics")
    for value in range(3):
        append(table, value)
    assert all(len(file.data_file.lower_bounds) == 60 for file in table.head().files())
    apply_limits(table)
    compact(table)
    (file,) = table.head().files()
    assert len(file.data_file.lower_bounds) == BOUNDED_MAX
    assert len(file.data_file.value_counts) == 60


def test_schemas_that_nothing_was_written_with_go_and_everything_reads_as_before(
    lake: Lake,
) -> None:
    table = wide(lake, 2)
    append(table, 1)
    tag(table, "first", snapshot_id=table.head().snapshot_id or 0)
    for columns in range(3, 3 + SCHEMAS_FINE + 3):
        wide(lake, columns)
    append(table, 2)
    metadata = table.iceberg().metadata
    assert len(metadata.schemas) > SCHEMAS_FINE + 2
    then = table.at(tag="first")
    before = (then.to_arrow(), then.in_schema_at_commit().schema, table.head().to_arrow())
    done = apply_limits(table)
    assert done.schema_bytes > 0
    kept = table.iceberg().metadata.schemas
    assert len(kept) == 2  # of the tagged snapshot, and the current one
    then = table.at(tag="first")
    assert (then.to_arrow(), then.in_schema_at_commit().schema, table.head().to_arrow()) == before
    assert not apply_limits(table)
    wide(lake, 40)
    append(table, 3)
    assert table.head().row_count == 3


def test_a_few_old_schemas_are_no_reason_for_a_commit(lake: Lake) -> None:
    table = wide(lake, 2)
    for columns in range(3, 3 + SCHEMAS_FINE):
        wide(lake, columns)
    assert not plan_limits(table.iceberg().metadata)


def test_a_schema_stays_while_a_partition_spec_needs_a_column_of_it(lake: Lake) -> None:
    table = lake.create(NAME, pa.schema([pa.field("a", pa.int64())]), partition_by=["a"])
    for columns in range(SCHEMAS_FINE + 3):
        fields = [
            pa.field("a", pa.int64()),
            *(pa.field(f"b{at}", pa.int64()) for at in range(columns)),
        ]
        lake.create(NAME, pa.schema(fields), partition_by=["a"])
    metadata = table.iceberg().metadata
    assert plan_limits(metadata).schemas
    # as after a drop of `a`: the spec that partitions by it is only known from older schemas
    current = metadata.schema()
    fields = [field for field in current.fields if field.name != "a"]
    without = Schema(*fields, schema_id=99)
    dropped = metadata.model_copy(
        update={"schemas": [*metadata.schemas, without], "current_schema_id": 99}
    )
    assert plan_limits(dropped).schemas == ()
