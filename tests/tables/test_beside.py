"""Row groups that are written in a thread: the same files, while the next rows are taken."""

import errno
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.errors import StorageError
from headrace.iceberg.standard_properties import ROWS_PER_ROW_GROUP
from headrace.identifiers import TableName
from headrace.storage.footer import SealingSink
from headrace.storage.locations import local_path
from headrace.tables.beside import Beside
from headrace.tables.lake import LakeTable
from headrace.tables.writer import TableWriter
from tests.tables.factories import EVENTS, events
from tests.waiting import WAIT_S

ROWS = 3 * ROWS_PER_ROW_GROUP + 100
PART = 50_000


def new_table(lake: Lake, name: str) -> LakeTable:
    return lake.create(TableName("raw", name), EVENTS)


def write(table: LakeTable, *, beside: bool) -> list[bytes]:
    with TableWriter(table, beside=beside) as writer:
        for start in range(0, ROWS, PART):
            writer.write(events(range(start, min(ROWS, start + PART))))
    return [Path(local_path(file.file_path)).read_bytes() for file in writer.files]


def test_files_that_are_written_beside_are_the_same(lake: Lake) -> None:
    files = write(new_table(lake, "beside"), beside=True)
    assert files == write(new_table(lake, "plain"), beside=False)
    read = pa.concat_tables([pq.read_table(pa.BufferReader(file)) for file in files])
    assert read["id"].to_pylist() == list(range(ROWS))


def test_rows_are_taken_while_a_row_group_is_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = threading.Event()
    plain = SealingSink.write

    def slow(self: SealingSink, content: bytes) -> int:
        assert went_on.wait(WAIT_S), "nothing goes on while a row group is written"
        return plain(self, content)

    monkeypatch.setattr(SealingSink, "write", slow)
    with TableWriter(new_table(lake, "events"), beside=True) as writer:
        writer.write(events(range(ROWS_PER_ROW_GROUP)))
        writer.write(events(range(PART)))
        went_on.set()
    assert sum(file.record_count for file in writer.files) == ROWS_PER_ROW_GROUP + PART


def test_what_a_disk_refuses_beside_is_raised_and_leaves_no_file(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: SealingSink, __: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    table = new_table(lake, "events")
    monkeypatch.setattr(SealingSink, "write", full)
    with pytest.raises(StorageError), TableWriter(table, beside=True) as writer:
        writer.write(events(range(ROWS_PER_ROW_GROUP)))
        writer.write(events(range(PART)))
    assert list(lake.settings.warehouse.rglob("*.parquet")) == []


def test_a_writer_that_is_left_early_waits_for_its_thread(lake: Lake) -> None:
    table = new_table(lake, "events")
    writer = TableWriter(table, beside=True)
    writer.write(events(range(ROWS_PER_ROW_GROUP)))
    writer.discard()
    writer.discard()
    assert list(lake.settings.warehouse.rglob("*.parquet")) == []
    assert not [each for each in threading.enumerate() if each.name.startswith("headrace-write")]


def test_work_beside_is_done_in_order_and_what_it_raises_comes_out_once() -> None:
    beside, done = Beside(), list[int]()
    for number in range(3):
        beside.run(lambda number=number: done.append(number))
    beside.run(lambda: 1 // 0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ZeroDivisionError):
        beside.wait()
    beside.wait()
    beside.end()
    beside.end()
    assert done == [0, 1, 2]
