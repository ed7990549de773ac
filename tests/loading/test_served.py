"""What is served becomes the batch that training would make of it; nothing is rounded twice or lost."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.datasets.files import FilePlan
from headrace.errors import FeatureSpecError, FeatureSpecReason
from headrace.loading import Batch, FeatureSpec, SampleLoader, Shuffle, batch_of
from tests.amounts import examples
from tests.loading.factories import write_file
from tests.raising import refused

LONGS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False)
WORDS = st.text(max_size=3)
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "dense_long": (pa.int64(), LONGS),
    "dense_int": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "dense_float": (pa.float32(), FLOATS),
    "dense_double": (pa.float64(), st.floats(-1e38, 1e38)),
    "dense_flag": (pa.bool_(), st.booleans()),
    "dense_decimal": (pa.decimal128(12, 2), st.decimals(-(10**9), 10**9, places=2)),
    "sparse_long": (pa.int64(), LONGS),
    "sparse_word": (pa.string(), WORDS),
    "sparse_flag": (pa.bool_(), st.booleans()),
    "sequence_long": (pa.list_(pa.int64()), st.lists(st.none() | LONGS, max_size=3)),
    "sequence_float": (pa.list_(pa.float32()), st.lists(st.none() | FLOATS, max_size=3)),
    "sequence_word": (pa.list_(pa.string()), st.lists(st.none() | WORDS, max_size=3)),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])
SPEC = FeatureSpec(
    **{
        role: [name for name in KINDS if name.startswith(role)]
        for role in ("dense", "sparse", "sequence")
    },
    missing={"dense_int": 0.5},
)
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in KINDS.items()}),
    min_size=1,
    max_size=4,
)


def trained(folder: Path, table: pa.Table, spec: FeatureSpec, **options: Any) -> Batch:  # noqa: ANN401
    file = write_file(folder / "one.parquet", table, row_groups=[table.num_rows])
    with SampleLoader(FilePlan((file,)), spec=spec, batch_size=table.num_rows, **options) as it:
        (batch,) = it
    return batch


def assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.dense, other.dense)
    assert {name: ids.tolist() for name, ids in one.sparse.items()} == {
        name: ids.tolist() for name, ids in other.sparse.items()
    }
    for name, lists in one.sequence.items():
        assert lists.values.dtype == other.sequence[name].values.dtype, name
        assert torch.equal(lists.values, other.sequence[name].values), name
        assert torch.equal(lists.offsets, other.sequence[name].offsets), name


@given(rows=ROWS)
@settings(
    deadline=None,
    max_examples=examples(25, few=10),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_served_values_are_the_batch_of_training(tmp_path: Path, rows: list[Any]) -> None:
    loaded = trained(tmp_path, pa.Table.from_pylist(rows, schema=SCHEMA), SPEC)
    assert_same(batch_of(rows, spec=SPEC, types=SCHEMA), loaded)
    for number, row in enumerate(rows):  # no value depends on the rows beside it
        alone = batch_of([row], spec=SPEC, types=SCHEMA)
        assert torch.equal(alone.dense[0], loaded.dense[number])


def test_an_integer_is_rounded_once_whether_or_not_a_null_is_beside_it(tmp_path: Path) -> None:
    # rounded to double first, it would lie between two float32 and go to the other one
    number = 2**60 + 2**36 + 1
    expected = float(np.int64(number).astype(np.float32))
    spec = FeatureSpec(dense=["x"])
    for values in ([number, None], [number]):
        loaded = trained(tmp_path, pa.table({"x": pa.array(values, pa.int64())}), spec)
        assert loaded.dense[0, 0].item() == expected
        assert batch_of([{"x": v} for v in values], spec=spec).dense[0, 0].item() == expected


@pytest.mark.parametrize("missing", [0.0, -1.0, 300.0, 0.5, 1e30, float("nan"), float("-inf")])
@pytest.mark.parametrize("kind", [pa.bool_(), pa.uint8(), pa.int64(), pa.uint64(), pa.float64()])
def test_any_number_stands_in_for_a_null_of_any_type(kind: pa.DataType, missing: float) -> None:
    spec = FeatureSpec(dense=["x"], missing={"x": missing})
    rows = [{"x": pa.scalar(1).cast(kind).as_py()}, {"x": None}]
    found = batch_of(rows, spec=spec, types=pa.schema([("x", kind)])).dense.numpy()
    np.testing.assert_array_equal(found, np.array([[1.0], [missing]], np.float32))


def test_a_fraction_stands_in_for_a_null_in_a_list_of_numbers_but_not_for_an_id() -> None:
    kinds = {"scores": pa.list_(pa.float32()), "ids": pa.list_(pa.int64()), "id": pa.int64()}
    types = pa.schema(list(kinds.items()))
    spec = FeatureSpec(sequence=["scores"], missing={"scores": 0.25})
    found = batch_of([{"scores": [0.5, None]}], spec=spec, types=types)
    assert found.sequence["scores"].values.tolist() == [0.5, 0.25]
    for role, name in (("sparse", "id"), ("sequence", "ids")):
        named: dict[str, Any] = {role: [name]}
        spec = FeatureSpec(**named, missing={name: 1.5})
        with refused(FeatureSpecError, reason=FeatureSpecReason.WRONG_TYPE, column=name):
            batch_of([{name: None}], spec=spec, types=types)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.list_(pa.float32())])
def test_what_stands_in_for_a_null_is_a_number_of_float32(kind: pa.DataType) -> None:
    named: dict[str, Any] = {"sequence" if kind == pa.list_(pa.float32()) else "dense": ["x"]}
    spec = FeatureSpec(**named, missing={"x": -1e39})
    with refused(FeatureSpecError, reason=FeatureSpecReason.TOO_LARGE, column="x"):
        batch_of([{"x": None}], spec=spec, types=pa.schema([("x", kind)]))


def test_types_are_told_from_values_where_none_are_given() -> None:
    spec = FeatureSpec(dense=["money", "n"], sparse=["id"], sequence=["floats"])
    row = {"money": Decimal("1.25"), "n": 2**53 + 1, "id": 2**60 + 1, "floats": ()}
    batch = batch_of([row], spec=spec)
    assert batch.dense.tolist() == [[1.25, float(2**53)]]
    assert batch.sparse["id"].tolist() == [2**60 + 1]
    assert batch.sequence["floats"].values.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "value", "types"),
    [
        ("x", "1.5", None),
        ("x", 1.5, pa.schema([("x", pa.int64())])),
        ("x", Decimal("1.255"), pa.schema([("x", pa.decimal128(9, 2))])),
        ("x", 2**70, None),
        ("x", 1, pa.schema([("y", pa.int64())])),
        ("x", "a", pa.schema([("x", pa.string())])),
        ("x", "1e400", pa.schema([("x", pa.float64())])),
        ("x", 1e39, pa.schema([("x", pa.float32())])),
        ("x", True, pa.schema([("x", pa.float64())])),
        ("x", np.True_, pa.schema([("x", pa.int64())])),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(
    name: str, value: object, types: pa.Schema | None
) -> None:
    with refused(FeatureSpecError, column=name):
        batch_of([{name: value}], spec=FeatureSpec(dense=[name]), types=types)


@pytest.mark.parametrize("values", [(1.5, True), (1, np.True_), (np.True_, 1), (None, False, 2)])
@pytest.mark.parametrize("kinds", [FeatureSpec(dense=["x"]), FeatureSpec(sequence=["x"])])
def test_a_flag_beside_numbers_is_refused_where_types_are_told_from_values(
    values: tuple[object, ...], kinds: FeatureSpec
) -> None:
    given = [list(values)] if kinds.sequence else values
    with refused(FeatureSpecError, reason=FeatureSpecReason.MIXED_TYPES, column="x"):
        batch_of([{"x": each} for each in given], spec=kinds)


@pytest.mark.parametrize("value", ["abc", b"abc", bytearray(b"abc"), {"a": 1}])
@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.int64())])
def test_a_text_is_no_list_of_its_characters(value: object, kind: pa.DataType) -> None:
    rows = [{"x": None}, {"x": value}]
    with refused(FeatureSpecError, reason=FeatureSpecReason.MIXED_TYPES, column="x"):
        batch_of(rows, spec=FeatureSpec(sequence=["x"]), types=pa.schema([("x", kind)]))


def test_a_list_with_a_number_beyond_its_type_is_refused_and_an_infinite_one_is_kept() -> None:
    spec, types = FeatureSpec(sequence=["x"]), pa.schema([("x", pa.list_(pa.float32()))])
    with refused(FeatureSpecError, column="x"):
        batch_of([{"x": [0.5, None]}, {"x": None}, {"x": [-1e39]}], spec=spec, types=types)
    kept = batch_of([{"x": [float("inf"), 1.5]}], spec=spec, types=types)
    assert kept.sequence["x"].values.tolist() == [float("inf"), 1.5]


@pytest.mark.parametrize("shuffle", [None, Shuffle()])
def test_numbers_beyond_float32_are_counted_and_told(
    tmp_path: Path, shuffle: Shuffle | None
) -> None:
    table = pa.table(
        {
            "fine": [1.0, math.inf, -math.inf, 3e38],
            "large": [1e39, 2.0, -1e300, math.inf],
            "lists": pa.array([[1e40, 1.0], None, [math.inf], [None]], pa.list_(pa.float64())),
            "label": [0.0, 1e39, 1.0, 0.0],
        }
    )
    spec = FeatureSpec(dense=["fine", "large"], sequence=["lists"], label=["label"])
    file = write_file(tmp_path / "one.parquet", table, row_groups=[2, 2])
    with SampleLoader(FilePlan((file,)), spec=spec, batch_size=4, shuffle=shuffle) as loader:
        with pytest.warns(RuntimeWarning, match="1 of `label`|`lists`") as told:
            (batch,) = loader
        assert len(told) == 1
        assert told[0].filename == __file__
        assert loader.stats().overflows == 4
        list(loader)  # said once
        assert loader.stats().overflows == 8
    assert batch.dense.isinf().sum() == 5


def test_a_served_number_beyond_float32_is_told() -> None:
    with pytest.warns(RuntimeWarning, match="1 of `x`"):
        batch = batch_of([{"x": 1e39}], spec=FeatureSpec(dense=["x"]))
    assert batch.dense.isinf().all()
