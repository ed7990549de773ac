"""Reading older files: every reader shows, by field id, exactly what the schema of today says."""

import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.types import LongType, NestedField

from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine, scan_sql
from headrace.identifiers import TableName
from headrace.tables import commit, schema
from headrace.tables.commit import Provenance
from headrace.tables.files import write_batches
from headrace.tables.lake import Lake, LakeTable
from headrace.tables.scan import TableVersion
from tests.conftest import ROOT
from tests.tables import evolution


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One lake for all examples of a property; each makes tables of its own."""
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("shared"))}
    with Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as lake:
        yield lake


@st.composite
def first_schemas(draw: evolution.Draw) -> Schema:
    """A table's first schema: a required `row` and some random columns."""
    columns = draw(evolution.structs(evolution.types()))
    row = NestedField(0, "row", LongType(), required=True)
    return assign_fresh_schema_ids(Schema(row, *columns.fields))


def rows_of(draw: evolution.Draw, now: Schema, *, first_row: int) -> list[dict[int, Any]]:
    """Some rows by field id, `row` numbered from `first_row`."""
    row_id = now.find_field("row").field_id
    count = draw(st.integers(1, 4))
    kinds = {f.field_id: f.field_type for f in now.fields}
    return [
        {key: draw(evolution.values(kind)) for key, kind in kinds.items()} | {row_id: first_row + i}
        for i in range(count)
    ]


def batch_of(rows: list[dict[int, Any]], now: Schema) -> pa.RecordBatch:
    named = [evolution.shown(row, now.as_struct()) for row in rows]
    return pa.RecordBatch.from_pylist(named, schema.to_arrow(now))


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    return table.sort_by("row").to_pylist()


def through_duckdb(version: TableVersion, engine: DuckDBEngine) -> pa.Table:
    return engine.query(f"select * from {scan_sql(version)}").read_all()


def check_readers(
    table: LakeTable, version: TableVersion, rows: list[dict[int, Any]], engine: DuckDBEngine
) -> None:
    """Compare our reader, DuckDB and stock pyiceberg with what the rows show in today's schema."""
    now = table.iceberg().schema()
    expected = [evolution.shown(row, now.as_struct()) for row in rows]
    ours = version.to_arrow()
    ours.validate(full=True)
    assert ours.schema.equals(schema.to_arrow(now))
    assert in_order(ours) == expected
    assert in_order(through_duckdb(version, engine)) == expected
    if version.snapshot_id == table.head().snapshot_id:  # others it shows in the schema of then
        theirs = in_order(table.iceberg().scan().to_arrow())
        kind = now.as_struct()
        flat = [evolution.without_null_lists(each, kind) for each in theirs]
        assert flat == [evolution.without_null_lists(each, kind) for each in expected]


@hypothesis_settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_three_readers_agree_on_files_of_every_age_after_any_schema_changes(
    shared: Lake, data: st.DataObject
) -> None:
    name = TableName("raw", f"t_{uuid.uuid4().hex}")
    first = data.draw(first_schemas())
    table = shared.create(name, schema.to_arrow(first))
    kept: list[dict[int, Any]] = []
    snapshots: list[tuple[int, list[dict[int, Any]], pa.Schema]] = []
    with DuckDBEngine.open(shared.settings) as engine:
        for _ in range(data.draw(st.integers(2, 3))):
            now = table.iceberg().schema()
            rows = rows_of(data.draw, now, first_row=len(kept))
            files = write_batches(table, [batch_of(rows, now)])
            done = commit.append(table, files, provenance=Provenance())
            kept += rows
            snapshots.append((done.snapshot_id, list(kept), schema.to_arrow(now)))
            for _ in range(data.draw(st.integers(1, 4))):
                iceberg = table.iceberg()
                with iceberg.update_schema() as update:
                    evolution.change_one_thing(data.draw, iceberg.schema(), update)
        check_readers(table, table.head(), kept, engine)
        for snapshot_id, rows, schema_then in snapshots:
            version = table.at(snapshot_id=snapshot_id)
            check_readers(table, version, rows, engine)
            then = version.in_schema_then()
            assert then.schema == schema_then
            ours = then.to_arrow()
            assert in_order(ours) == in_order(through_duckdb(then, engine))
            assert ours.num_rows == len(rows)
