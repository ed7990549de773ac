"""The content hash sees what rows say and nothing of how they are stored."""

import datetime as dt
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.datasets import content_hash as fast
from headrace.datasets.content_hash import ContentHash
from headrace.errors import ContentTypeError
from tests.amounts import examples
from tests.datasets.reference_hash import content_hash as reference

UTC_US = pa.timestamp("us", tz="UTC")
KINDS: dict[str, tuple[str, pa.DataType, st.SearchStrategy[Any]]] = {
    "id": ("string", pa.string(), st.text(max_size=20)),
    "blob": ("binary", pa.binary(), st.binary(max_size=20)),
    "item": ("int", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": ("int", pa.int32(), st.integers(-3, 3)),
    "rate": ("float", pa.float64(), st.floats()),
    "thin": ("float", pa.float32(), st.floats(width=32)),
    "price": ("decimal(3)", pa.decimal128(38, 3), st.decimals(-99, 99, places=3)),
    "at": (
        "timestamptz",
        UTC_US,
        st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001 - bounds must be naive
    ),
    "day": ("date", pa.date32(), st.dates()),
    "seen": ("bool", pa.bool_(), st.booleans()),
    "items": (
        "list<int>",
        pa.list_(pa.int64()),
        st.lists(st.none() | st.integers(-2, 2), max_size=4),
    ),
    "words": ("list<string>", pa.list_(pa.string()), st.lists(st.text(max_size=3), max_size=3)),
    "pairs": (
        "list<list<int>>",
        pa.list_(pa.list_(pa.int8())),
        st.lists(st.none() | st.lists(st.integers(0, 2), max_size=2), max_size=3),
    ),
}
SCHEMA = pa.schema([(name, data_type) for name, (_, data_type, _) in KINDS.items()])
ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, _, values) in KINDS.items()})
ROWS = st.lists(ROW, max_size=12)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def digest(table: pa.Table, *, chunk_rows: int = 7) -> str:
    seen = ContentHash(table.schema)
    for batch in table.to_batches(max_chunksize=chunk_rows):
        seen.update(batch)
    return seen.hexdigest()


@given(rows=ROWS)
@settings(deadline=None, max_examples=examples(100, few=40))
def test_the_fast_form_agrees_with_the_specification(rows: list[dict[str, Any]]) -> None:
    kinds = {name: kind for name, (kind, _, _) in KINDS.items()}
    assert digest(table_of(rows)) == reference(kinds, rows)


@given(rows=ROWS, data=st.data())
@settings(deadline=None, max_examples=examples(100, few=40))
def test_order_chunks_slices_and_column_order_do_not_count(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    wanted = digest(table_of(rows))
    shuffled = table_of(data.draw(st.permutations(rows)))
    columns = data.draw(st.permutations(list(KINDS)))
    cut = data.draw(st.integers(0, len(rows)))
    seen = ContentHash(SCHEMA)
    for part in (shuffled.slice(cut), shuffled.slice(0, cut)):
        for batch in part.select(columns).to_batches(max_chunksize=3):
            seen.update(batch)
    assert seen.hexdigest() == wanted
    assert seen.rows == len(rows)


@given(rows=ROWS, cut=st.integers(0, 12))
@settings(deadline=None, max_examples=examples(100, few=40))
def test_hashes_of_parts_merge_into_the_hash_of_the_whole(
    rows: list[dict[str, Any]], cut: int
) -> None:
    left, right = ContentHash(SCHEMA), ContentHash(SCHEMA)
    for seen, part in ((left, rows[:cut]), (right, rows[cut:])):
        for batch in table_of(part).to_batches():
            seen.update(batch)
    assert left.merge(right).hexdigest() == digest(table_of(rows))


@given(rows=ROWS)
@settings(deadline=None, max_examples=examples(100, few=40))
def test_physical_types_do_not_count(rows: list[dict[str, Any]]) -> None:
    table = table_of(rows)
    other = {
        "id": pa.large_string(),
        "blob": pa.large_binary(),
        "small": pa.int8(),
        "thin": pa.float64(),
        "items": pa.large_list(pa.int64()),
        "day": pa.date64(),
    }
    recast = table
    for name, data_type in other.items():
        index = table.schema.get_field_index(name)
        recast = recast.set_column(index, name, table[name].cast(data_type))
    for name in ("id", "small", "at"):
        index = table.schema.get_field_index(name)
        recast = recast.set_column(index, name, table[name].dictionary_encode())
    assert digest(recast) == digest(table)


@given(rows=st.lists(ROW, min_size=1, max_size=6), data=st.data())
@settings(deadline=None, max_examples=examples(100, few=40))
def test_any_one_changed_value_changes_the_hash(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(KINDS)))
    at = data.draw(st.integers(0, len(rows) - 1))
    value = data.draw(st.none() | KINDS[name][2])
    changed = [dict(row) for row in rows]
    changed[at][name] = value
    before, after = table_of(rows), table_of(changed)
    assume(differs(rows[at][name], value))
    assert digest(before) != digest(after)


def differs(one: object, other: object) -> bool:
    """Different as canonical values: every NaN is one value, and so are both zeros."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return not math.isnan(other)
    return one != other


@given(rows=st.lists(ROW, min_size=1, max_size=6), at=st.integers(0, 5))
@settings(deadline=None, max_examples=examples(100, few=40))
def test_a_doubled_or_dropped_row_changes_the_hash(rows: list[dict[str, Any]], at: int) -> None:
    row = rows[at % len(rows)]
    assert digest(table_of([*rows, row])) != digest(table_of(rows))
    assert digest(table_of([*rows, row, row])) != digest(table_of(rows))


def test_values_swapped_between_rows_or_columns_change_the_hash() -> None:
    def of(rows: list[tuple[int | None, int | None]]) -> str:
        named = [{"a": a, "b": b} for a, b in rows]
        schema = pa.schema([("a", pa.int64()), ("b", pa.int64())])
        return digest(pa.Table.from_pylist(named, schema=schema))

    assert of([(1, 2), (3, 4)]) != of([(1, 4), (3, 2)])
    assert of([(1, 2), (3, 4)]) != of([(2, 1), (4, 3)])
    assert of([(1, None), (None, 4)]) != of([(None, 1), (None, 4)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([[]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64()))),
        (pa.array([[None]], pa.list_(pa.int64())), pa.array([[]], pa.list_(pa.int64()))),
        (pa.array([[1, 2]]), pa.array([[2, 1]])),
        (pa.array([[[1], []]]), pa.array([[[], [1]]])),
        (pa.array([""]), pa.array([None], pa.string())),
        (pa.array(["a"]), pa.array(["a\0"])),
        (pa.array(["a" * 8]), pa.array(["a" * 8 + "\0"])),
        (pa.array(["a"]), pa.array([b"a"])),
        (pa.array([0]), pa.array([None], pa.int64())),
        (pa.array([1]), pa.array([1.0])),
        (pa.array([1]), pa.array([True])),
        (pa.array([0.1]), pa.array([0.1], pa.float32())),
        (pa.array([Decimal("1.50")]), pa.array([Decimal("1.500")])),
        (pa.array([0], pa.timestamp("us")), pa.array([0], UTC_US)),
    ],
)
def test_what_is_different_hashes_differently(one: pa.Array, other: pa.Array) -> None:
    assert digest(pa.table({"v": one})) != digest(pa.table({"v": other}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([-0.0]), pa.array([0.0])),
        (pa.array([float("nan")]), pa.array(np.array([0x7FF8DEADBEEF0001], np.uint64).view(float))),
        (pa.array([0.5], pa.float16()), pa.array([0.5])),
        (pa.array([1], pa.timestamp("ms", tz="Europe/Zurich")), pa.array([1000], UTC_US)),
        (
            pa.array([Decimal("1.5")], pa.decimal128(5, 1)),
            pa.array([Decimal("1.5")], pa.decimal256(50, 1)),
        ),
        (pa.array(["x"], pa.string_view()), pa.array(["x"])),
        (pa.array([b"ab"], pa.binary(2)), pa.array([b"ab"])),
        (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), pa.array([[1, 2]])),
    ],
)
def test_what_is_equal_hashes_equally(one: pa.Array, other: pa.Array) -> None:
    assert digest(pa.table({"v": one})) == digest(pa.table({"v": other}))


def test_hashing_leaves_the_callers_buffers_alone() -> None:
    array = pa.array([-0.0, float("nan"), 1.0])
    before = array.buffers()[1].to_pybytes()
    digest(pa.table({"v": array}))
    assert array.buffers()[1].to_pybytes() == before


def test_a_slice_hashes_as_its_own_rows() -> None:
    whole = table_of([{"id": f"row{n}", "items": [n] * n, "seen": n % 2 == 0} for n in range(9)])
    assert digest(whole.slice(3, 4)) == digest(table_of(whole.slice(3, 4).to_pylist()))


def test_more_rows_than_one_chunk_hash_like_their_parts() -> None:
    count = 2 * fast._CHUNK_ROWS + 5
    table = pa.table({"v": np.arange(count), "s": [f"id/{n}" for n in range(count)]})
    assert digest(table, chunk_rows=count) == digest(table, chunk_rows=1_001)


def test_columns_left_out_do_not_count() -> None:
    one, other = pa.table({"a": [1], "b": [0.1]}), pa.table({"a": [1], "b": [0.2]})
    hashes = {
        ContentHash(table.schema, leave_out=["b"]).update(table.to_batches()[0]).hexdigest()
        for table in (one, other, one.select(["a"]))
    }
    assert len(hashes) == 1


def test_no_rows_of_different_columns_hash_differently() -> None:
    assert ContentHash(SCHEMA).hexdigest() != ContentHash(pa.schema([("id", "string")])).hexdigest()


def test_a_batch_of_another_shape_is_refused() -> None:
    seen = ContentHash(pa.schema([("a", pa.int64())]))
    with pytest.raises(ContentTypeError) as raised:
        seen.update(pa.record_batch({"b": [1]}))
    assert (raised.value.column, raised.value.found) == ("a", "missing")
    with pytest.raises(ContentTypeError) as raised:
        seen.update(pa.record_batch({"a": ["1"]}))
    assert (raised.value.column, raised.value.found) == ("a", "string")


def test_a_map_has_no_canonical_form() -> None:
    with pytest.raises(ContentTypeError) as raised:
        ContentHash(pa.schema([("a", pa.map_(pa.string(), pa.int64()))]))
    assert raised.value.found.startswith("map")


def test_the_worked_example_of_the_document_is_true() -> None:
    text = Path("docs/formats/content-hash.md").read_text()
    table = pa.table(
        {"item_id": pa.array([79, None], pa.int64()), "brand": pa.array(["acme", ""], pa.string())}
    )
    found = re.search(r"hexdigest: `([0-9a-f]{32})`", text)
    assert found is not None
    assert digest(table) == found.group(1)
