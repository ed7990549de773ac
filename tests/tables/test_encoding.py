"""Which columns get a dictionary, and that it never changes what is read back."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.tables.encoding import dictionary_columns
from headrace.tables.writer import write_batches
from tests.tables.factories import UTC_US, events, events_table

ROWS = 10_000


def _table(value: Callable[[int], object], kind: pa.DataType) -> pa.Table:
    return pa.table({"c": pa.array([value(row) for row in range(ROWS)], kind)})


@pytest.mark.parametrize(
    "kind",
    [pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.decimal128(20, 2), UTC_US],
    ids=str,
)
def test_values_that_hardly_repeat_get_no_dictionary_and_others_do(kind: pa.DataType) -> None:
    as_text = pa.types.is_string(kind)
    unique = _table(lambda row: str(row) if as_text else row, kind)
    few = _table(lambda row: str(row % 50) if as_text else row % 50, kind)
    assert dictionary_columns(unique) == []
    assert dictionary_columns(few) == ["c"]


def test_a_column_that_repeats_only_far_apart_gets_a_dictionary() -> None:
    assert dictionary_columns(_table(lambda row: row % 4_900, pa.int64())) == ["c"]


def test_a_column_that_repeats_only_close_by_gets_a_dictionary() -> None:
    assert dictionary_columns(_table(lambda row: row // 20, pa.int64())) == ["c"]


@pytest.mark.parametrize("values", [20_000, 50_000, 95_000, 200_000])
@pytest.mark.parametrize("order", ["drawn", "in turns", "sorted"])
def test_a_sample_says_of_many_rows_what_counting_them_says(values: int, order: str) -> None:
    rows = 131_072
    drawn = np.random.default_rng(values).integers(0, values, rows)
    column = {"drawn": drawn, "in turns": np.arange(rows) % values, "sorted": np.sort(drawn)}[order]
    repeats = len(np.unique(column)) <= rows / 2
    table = pa.table({"c": pa.array(column), "s": pa.array(column.astype(str))})
    # what repeats close by does so in the first rows already
    assert dictionary_columns(table) == (["c", "s"] if repeats or order == "sorted" else [])


def test_a_column_of_nulls_and_a_table_without_rows_are_no_problem() -> None:
    nulls = _table(lambda _: None, pa.string())
    assert dictionary_columns(nulls) == ["c"]
    assert dictionary_columns(nulls.slice(0, 0)) == ["c"]


def test_lists_and_structs_keep_the_dictionaries_of_what_is_inside(lake: Lake) -> None:
    kind = pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.list_(pa.string()))])
    rows = pa.table(
        {
            "lists": pa.array([[row, row] for row in range(ROWS)], pa.list_(pa.int64())),
            "structs": pa.array([{"a": row, "b": [str(row)]} for row in range(ROWS)], kind),
        }
    )
    file = lake.settings.state_dir / "nested.parquet"
    pq.write_table(rows, file, use_dictionary=dictionary_columns(rows))
    group = pq.read_metadata(file).row_group(0)
    assert group.num_columns == 3
    assert all("RLE_DICTIONARY" in group.column(at).encodings for at in range(3))


@given(st.lists(st.integers(0, 5) | st.integers(), max_size=30))
def test_equal_rows_get_equal_dictionaries(values: list[int]) -> None:
    rows = pa.table({"c": [str(value) for value in values]}, schema=pa.schema({"c": pa.string()}))
    split = pa.concat_tables([rows.slice(0, 3), rows.slice(3)])
    assert dictionary_columns(rows) == dictionary_columns(split)


def test_a_data_file_has_dictionaries_only_where_values_repeat(lake: Lake) -> None:
    (file,) = write_batches(events_table(lake), [events(range(ROWS))])
    parquet = pq.ParquetFile(file.file_path.removeprefix("file://"))
    group = parquet.metadata.row_group(0)
    with_dictionary = [
        group.column(at).path_in_schema
        for at in range(group.num_columns)
        if "RLE_DICTIONARY" in group.column(at).encodings
    ]
    assert with_dictionary == ["tags.list.element"]
    assert parquet.read().column("id").to_pylist() == list(range(ROWS))
