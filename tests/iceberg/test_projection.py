"""Reading older files: every reader shows, by field id, exactly what the schema of today says."""

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.io import load_file_io
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.types import LongType, NestedField

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import FileReason, UnfitFileError
from headrace.iceberg import schema
from headrace.iceberg.projection import Projection
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.evolution.schema_edit import edit
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion, read_file
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.conftest import ROOT
from tests.raising import refused
from tests.tables import evolved

pytestmark = pytest.mark.slow
IO = load_file_io()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One lake for all examples of a property; each makes tables of its own."""
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("shared"))}
    with Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as lake:
        yield lake


@st.composite
def first_schemas(draw: evolved.Draw) -> Schema:
    """A table's first schema: a required `row` and some random columns."""
    columns = draw(evolved.structs(evolved.types()))
    row = NestedField(0, "row", LongType(), required=True)
    return assign_fresh_schema_ids(Schema(row, *columns.fields))


def rows_of(draw: evolved.Draw, now: Schema, *, first_row: int) -> list[dict[int, Any]]:
    """Some rows by field id, `row` numbered from `first_row`."""
    row_id = now.find_field("row").field_id
    count = draw(st.integers(1, 4))
    kinds = {f.field_id: f.field_type for f in now.fields}
    return [
        {key: draw(evolved.values(kind)) for key, kind in kinds.items()} | {row_id: first_row + i}
        for i in range(count)
    ]


def batch_of(rows: list[dict[int, Any]], now: Schema) -> pa.RecordBatch:
    named = [evolved.shown(row, now.as_struct()) for row in rows]
    return pa.RecordBatch.from_pylist(named, schema.to_arrow(now))


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    return table.sort_by("row").to_pylist()


def through_duckdb(version: TableVersion, engine: DuckDBEngine) -> pa.Table:
    engine.bind("pinned", version)
    return engine.query("select * from pinned").read_all()


def check_readers(
    table: LakeTable, version: TableVersion, rows: list[dict[int, Any]], engine: DuckDBEngine
) -> None:
    """Compare our reader, DuckDB and stock pyiceberg with what the rows show in today's schema."""
    now = table.iceberg().schema()
    expected = [evolved.shown(row, now.as_struct()) for row in rows]
    ours = version.to_arrow()
    ours.validate(full=True)
    assert ours.schema.equals(schema.to_arrow(now))
    assert in_order(ours) == expected
    assert in_order(through_duckdb(version, engine)) == expected
    if version.snapshot_id == table.head().snapshot_id:  # others it shows in the schema of then
        theirs = in_order(table.iceberg().scan().to_arrow())
        kind = now.as_struct()
        flat = [evolved.without_null_lists(each, kind) for each in theirs]
        assert flat == [evolved.without_null_lists(each, kind) for each in expected]


def stored(draw: evolved.Draw, kind: pa.DataType) -> pa.DataType:
    """Another Arrow type that a Parquet file of the same values may give back."""
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(stored(draw, each.type)) for each in kind])
    if pa.types.is_map(kind):
        value = kind.item_field.with_type(stored(draw, kind.item_type))
        return pa.map_(kind.key_field, value)
    if pa.types.is_list(kind):
        element = kind.value_field.with_type(stored(draw, kind.value_type))
        some = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]
        return draw(st.sampled_from(some))(element)
    if pa.types.is_string(kind):
        return draw(st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]))
    return kind


@hypothesis_settings(max_examples=examples(150, few=40), deadline=None)
@given(data=st.data())
def test_a_slice_of_any_batch_is_projected_to_what_its_rows_show(data: st.DataObject) -> None:
    first = data.draw(first_schemas())
    rows = [row for _ in range(2) for row in rows_of(data.draw, first, first_row=0)]
    plain = schema.to_arrow(first, field_ids=True)
    kept = pa.schema([each.with_type(stored(data.draw, each.type)) for each in plain])
    named = [evolved.shown(row, first.as_struct()) for row in rows]
    columns = [pa.array([row[each.name] for row in named], each.type) for each in kept]
    batch = pa.RecordBatch.from_arrays(columns, schema=kept)
    start = data.draw(st.integers(0, len(rows)))
    count = data.draw(st.integers(0, len(rows) - start))

    now, last_column_id = first, first.highest_field_id
    for _ in range(data.draw(st.integers(0, 4))):
        step = evolved.a_step(data.draw, now)
        now = edit(now, step, last_column_id=last_column_id, table="t")
        last_column_id = max(last_column_id, now.highest_field_id)
    wanted = schema.to_arrow(now, field_ids=True)
    read = Projection.of(kept, wanted).apply(batch.slice(start, count))
    read.validate(full=True)
    assert read.schema.equals(schema.to_arrow(now))
    expected = [evolved.shown(row, now.as_struct()) for row in rows[start : start + count]]
    assert read.to_pylist() == expected


@hypothesis_settings(max_examples=examples(12, few=5), deadline=None)
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
            done = operations.append(table, files, provenance=Provenance())
            kept += rows
            snapshots.append((done.snapshot_id, list(kept), schema.to_arrow(now)))
            for _ in range(data.draw(st.integers(1, 4))):
                iceberg = table.iceberg()
                with iceberg.update_schema() as update:
                    step = evolved.a_step(data.draw, iceberg.schema())
                    evolved.take_with_pyiceberg(step, update)
        check_readers(table, table.head(), kept, engine)
        for snapshot_id, rows, schema_then in snapshots:
            version = table.at(snapshot_id=snapshot_id)
            check_readers(table, version, rows, engine)
            then = version.in_schema_at_commit()
            assert then.schema == schema_then
            ours = then.to_arrow()
            assert ours.schema == schema_then
            assert in_order(ours) == in_order(through_duckdb(then, engine))
            assert ours.num_rows == len(rows)


def field(name: str, kind: pa.DataType, field_id: int, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable, {schema.FIELD_ID: str(field_id).encode()})


def written(path: Path, table: pa.Table) -> str:
    pq.write_table(table, path)
    return str(path)


def test_columns_that_did_not_change_are_passed_on_without_a_copy() -> None:
    inner = pa.struct([field("x", pa.int32(), 3)])
    have = pa.schema(
        [field("a", pa.int64(), 1), field("s", pa.list_(field("element", inner, 4)), 2)]
    )
    batch = pa.RecordBatch.from_pylist([{"a": 1, "s": [{"x": 2}]}], have)
    read = Projection.of(have, have).apply(batch)
    for before, after in zip(batch.columns, read.columns, strict=True):
        assert [b and b.address for b in after.buffers()] == [
            b and b.address for b in before.buffers()
        ]


def test_a_file_with_none_of_the_wanted_columns_still_has_its_rows(tmp_path: Path) -> None:
    path = written(
        tmp_path / "f.parquet", pa.table([[1, 2]], pa.schema([field("a", pa.int64(), 1)]))
    )
    (read,) = read_file(path, pa.schema([field("b", pa.string(), 2)]), io=IO)
    assert read.to_pylist() == [{"b": None}, {"b": None}]


@pytest.mark.parametrize(
    ("have", "wanted", "reason", "column"),
    [
        (pa.field("a", pa.int64()), field("a", pa.int64(), 1), FileReason.NO_FIELD_ID, "a"),
        (
            field("s", pa.struct([("x", pa.int64())]), 1),
            field("s", pa.struct([field("x", pa.int64(), 2)]), 1),
            FileReason.NO_FIELD_ID,
            "s.x",
        ),
        (
            field("a", pa.int64(), 1),
            field("b", pa.int64(), 2, nullable=False),
            FileReason.REQUIRED_COLUMN_GONE,
            "b",
        ),
        (
            field("a", pa.int64(), 1),
            field("a", pa.list_(field("element", pa.int64(), 2)), 1),
            FileReason.OTHER_TYPE,
            "a",
        ),
    ],
    ids=["no id", "no nested id", "required", "kind"],
)
def test_a_file_that_is_of_no_schema_the_table_had_is_an_error_and_never_null(
    tmp_path: Path, have: pa.Field, wanted: pa.Field, reason: FileReason, column: str
) -> None:
    empty = pa.schema([have]).empty_table()
    path = written(tmp_path / "f.parquet", empty)
    with refused(UnfitFileError, reason=reason, column=column):
        list(read_file(path, pa.schema([wanted]), io=IO))


def test_a_value_that_does_not_fit_the_type_of_today_is_an_error(tmp_path: Path) -> None:
    wide = pa.table([[2**40]], pa.schema([field("a", pa.int64(), 1)]))
    path = written(tmp_path / "f.parquet", wide)
    with refused(UnfitFileError, reason=FileReason.VALUE, column="a", path=path):
        list(read_file(path, pa.schema([field("a", pa.int32(), 1)]), io=IO))


def test_times_of_type_int96_are_read_however_far_away(tmp_path: Path) -> None:
    times = [dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1), dt.datetime(2020, 1, 1, 1, 2, 3, 4)]  # noqa: DTZ001
    rows = pa.table([times], pa.schema([field("a", pa.timestamp("us"), 1)]))
    path = str(tmp_path / "f.parquet")
    pq.write_table(rows, path, use_deprecated_int96_timestamps=True, store_schema=False)
    (batch,) = read_file(path, rows.schema, io=IO)
    assert batch.column("a").to_pylist() == times


@pytest.mark.parametrize(("nanoseconds", "fits"), [(1_000, True), (1_001, False)])
def test_nanoseconds_are_read_where_none_is_lost(
    tmp_path: Path, nanoseconds: int, fits: bool
) -> None:
    rows = pa.table([[nanoseconds]], pa.schema([field("a", pa.timestamp("ns"), 1)]))
    path = written(tmp_path / "f.parquet", rows)
    wanted = pa.schema([field("a", pa.timestamp("us"), 1)])
    if fits:
        (batch,) = read_file(path, wanted, io=IO)
        assert batch.column("a").cast(pa.int64()).to_pylist() == [1]
    else:
        with pytest.raises(UnfitFileError):
            list(read_file(path, wanted, io=IO))


def test_text_that_is_not_marked_as_text_is_read_as_text(tmp_path: Path) -> None:
    rows = pa.table([["ü".encode(), None]], pa.schema([field("a", pa.binary(), 1)]))
    path = written(tmp_path / "f.parquet", rows)
    (batch,) = read_file(path, pa.schema([field("a", pa.string(), 1)]), io=IO)
    assert batch.column("a").to_pylist() == ["ü", None]
