"""Standard properties of a table: obeyed by its files, refused by name where they say nothing."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.errors import UnsupportedTableError
from headrace.iceberg import standard_properties as standard
from headrace.iceberg.standard_properties import ParquetRecipe, parquet_recipe
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches

COLUMNS = pa.schema([pa.field("n", pa.int64()), pa.field("text", pa.string())])


def written(lake: Lake, properties: dict[str, str], *, rows: int = 10_000) -> pq.FileMetaData:
    table = lake.create(TableName("raw", "plain"), COLUMNS, properties=properties)
    batch = pa.record_batch(
        [range(rows), [f"{n * 7919 % 10_007} by user {n % 97}" for n in range(rows)]],
        schema=COLUMNS,
    )
    (file,) = write_batches(table, [batch.slice(at, 1_000) for at in range(0, rows, 1_000)])
    return pq.read_metadata(local_path(file.file_path))


@pytest.mark.parametrize(
    ("said", "codec"),
    [("zstd", "ZSTD"), ("SNAPPY", "SNAPPY"), ("gzip", "GZIP"), ("uncompressed", "UNCOMPRESSED")],
)
def test_files_have_the_codec_that_the_table_names(lake: Lake, said: str, codec: str) -> None:
    footer = written(lake, {standard.COMPRESSION_CODEC: said})
    assert footer.row_group(0).column(0).compression == codec


def test_files_are_packed_at_the_level_that_the_table_names(lake: Lake) -> None:
    sizes = []
    for level in ("1", "19"):
        footer = written(lake, {standard.COMPRESSION_LEVEL: level})
        sizes.append(footer.row_group(0).column(1).total_compressed_size)
        lake.catalog.drop_table(("raw", "plain"))
    assert sizes[1] < 0.9 * sizes[0]


def test_row_groups_end_at_the_rows_that_the_table_says(lake: Lake) -> None:
    footer = written(lake, {standard.ROW_GROUP_ROWS: "3000"})
    groups = [footer.row_group(at).num_rows for at in range(footer.num_row_groups)]
    assert groups == [3_000, 3_000, 3_000, 1_000]


def test_row_groups_stay_below_the_bytes_that_the_table_says(lake: Lake) -> None:
    footer = written(lake, {standard.ROW_GROUP_BYTES: "50000"})
    sizes = [footer.row_group(at).total_byte_size for at in range(footer.num_row_groups)]
    assert len(sizes) > 1
    assert max(sizes) <= 60_000  # pages have headers


def test_pages_end_at_the_rows_and_bytes_that_the_table_says(lake: Lake) -> None:
    few = written(lake, {}).row_group(0).column(0).total_uncompressed_size
    for properties in ({standard.PAGE_ROWS: "100"}, {standard.PAGE_BYTES: "800"}):
        lake.catalog.drop_table(("raw", "plain"))
        many = written(lake, properties).row_group(0).column(0).total_uncompressed_size
        assert many > few + 50 * 10  # a header takes some 20 bytes


def test_dictionaries_end_at_the_bytes_that_the_table_says(lake: Lake) -> None:
    sizes = []
    for properties in ({}, {standard.DICTIONARY_BYTES: "400"}):
        table = lake.create(TableName("raw", "plain"), COLUMNS, properties=properties)
        batch = pa.record_batch([[n % 500 for n in range(10_000)], ["x"] * 10_000], schema=COLUMNS)
        (file,) = write_batches(table, [batch])
        group = pq.read_metadata(local_path(file.file_path)).row_group(0)
        sizes.append(group.column(0).total_uncompressed_size)
        lake.catalog.drop_table(("raw", "plain"))
    assert sizes[1] > 4 * sizes[0]  # the rest of the values stands there in full


@pytest.mark.parametrize("said", ["lz4", "LZ4_RAW", "brotli", "lzo"])
def test_a_codec_of_some_engines_only_is_not_obeyed(said: str) -> None:
    properties = {standard.COMPRESSION_CODEC: said, standard.COMPRESSION_LEVEL: "9"}
    assert parquet_recipe(properties, table="t") == ParquetRecipe()


@pytest.mark.parametrize(
    "properties",
    [
        {standard.COMPRESSION_CODEC: "zip"},
        {standard.COMPRESSION_LEVEL: "high"},
        {standard.COMPRESSION_LEVEL: "23"},
        {standard.COMPRESSION_CODEC: "gzip", standard.COMPRESSION_LEVEL: "0"},
        {standard.ROW_GROUP_BYTES: "128MB"},
        {standard.ROW_GROUP_ROWS: "0"},
        {standard.PAGE_BYTES: "-1"},
        {standard.PAGE_ROWS: ""},
        {standard.DICTIONARY_BYTES: "1.5"},
    ],
    ids=str,
)
def test_a_value_that_says_nothing_is_refused(properties: dict[str, str]) -> None:
    with pytest.raises(UnsupportedTableError) as refused:
        parquet_recipe(properties, table="raw.events")
    assert refused.value.table == "raw.events"


def test_what_a_table_does_not_say_is_left_at_the_default() -> None:
    assert parquet_recipe({"owner": "someone"}, table="t") == ParquetRecipe()


def test_bounds_are_those_that_the_table_wants(lake: Lake) -> None:
    said = {
        standard.METRICS_DEFAULT: "none",
        f"{standard.METRICS_COLUMN}n": "full",
        f"{standard.METRICS_COLUMN}text": "counts",
    }
    columns = pa.schema([*COLUMNS, pa.field("rest", pa.int64())])
    table = lake.create(TableName("raw", "plain"), columns, properties=said)
    batch = pa.record_batch([[1, 2], ["a", "b"], [3, 4]], schema=columns)
    for _ in range(2):
        operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    compact(table)
    (file,) = table.head().files()
    assert set(file.data_file.lower_bounds) == set(file.data_file.upper_bounds) == {1}
    assert set(file.data_file.value_counts) == {1, 2}
