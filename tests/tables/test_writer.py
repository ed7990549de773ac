"""Data files: the recipe, the routing of rows, and damage that never reads as data."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.errors import ColumnReason, ContractError, CorruptFileError, StorageError
from headrace.iceberg import partitions
from headrace.iceberg.standard_properties import ROWS_PER_ROW_GROUP
from headrace.identifiers import TableName
from headrace.storage.locations import local_path
from headrace.tables.writer import OPEN_PARTITIONS_MAX, TableWriter, write_batches
from tests.amounts import examples
from tests.disks import room_for
from tests.raising import refused
from tests.tables.factories import EVENTS, UTC_US, add, day_key, events, events_table


def test_files_follow_the_writer_recipe(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(1000))
    metadata = pq.ParquetFile(table.head().files()[0].path).metadata
    column = metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert metadata.schema.column(0).max_definition_level == 0  # required: no level to decode
    assert column.statistics.has_min_max


def test_rows_go_to_the_utc_day_of_their_event_time(lake: Lake) -> None:
    table = events_table(lake)
    last_instant = dt.datetime(2024, 5, 1, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    batch = pa.record_batch(
        {
            "id": [1, 2],
            "event_time": pa.array(
                [last_instant, last_instant + dt.timedelta(microseconds=1)], UTC_US
            ),
        }
    )
    files = write_batches(table, [batch])
    terms = table.terms()
    keys = {partitions.key_of_record(file.partition, terms) for file in files}
    assert keys == {day_key(0), day_key(1)}


def test_a_missing_required_value_is_refused_by_name(lake: Lake) -> None:
    table = events_table(lake)
    batch = pa.record_batch({"id": [1], "event_time": pa.array([None], UTC_US)})
    with refused(ContractError, column="event_time"):
        write_batches(table, [batch])


def test_a_repeated_column_is_refused_by_name(lake: Lake) -> None:
    table = events_table(lake)
    batch = events([1])
    twice = pa.RecordBatch.from_arrays(
        [*batch.columns, batch.column("name")], names=[*batch.schema.names, "name"]
    )
    with refused(ContractError, column="name"):
        write_batches(table, [twice])


def test_a_refused_batch_leaves_no_file_behind(lake: Lake) -> None:
    table = events_table(lake)
    good, bad = events([1]), pa.record_batch({"nonsense": [1]})
    with refused(ContractError, column="nonsense"):
        write_batches(table, [good, bad])
    assert list(lake.settings.warehouse.rglob("*.parquet")) == []


def test_a_refused_batch_after_many_partitions_leaves_no_file_behind(lake: Lake) -> None:
    table = events_table(lake)
    many = [events([day], day=day) for day in range(OPEN_PARTITIONS_MAX + 10)]
    with refused(ContractError, column="nonsense"):
        write_batches(table, [*many, pa.record_batch({"nonsense": [1]})])
    assert list(lake.settings.warehouse.rglob("*.parquet")) == []


def test_a_folder_that_cannot_be_written_is_named(lake: Lake) -> None:
    table = events_table(lake)
    folder = Path(local_path(table.iceberg().location()))
    (folder / "data").write_text("in the way")
    with refused(StorageError, path=(folder / "data").as_uri()):
        write_batches(table, [events([1])])


def test_a_disk_that_fills_while_a_row_group_is_written_leaves_no_file_behind(lake: Lake) -> None:
    table = lake.create(TableName("raw", "plain"), EVENTS)
    writer = TableWriter(table)
    with pytest.raises(StorageError), room_for(100_000), writer:
        for start in range(0, 4 * ROWS_PER_ROW_GROUP, 50_000):
            writer.write(events(range(start, start + 50_000)))
    assert writer.files == ()
    assert list(lake.settings.warehouse.rglob("*.parquet")) == []


def test_a_wide_integer_is_never_stored_as_a_double(lake: Lake) -> None:
    table = lake.create(TableName("raw", "sums"), pa.schema([("total", pa.float64())]))
    wide = pa.record_batch({"total": pa.array([10**30], pa.decimal128(38, 0))})
    with refused(ContractError, reason=ColumnReason.WRONG_TYPE, column="total"):
        write_batches(table, [wide])


@pytest.mark.parametrize("offset_share", [0.1, 0.3, 0.5, 0.7])
def test_a_flipped_bit_is_an_error_and_never_a_wrong_value(lake: Lake, offset_share: float) -> None:
    table = events_table(lake)
    add(table, range(5000))
    path = Path(table.head().files()[0].path)
    content = bytearray(path.read_bytes())
    footer = int.from_bytes(content[-8:-4], "little")
    position = 4 + int((len(content) - footer - 12) * offset_share)
    content[position] ^= 0x10
    path.write_bytes(content)
    expected = pa.Table.from_batches([events(range(5000))])
    try:
        read = table.head().to_arrow()
    except CorruptFileError as error:
        assert str(path) in str(error)
    else:  # a bit that no page covers may change without meaning anything
        assert read.to_pylist() == expected.to_pylist()


def test_reading_some_partitions_opens_only_their_files(lake: Lake) -> None:
    table = events_table(lake)
    for day in range(4):
        add(table, [day], day=day)
    files = table.head().files(partitions=[day_key(2)])
    assert [file.partition for file in files] == [day_key(2)]


@hypothesis_settings(max_examples=examples(40, few=12), deadline=None)
@given(
    days=st.lists(st.integers(0, 3), max_size=40),
    ids=st.lists(st.integers(0, 5), min_size=40, max_size=40),
)
def test_splitting_a_batch_keeps_every_row_once_and_in_order(
    days: list[int], ids: list[int]
) -> None:
    start = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    batch = pa.record_batch(
        {
            "id": pa.array(ids[: len(days)], pa.int64()),
            "event_time": pa.array([start + dt.timedelta(days=d) for d in days], UTC_US),
        }
    )
    terms = (partitions.Term.day("event_time"), partitions.Term("id"))
    parts = dict(partitions.split(batch, terms))
    expected: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in batch.to_pylist():
        expected.setdefault((row["event_time"].date(), row["id"]), []).append(row)
    assert {key: rows.to_pylist() for key, rows in parts.items()} == expected


def test_a_writer_with_a_target_rolls_over_and_keeps_the_rows_order(lake: Lake) -> None:
    table = lake.create(TableName("raw", "plain"), EVENTS)
    rows = 3 * ROWS_PER_ROW_GROUP + 100
    with TableWriter(table, target_bytes=1) as writer:
        for start in range(0, rows, 50_000):
            writer.write(events(range(start, min(rows, start + 50_000))))
    assert sum(file.record_count for file in writer.files) == rows
    assert len(writer.files) >= 3
    assert [file.file_path for file in writer.files] == sorted(
        file.file_path for file in writer.files
    )
    read = [pq.read_table(local_path(file.file_path), columns=["id"]) for file in writer.files]
    assert pa.concat_tables(read)["id"].to_pylist() == list(range(rows))


def test_rows_that_wait_for_many_partitions_stay_within_a_bound(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.create(TableName("raw", "parts"), EVENTS, partition_by=["id"])
    # the bound is far above what a test should hold in memory
    monkeypatch.setattr("headrace.tables.writer.PENDING_BYTES_MAX", 2_000)
    with TableWriter(table) as writer:
        for _ in range(5):
            for number in range(4):
                writer.write(events([number] * 20))
                waiting = sum(file.pending_bytes for file in writer._open.values())
                assert waiting <= 2_000
    assert sorted(file.record_count for file in writer.files) == [100] * 4


def test_closing_and_discarding_twice_is_closing_and_discarding_once(lake: Lake) -> None:
    table = lake.create(TableName("raw", "events"), EVENTS)
    writer = TableWriter(table)
    writer.write(events([1, 2]))
    writer.close()
    (file,) = writer.files
    writer.close()
    assert writer.files == (file,)
    for _ in range(2):
        writer.discard()
        assert writer.files == ()
        assert not Path(local_path(file.file_path)).exists()


def test_what_a_column_is_called_never_leaves_the_tables_folder() -> None:
    term = partitions.Term("../../etc")
    assert partitions.path_of_key(("x/..",), (term,)) == ".._.._etc=x_.."
