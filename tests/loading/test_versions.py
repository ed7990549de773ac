"""A loader gives the rows its version holds, whatever the version's files call their columns."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.datasets.files import FilePlan
from headrace.datasets.publish import publish
from headrace.datasets.verify import verify
from headrace.datasets.versions import load_dataset
from headrace.errors import (
    AlterRefusedError,
    ColumnsUnclearError,
    FeatureSpecError,
    FeatureSpecReason,
)
from headrace.identifiers import TableName
from headrace.loading import FeatureSpec, SampleLoader, Shuffle, hash_text
from headrace.samples.build import build
from headrace.tables import alter
from headrace.tables.alter import AddColumn, DropColumn, RenameColumn, Step, WidenColumn
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.loading.factories import write_file
from tests.raising import refused
from tests.samples.factories import Shop, at, sample_set, settings_in

FIRST = pa.schema(
    [
        pa.field("n", pa.int64(), nullable=False),
        pa.field("a", pa.int32()),
        pa.field("b", pa.string()),
        pa.field("c", pa.list_(pa.int32())),
    ]
)
STEPS: Sequence[Sequence[Step]] = (
    [DropColumn("a"), AddColumn("a", type=pa.int32())],
    [RenameColumn("a", to="was_a"), AddColumn("a", type=pa.int64())],
    [RenameColumn("a", to="held"), RenameColumn("b", to="a"), RenameColumn("held", to="b")],
    [WidenColumn("a", type=pa.int64())],
    [WidenColumn("c.element", type=pa.int64())],
    [RenameColumn("b", to="word")],
    [DropColumn("c")],
    [DropColumn("b"), AddColumn("b", type=pa.float64())],
)


def value_for(kind: pa.DataType, number: int) -> object:
    if pa.types.is_list(kind):
        return [number] * (number % 3)
    if pa.types.is_string(kind):
        return f"word {number}"
    return number * 1.0 if pa.types.is_floating(kind) else number


def add(table: LakeTable, numbers: Sequence[int]) -> None:
    schema = table.head().schema
    rows = [{f.name: n if f.name == "n" else value_for(f.type, n) for f in schema} for n in numbers]
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    append(table, write_batches(table, [batch]), provenance=Provenance())


def role_of(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "sequence"
    return "dense" if pa.types.is_floating(kind) else "sparse"


def loaded(version: TableVersion, *, shuffle: Shuffle | None) -> list[dict[str, object]]:
    """Every column of every row, as the loader gives it; lists are cut at their offsets."""
    roles: dict[str, list[str]] = {"dense": [], "sparse": [], "sequence": []}
    for field in version.schema:
        roles[role_of(field.type)].append(field.name)
    spec = FeatureSpec(**roles)
    rows: list[dict[str, object]] = []
    with SampleLoader(FilePlan.of(version), spec=spec, batch_size=3, shuffle=shuffle) as loader:
        for batch in loader:
            for at_row in range(len(batch)):
                row: dict[str, object] = {
                    name: batch.dense[at_row, place].item() for place, name in enumerate(spec.dense)
                }
                row |= {name: ids[at_row].item() for name, ids in batch.sparse.items()}
                for name, lists in batch.sequence.items():
                    start, stop = lists.offsets[at_row : at_row + 2].tolist()
                    row[name] = lists.values[start:stop].tolist()
                rows.append(row)
    return sorted(rows, key=lambda row: str(row["n"]))


def held(version: TableVersion) -> list[dict[str, object]]:
    """The same rows by the table's own reader and plain Python."""
    rows: list[dict[str, object]] = []
    for found in version.to_arrow().to_pylist():
        row: dict[str, object] = {}
        for field in version.schema:
            value, role = found[field.name], role_of(field.type)
            empty = {"dense": 0.0, "sparse": -1, "sequence": []}[role]
            word = hash_text(value) if isinstance(value, str) else value
            row[field.name] = empty if value is None else word
        rows.append(row)
    return sorted(rows, key=lambda row: str(row["n"]))


@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=4), shuffled=st.booleans())
@settings(
    deadline=None,
    max_examples=examples(6, few=3),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_columns_are_those_of_the_version_after_any_change_of_its_table(
    lake: Lake, steps: Sequence[Sequence[Step]], shuffled: bool
) -> None:
    name = TableName("shop", f"t{sum(each.namespace == 'shop' for each in lake.names())}")
    table = lake.create(name, FIRST)
    add(table, [0, 1])
    first = table.head()
    for number, each in enumerate(steps):
        try:
            alter.alter(table, *each)
        except AlterRefusedError:
            continue  # the column is gone already
        add(table, [10 * number + 10, 10 * number + 11])
    shuffle = Shuffle() if shuffled else None
    for version in (table.head(), table.head().in_schema_at_commit(), first):
        assert loaded(version, shuffle=shuffle) == held(version)


def test_a_published_version_is_trained_on_as_it_was_verified(tmp_path: Path) -> None:
    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop.open(lake)
        shown = lake.table("shop.shown")
        declared = sample_set(features=[], labels=[])
        put = [("a", at(1), 1, 7), ("b", at(1, day=1), 1, 55)]
        batch = pa.RecordBatch.from_pylist(
            [dict(zip(shown.head().schema.names, row, strict=True)) for row in put],
            schema=shown.head().schema,
        )
        append(shown, write_batches(shown, [batch]), provenance=Provenance())
        build(lake, declared)
        alter.alter(
            lake.table("samples.taps"), DropColumn("slot"), AddColumn("slot", type=pa.int32())
        )
        shop.show(("late", at(2), 1))
        build(lake, declared)
        publish(lake, declared)
        verify(lake, "taps")
        dataset = load_dataset(lake, "taps")
        spec = FeatureSpec(sparse=["slot"], key="sample_id")
        with SampleLoader(dataset, spec=spec, batch_size=9) as loader:
            (found,) = loader
    assert found.keys is not None
    seen = dict(zip(found.keys.to_pylist(), found.sparse["slot"].tolist(), strict=True))
    assert seen == {"a": 7, "b": -1, "late": -1}


def test_a_key_keeps_one_type_where_files_differ(lake: Lake) -> None:
    table = lake.create(TableName("shop", "t"), FIRST)
    add(table, [1])
    alter.alter(table, WidenColumn("a", type=pa.int64()))
    add(table, [2])
    plan = FilePlan.of(table.head())
    with SampleLoader(plan, spec=FeatureSpec(key="a"), batch_size=2) as loader:
        (batch,) = loader
    assert batch.keys is not None
    assert (batch.keys.type, sorted(batch.keys.to_pylist())) == (pa.int64(), [1, 2])


def test_a_column_of_another_version_is_refused_by_name(lake: Lake) -> None:
    table = lake.create(TableName("shop", "t"), FIRST)
    add(table, [1])
    alter.alter(table, RenameColumn("a", to="rank"))
    plan = FilePlan.of(table.head())
    with refused(FeatureSpecError, reason=FeatureSpecReason.UNKNOWN_COLUMN, column="a"):
        SampleLoader(plan, spec=FeatureSpec(sparse=["a"]), batch_size=2)


@pytest.mark.parametrize(
    ("old", "new"), [(("before", 7), ("now", 7)), (("now", 5), ("now", 7)), (("now", 7), ("x", 7))]
)
def test_files_that_no_version_speaks_for_are_refused_where_their_ids_disagree(
    tmp_path: Path, old: tuple[str, int], new: tuple[str, int]
) -> None:
    files = []
    for day, (name, key) in enumerate((old, new)):
        field = pa.field(name, pa.int64(), metadata={"PARQUET:field_id": str(key)})
        table = pa.table([pa.array([day])], schema=pa.schema([field]))
        files.append(write_file(tmp_path / f"{day}.parquet", table, row_groups=[1], day=day))
    with (
        SampleLoader(FilePlan(tuple(files)), spec=FeatureSpec(sparse=["now"]), batch_size=2) as it,
        pytest.raises(ColumnsUnclearError) as refusal,
    ):
        list(it)
    assert refusal.value.column == "now"
